/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The kernel's linker: an ET_REL object's sections go to memory of their own below 2 GiB, as -mcmodel=kernel asks
 * for signed 32-bit addresses, with pages without access between them; the relocations that FreeBSD's amd64 linker
 * knows are applied, and its imports looked up by name. After an unload the addresses stay without access: a late
 * call faults.
 */
#include "host.h"

#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE ((host_word)4096)
#define LOW_BASE ((host_word)0x62000000)
#define LOW_END ((host_word)0x7f000000)

struct host_file {
	host_byte *image;
	host_word image_size, memory, memory_size;
	Elf64_Shdr *sections;
	const char *section_names;
	host_word *addresses;		/* one a section; 0: not loaded */
};

static host_word low_next = LOW_BASE;

static const Elf64_Ehdr *header(const struct host_file *file)
{
	return (const Elf64_Ehdr *)file->image;
}

static const char *section_name(const struct host_file *file, unsigned index)
{
	return file->section_names + file->sections[index].sh_name;
}

int host_file_set(const struct host_file *file, const char *name, void ***begin, void ***end)
{
	for (unsigned i = 1; i < header(file)->e_shnum; i++) {
		if (file->addresses[i] != 0 && strcmp(section_name(file, i), name) == 0) {
			*begin = (void **)file->addresses[i];
			*end = (void **)(file->addresses[i] + file->sections[i].sh_size);
			return 1;
		}
	}
	*begin = *end = NULL;
	return 0;
}

int host_file_holds(const struct host_file *file, const void *address)
{
	host_word at = (host_word)(uintptr_t)address;

	return at >= file->memory && at < file->memory + file->memory_size;
}

int host_file_runs(const struct host_file *file, const void *address)
{
	host_word at = (host_word)(uintptr_t)address;

	for (unsigned i = 1; i < header(file)->e_shnum; i++) {
		if (file->addresses[i] != 0 && file->sections[i].sh_flags & SHF_EXECINSTR &&
		    at - file->addresses[i] < file->sections[i].sh_size)
			return 1;
	}
	return 0;
}

void host_file_patch(const void *address, host_byte byte)
{
	host_word page = (host_word)(uintptr_t)address / PAGE * PAGE;

	mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
	*(volatile host_byte *)(uintptr_t)address = byte;
	mprotect((void *)page, PAGE, PROT_READ | PROT_EXEC);
}

static host_word import_find(const struct host_file *file, const char *name, int is_weak, char *problem)
{
	static const char start[] = "__start_", stop[] = "__stop_";
	void **begin, **end;

	for (host_word i = 0; i < host_symbols_count; i++) {
		if (strcmp(host_symbols[i].name, name) == 0)
			return (host_word)(uintptr_t)host_symbols[i].address;
	}
	if (strncmp(name, start, sizeof(start) - 1) == 0 && host_file_set(file, name + sizeof(start) - 1, &begin, &end))
		return (host_word)(uintptr_t)begin;
	if (strncmp(name, stop, sizeof(stop) - 1) == 0 && host_file_set(file, name + sizeof(stop) - 1, &begin, &end))
		return (host_word)(uintptr_t)end;
	if (!is_weak)
		snprintf(problem, HOST_TEXT_MAX, "undefined symbol %s", name);
	return 0;
}

/* A weak function yields to one of the model's, as where both are linked into one object. */
static host_word symbol_value(const struct host_file *file, const Elf64_Sym *symbol, const char *names, char *problem)
{
	if (symbol->st_shndx == SHN_UNDEF)
		return symbol->st_name == 0 ? 0 :
		    import_find(file, names + symbol->st_name, ELF64_ST_BIND(symbol->st_info) == STB_WEAK, problem);
	if (ELF64_ST_BIND(symbol->st_info) == STB_WEAK) {
		host_word strong = import_find(file, names + symbol->st_name, 1, problem);

		if (strong != 0)
			return strong;
	}
	if (symbol->st_shndx == SHN_ABS)
		return symbol->st_value;
	if (symbol->st_shndx >= header(file)->e_shnum || file->addresses[symbol->st_shndx] == 0) {
		snprintf(problem, HOST_TEXT_MAX, "symbol %s outside of the loaded sections", names + symbol->st_name);
		return 0;
	}
	return file->addresses[symbol->st_shndx] + symbol->st_value;
}

static void relocate(const struct host_file *file, const Elf64_Shdr *table, char *problem)
{
	const Elf64_Rela *rela = (const Elf64_Rela *)(file->image + table->sh_offset);
	const Elf64_Shdr *symbols = &file->sections[table->sh_link];
	const char *names = (const char *)file->image + file->sections[symbols->sh_link].sh_offset;
	host_word base = file->addresses[table->sh_info];

	for (host_word i = 0; i < table->sh_size / sizeof(*rela) && problem[0] == '\0'; i++) {
		const Elf64_Sym *symbol = (const Elf64_Sym *)(file->image + symbols->sh_offset) + ELF64_R_SYM(rela[i].r_info);
		host_word place = base + rela[i].r_offset;
		host_word value = symbol_value(file, symbol, names, problem) + (host_word)rela[i].r_addend;
		int64_t narrow = (int64_t)value;

		switch (ELF64_R_TYPE(rela[i].r_info)) {
		case R_X86_64_64:
			memcpy((void *)place, &value, 8);
			continue;
		case R_X86_64_PC32:
		case R_X86_64_PLT32:
			narrow = (int64_t)(value - place);
			break;
		case R_X86_64_32S:
		case R_X86_64_32:	/* below 2 GiB both are the same; FreeBSD's own objects have only the signed one */
			break;
		default:
			snprintf(problem, HOST_TEXT_MAX, "relocation type %lu", (host_word)ELF64_R_TYPE(rela[i].r_info));
			return;
		}
		if (narrow != (int32_t)narrow) {
			snprintf(problem, HOST_TEXT_MAX, "relocation out of range: %s", names + symbol->st_name);
			return;
		}
		memcpy((void *)place, &narrow, 4);
	}
}

static host_word pages(host_word bytes)
{
	return (bytes + PAGE - 1) / PAGE * PAGE;
}

static void sections_place(struct host_file *file, char *problem)
{
	const Elf64_Ehdr *elf = header(file);
	host_word at, total = PAGE;

	for (unsigned i = 1; i < elf->e_shnum; i++) {
		if (file->sections[i].sh_flags & SHF_ALLOC && strcmp(section_name(file, i), "set_vnet") != 0)
			total += pages(file->sections[i].sh_size) + PAGE;
	}
	if (low_next + total > LOW_END || mmap((void *)low_next, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
	    MAP_FIXED_NOREPLACE, -1, 0) != (void *)low_next) {
		snprintf(problem, HOST_TEXT_MAX, "no low memory left for the module");
		return;
	}
	file->memory = low_next;
	file->memory_size = total;
	low_next += total;
	at = file->memory + PAGE;
	for (unsigned i = 1; i < elf->e_shnum; i++) {
		const Elf64_Shdr *section = &file->sections[i];
		host_word align = section->sh_addralign ? section->sh_addralign : 1;

		if (!(section->sh_flags & SHF_ALLOC) || section->sh_size == 0)
			continue;
		if (strcmp(section_name(file, i), "set_vnet") == 0)
			file->addresses[i] = (host_word)(uintptr_t)model_vnet_place(section->sh_size);
		else {
			/* the guard page begins where the section ends, but for its alignment */
			file->addresses[i] = (at + pages(section->sh_size) - section->sh_size) / align * align;
			at += pages(section->sh_size) + PAGE;
		}
		if (section->sh_type == SHT_NOBITS)
			memset((void *)file->addresses[i], 0, section->sh_size);
		else
			memcpy((void *)file->addresses[i], file->image + section->sh_offset, section->sh_size);
	}
}

static void sections_protect(struct host_file *file)
{
	host_word guard = file->memory;

	for (unsigned i = 1; i < header(file)->e_shnum; i++) {
		const Elf64_Shdr *section = &file->sections[i];
		host_word at = file->addresses[i];
		int access = PROT_READ;

		if (at == 0)
			continue;
		if (!host_file_holds(file, (void *)at)) {
			model_vnet_copy((void *)at, section->sh_size);
			continue;
		}
		if (section->sh_flags & SHF_WRITE)
			access |= PROT_WRITE;
		if (section->sh_flags & SHF_EXECINSTR)
			access |= PROT_EXEC;
		at -= at % PAGE;
		mprotect((void *)at, pages(section->sh_size), access);
		mprotect((void *)guard, PAGE, PROT_NONE);
		guard = at + pages(section->sh_size);
	}
	mprotect((void *)guard, file->memory + file->memory_size - guard, PROT_NONE);
}

static void functions_run(const struct host_file *file, const char *section)
{
	void **begin, **end;

	host_file_set(file, section, &begin, &end);
	for (; begin < end; begin++)
		((void (*)(void))*begin)();
}

static int image_read(struct host_file *file, const char *path)
{
	int descriptor = open(path, O_RDONLY);
	struct stat status;
	ssize_t got = -1;

	if (descriptor < 0)
		return 0;
	if (fstat(descriptor, &status) == 0) {
		file->image_size = (host_word)status.st_size;
		file->image = host_calloc(1, file->image_size + 1);
		got = read(descriptor, file->image, file->image_size);
	}
	close(descriptor);
	return got > (ssize_t)sizeof(Elf64_Ehdr) && (host_word)got == file->image_size;
}

struct host_file *host_file_load(const char *path, char *problem)
{
	struct host_file *file = host_calloc(1, sizeof(*file));
	const Elf64_Ehdr *elf;

	problem[0] = '\0';
	if (!image_read(file, path) || memcmp(file->image, ELFMAG, SELFMAG) != 0 || header(file)->e_type != ET_REL ||
	    header(file)->e_machine != EM_X86_64) {
		snprintf(problem, HOST_TEXT_MAX, "%s is no relocatable x86-64 object", path);
		return NULL;
	}
	elf = header(file);
	file->sections = (Elf64_Shdr *)(file->image + elf->e_shoff);
	file->section_names = (const char *)file->image + file->sections[elf->e_shstrndx].sh_offset;
	file->addresses = host_calloc(elf->e_shnum, sizeof(*file->addresses));
	sections_place(file, problem);
	for (unsigned i = 1; i < elf->e_shnum && problem[0] == '\0'; i++) {
		if (file->sections[i].sh_type == SHT_RELA && file->addresses[file->sections[i].sh_info] != 0)
			relocate(file, &file->sections[i], problem);
	}
	if (problem[0] != '\0')
		return NULL;
	sections_protect(file);
	functions_run(file, ".init_array");	/* the address sanitizer learns of global variables here */
	return file;
}

void host_file_unload(struct host_file *file)
{
	functions_run(file, ".fini_array");
	mprotect((void *)file->memory, file->memory_size, PROT_NONE);
	model_vnet_release();
	free(file->addresses);
	free(file->image);
	free(file);
}

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What Linux does for the model: memory whose every misuse faults, CPUs, and the end of the process.
 *
 * An allocation ends at a page without access, and its address is never given out twice: reading behind it or after
 * it was freed is a fault in the module's own code, which the handler names. Slack in front of it and behind it,
 * which a page cannot guard, is filled and looked at when it is freed. Beyond FENCED_MAX live allocations, where
 * Linux would run out of mappings, items share pages and only the filling is left.
 */
#include "host.h"

#include <asm/prctl.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE ((host_word)4096)
#define ARENA_BASE ((host_word)0x600000000000)
#define ARENA_BYTES ((host_word)1 << 40)
#define SLACK_BYTE 0xa5
#define FRESH_BYTE 0xd0			/* UMA's trash, so that memory which was not cleared is seen */
#define SLACK_MAX 64
#define FENCED_MAX 8192

struct block {
	host_word size, pages, start;
	int is_fenced;
};

void host_note(const char *text)
{
	fprintf(stderr, "%s\n", text);
}

void host_die(const char *text)
{
	host_note(text);
	fflush(NULL);
	_exit(3);
}

int host_format(char *out, host_word size, const char *format, __builtin_va_list args)
{
	return vsnprintf(out, size, format, args);
}

void host_yield(void)
{
	sched_yield();
}

void *host_calloc(host_word n, host_word size)
{
	void *memory = calloc(n, size);

	if (memory == NULL)
		host_die("fault: the harness is out of memory");
	return memory;
}

void host_release(void *memory)
{
	free(memory);
}

void host_thread_enter(int cpu)
{
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, model_cpu(cpu)) != 0)
		host_die("fault: this machine lacks arch_prctl(ARCH_SET_GS)");
}

#ifdef __SANITIZE_ADDRESS__

void *host_alloc(host_word size, host_word align)
{
	void *item = aligned_alloc(align < 16 ? 16 : align, (size + 15) / 16 * 16);

	if (item == NULL)
		host_die("fault: the harness is out of memory");
	memset(item, FRESH_BYTE, size);
	return item;
}

void host_free(void *item, host_word size)
{
	memset(item, FRESH_BYTE, size);
	free(item);
}

#else

static pthread_mutex_t heap_lock = PTHREAD_MUTEX_INITIALIZER;
static host_word arena_next, shared_next, shared_end;
static host_word fenced_live;
static struct block *blocks;			/* open hashing by the item's address */
static void **block_items;
static host_word blocks_size, blocks_used;

static host_word blocks_slot(const void *item)
{
	host_word at = ((host_word)(uintptr_t)item * 0x9e3779b97f4a7c15UL) & (blocks_size - 1);

	while (block_items[at] != NULL && block_items[at] != item)
		at = (at + 1) & (blocks_size - 1);
	return at;
}

static void blocks_grow(void)
{
	struct block *old_blocks = blocks;
	void **old_items = block_items;
	host_word old_size = blocks_size;

	blocks_size = old_size ? old_size * 2 : 4096;
	blocks = host_calloc(blocks_size, sizeof(*blocks));
	block_items = host_calloc(blocks_size, sizeof(*block_items));
	for (host_word i = 0; i < old_size; i++) {
		if (old_items[i] != NULL) {
			host_word at = blocks_slot(old_items[i]);

			block_items[at] = old_items[i];
			blocks[at] = old_blocks[i];
		}
	}
	free(old_blocks);
	free(old_items);
}

static void arena_open(void)
{
	void *arena = mmap((void *)ARENA_BASE, ARENA_BYTES, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (arena != (void *)ARENA_BASE)
		host_die("fault: this machine lacks address space for the harness");
	arena_next = ARENA_BASE + PAGE;
}

static host_word arena_take(host_word bytes)
{
	host_word start = arena_next;

	if (start + bytes + PAGE > ARENA_BASE + ARENA_BYTES ||
	    mprotect((void *)start, bytes, PROT_READ | PROT_WRITE) != 0)
		host_die("fault: the harness is out of memory");
	arena_next = start + bytes + PAGE;
	return start;
}

void *host_alloc(host_word size, host_word align)
{
	struct block block = { .size = size };
	host_word item, end, at;

	if (align < 8)
		align = 8;
	pthread_mutex_lock(&heap_lock);
	if (arena_next == 0)
		arena_open();
	if ((blocks_used + 1) * 2 > blocks_size)
		blocks_grow();
	block.is_fenced = fenced_live < FENCED_MAX || size > PAGE;
	if (block.is_fenced) {
		block.pages = (size + PAGE - 1) / PAGE;
		block.start = arena_take(block.pages * PAGE);
		item = (block.start + block.pages * PAGE - size) & ~(align - 1);
		fenced_live++;
	} else {
		if (shared_next + SLACK_MAX + align + size + SLACK_MAX > shared_end) {
			shared_next = arena_take(256 * PAGE);
			shared_end = shared_next + 256 * PAGE;
		}
		block.start = shared_next;
		item = (block.start + SLACK_MAX + align - 1) & ~(align - 1);
		shared_next = item + size + SLACK_MAX;
	}
	end = block.is_fenced ? block.start + block.pages * PAGE : shared_next;
	memset((void *)block.start, SLACK_BYTE, end - block.start);
	memset((void *)item, FRESH_BYTE, size);
	at = blocks_slot((void *)item);
	blocks_used += block_items[at] == NULL;
	block_items[at] = (void *)item;
	blocks[at] = block;
	pthread_mutex_unlock(&heap_lock);
	return (void *)item;
}

static int is_slack_intact(const host_byte *from, const host_byte *to)
{
	for (; from < to; from++) {
		if (*from != SLACK_BYTE)
			return 0;
	}
	return 1;
}

void host_free(void *item, host_word size)
{
	host_byte *begin = item, *end = begin + size, *first, *last;
	struct block *block;

	pthread_mutex_lock(&heap_lock);
	block = &blocks[blocks_slot(item)];
	if (block->start == 0 || block->size != size)
		host_die("fault: memory freed that was not allocated");
	first = (host_byte *)block->start;
	last = block->is_fenced ? first + block->pages * PAGE : end + SLACK_MAX;
	if (!is_slack_intact(begin - first > SLACK_MAX ? begin - SLACK_MAX : first, begin) || !is_slack_intact(end, last))
		host_die("fault: memory written outside of its allocation");
	if (block->is_fenced) {
		madvise(first, block->pages * PAGE, MADV_DONTNEED);
		mprotect(first, block->pages * PAGE, PROT_NONE);
		fenced_live--;
	} else
		memset(item, FRESH_BYTE, size);
	memset(block, 0, sizeof(*block));	/* the address stays in the table: it is never given out again */
	pthread_mutex_unlock(&heap_lock);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	static const char digits[] = "0123456789abcdef";
	char text[] = "fault: signal 00 at address 0x0000000000000000, instruction 0x0000000000000000\n";
	ucontext_t *at = context;
	host_word words[2] = { (host_word)(uintptr_t)info->si_addr, (host_word)at->uc_mcontext.gregs[REG_RIP] };
	char *hex[2] = { strchr(text, 'x') + 1, strrchr(text, 'x') + 1 };
	ssize_t written;

	text[14] = (char)('0' + number / 10);
	text[15] = (char)('0' + number % 10);
	for (int word = 0; word < 2; word++) {
		for (int digit = 0; digit < 16; digit++)
			hex[word][digit] = digits[words[word] >> (60 - 4 * digit) & 15];
	}
	written = write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(written < 0 ? 4 : 3);
}

__attribute__((constructor)) static void faults_catch(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_RESETHAND };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGILL, &action, NULL);
	sigaction(SIGFPE, &action, NULL);
}

#endif

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A kernel on a pipe: one command a line on stdin, one line on stdout for each. The line is "ok" and the command's
 * results, or "fault" and how many rules the module broke, and the first of them. tests/kmod/freebsd/harness.py is
 * the other end.
 *
 *	load FILE			-> errno problem
 *	unload FORCED			-> errno
 *	number MODULE			-> system call number, -1: none
 *	call NUMBER PRIVILEGED R0..R7	-> errno value		registers in hexadecimal
 *	create V6 LOCAL PORT FOREIGN PORT MSS CONNECTION -> errno subflow	addresses in hexadecimal
 *	close S | switch S ON | send S BYTES AGAIN | ack S BYTES RTT_US LIMITED | dupack S BYTES	-> errno
 *	event S NAME ARGUMENT		-> errno
 *	get S FIELD			-> errno value
 *	set S FIELD VALUE		-> errno
 *	advance US | now		-> microseconds since boot
 *	map ADDRESS SIZE WRITABLE | unmap ADDRESS SIZE | write ADDRESS HEX -> errno
 *	read ADDRESS SIZE		-> errno hex
 *	fail NTH | allocations		-> allocations that could have failed, live allocations
 *	sysctl PRIVILEGED NAME [VALUE]	-> errno value
 *	sysctls				-> names
 *	vnet INDEX			-> errno
 *	hammer MS SUBFLOWS SEED		-> figures
 *	later COMMAND			a command for the next interrupt; its answer is lost
 *	interrupt PLACE COMMAND		-> places in all, what COMMAND answers; at that place the others run as another CPU
 */
#include "host.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { WORDS_MAX = 16, LATER_MAX = 64 };

static char answer[1 << 16];
static char *later[LATER_MAX];
static int later_count;

static long number(const char *word)
{
	return strtol(word, NULL, 0);
}

static host_word unsigned_number(const char *word, int base)
{
	return strtoul(word, NULL, base);
}

static host_word unhex(const char *text, host_byte *out)
{
	host_word n = strlen(text) / 2;
	char digits[3] = { 0 };

	for (host_word i = 0; i < n; i++) {
		memcpy(digits, text + 2 * i, 2);
		out[i] = (host_byte)strtoul(digits, NULL, 16);
	}
	return n;
}

static void memory_read(host_word address, host_word size)
{
	static const char digits[] = "0123456789abcdef";
	host_byte *bytes = host_calloc(size + 1, 1);
	int error = model_user_read(address, bytes, size);

	printf("ok %d ", error);
	for (host_word i = 0; error == 0 && i < size; i++) {
		putchar(digits[bytes[i] >> 4]);
		putchar(digits[bytes[i] & 15]);
	}
	putchar('\n');
	free(bytes);
}

static int memory_write(host_word address, const char *text)
{
	host_byte *bytes = host_calloc(strlen(text) / 2 + 1, 1);
	int error = model_user_write(address, bytes, unhex(text, bytes));

	free(bytes);
	return error;
}

static void call(char **words)
{
	host_word registers[8], value = 0;
	int error;

	for (int i = 0; i < 8; i++)
		registers[i] = unsigned_number(words[3 + i], 16);
	error = model_syscall((int)number(words[1]), (int)number(words[2]), registers, &value);
	snprintf(answer, sizeof(answer), "%d %lu", error, value);
}

static void create(char **words)
{
	struct model_address local = { .is_ipv6 = (int)number(words[1]) }, foreign = local;
	int subflow = -1, error;

	unhex(words[2], local.address);
	unhex(words[4], foreign.address);
	local.port = (unsigned short)number(words[3]);
	foreign.port = (unsigned short)number(words[5]);
	error = model_subflow_create(&local, &foreign, (unsigned)number(words[6]), unsigned_number(words[7], 0), &subflow);
	snprintf(answer, sizeof(answer), "%d %d", error, subflow);
}

static int is_command(char **words, int n, const char *name, int arguments)
{
	return strcmp(words[0], name) == 0 && n == arguments + 1;
}

/* 0: an errno is the answer. */
static int run_subflow(char **words, int n, int *error)
{
	int subflow = n > 1 ? (int)number(words[1]) : -1;
	long value = 0;

	if (is_command(words, n, "close", 1))
		*error = model_subflow_close(subflow);
	else if (is_command(words, n, "switch", 2))
		*error = model_subflow_switch(subflow, (int)number(words[2]));
	else if (is_command(words, n, "send", 3))
		*error = model_send(subflow, (unsigned)number(words[2]), (int)number(words[3]));
	else if (is_command(words, n, "ack", 4))
		*error = model_ack(subflow, (unsigned)number(words[2]), (unsigned)number(words[3]), (int)number(words[4]));
	else if (is_command(words, n, "dupack", 2))
		*error = model_dupack(subflow, (unsigned)number(words[2]));
	else if (is_command(words, n, "event", 3))
		*error = model_event(subflow, words[2], (unsigned)number(words[3]));
	else if (is_command(words, n, "set", 3))
		*error = model_subflow_set(subflow, words[2], number(words[3]));
	else if (is_command(words, n, "get", 2)) {
		*error = model_subflow_get(subflow, words[2], &value);
		snprintf(answer, sizeof(answer), "%d %ld", *error, value);
		return 1;
	} else
		return -1;
	return 0;
}

static int run_kernel(char **words, int n, int *error)
{
	char problem[HOST_TEXT_MAX] = "";

	if (is_command(words, n, "load", 1)) {
		*error = model_load(words[1], problem);
		snprintf(answer, sizeof(answer), "%d %s", *error, problem);
		return 1;
	}
	if (is_command(words, n, "sysctl", 2) || is_command(words, n, "sysctl", 3)) {
		*error = model_sysctl(words[2], (int)number(words[1]), n == 4 ? words[3] : NULL, problem);
		snprintf(answer, sizeof(answer), "%d %s", *error, problem);
		return 1;
	}
	if (is_command(words, n, "unload", 1))
		*error = model_unload((int)number(words[1]));
	else if (is_command(words, n, "vnet", 1))
		*error = model_vnet_switch((int)number(words[1]));
	else if (is_command(words, n, "map", 3))
		*error = model_user_map(unsigned_number(words[1], 0), unsigned_number(words[2], 0), (int)number(words[3]));
	else if (is_command(words, n, "write", 2))
		*error = memory_write(unsigned_number(words[1], 0), words[2]);
	else
		return -1;
	return 0;
}

/* 1: answer is written; 2: the answer is out already; -1: no such command. */
static int run(char **words, int n)
{
	int error = 0, kind;

	answer[0] = '\0';
	if (is_command(words, n, "call", 10))
		call(words);
	else if (is_command(words, n, "create", 7))
		create(words);
	else if (is_command(words, n, "number", 1))
		snprintf(answer, sizeof(answer), "%d", model_syscall_number(words[1]));
	else if (is_command(words, n, "advance", 1))
		model_advance(unsigned_number(words[1], 0));
	else if (is_command(words, n, "now", 0))
		snprintf(answer, sizeof(answer), "%lu", model_now_us());
	else if (is_command(words, n, "fail", 1))
		model_fail_allocation(unsigned_number(words[1], 0));
	else if (is_command(words, n, "allocations", 0))
		snprintf(answer, sizeof(answer), "%lu %lu", model_allocations(), model_live_allocations());
	else if (is_command(words, n, "unmap", 2))
		model_user_unmap(unsigned_number(words[1], 0), unsigned_number(words[2], 0));
	else if (is_command(words, n, "sysctls", 0))
		model_sysctl_list(answer, sizeof(answer));
	else if (is_command(words, n, "hammer", 3))
		hammer((unsigned)number(words[1]), (unsigned)number(words[2]), (unsigned)number(words[3]), answer);
	else if (is_command(words, n, "read", 2)) {
		memory_read(unsigned_number(words[1], 0), unsigned_number(words[2], 0));
		return 2;
	} else {
		kind = run_subflow(words, n, &error);
		if (kind < 0)
			kind = run_kernel(words, n, &error);
		if (kind == 0)
			snprintf(answer, sizeof(answer), "%d", error);
		return kind < 0 ? -1 : 1;
	}
	return 1;
}

static int split(char *line, char **words)
{
	char *rest;
	int n = 0;

	for (char *word = strtok_r(line, " \n", &rest); word != NULL && n < WORDS_MAX; word = strtok_r(NULL, " \n", &rest))
		words[n++] = word;
	return n;
}

static void later_add(const char *line)
{
	if (later_count == LATER_MAX)
		host_die("fault: too many commands for an interrupt");
	later[later_count++] = strdup(line);
}

static void later_drop(void)
{
	while (later_count > 0)
		free(later[--later_count]);
}

static void later_run(void)
{
	char *words[WORDS_MAX];

	for (int i = 0; i < later_count; i++) {
		int n = split(later[i], words);

		if (n > 0 && run(words, n) < 0)
			host_die("fault: unknown command in an interrupt");
	}
}

static int run_interrupted(char **words, int n)
{
	host_word places;
	char *own;
	int kind;

	interrupt_begin(unsigned_number(words[1], 0), later_run);
	kind = run(words + 2, n - 2);
	places = interrupt_end();
	own = strdup(answer);
	snprintf(answer, sizeof(answer), "%lu %s", places, own);
	free(own);
	later_drop();
	return kind;
}

int main(int argc, char **argv)
{
	char *line = NULL, *words[WORDS_MAX], fault[HOST_TEXT_MAX];
	size_t room = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: kernel FIRST_TICK FIRST_US\n");
		return 2;
	}
	if (mmap((void *)(uintptr_t)HOST_USER_BASE, HOST_USER_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
	    MAP_FIXED_NOREPLACE, -1, 0) != (void *)(uintptr_t)HOST_USER_BASE)
		host_die("fault: this machine lacks the addresses of the user's memory");
	model_boot((int)number(argv[1]), unsigned_number(argv[2], 0));
	host_thread_enter(0);
	while (getline(&line, &room, stdin) > 0) {
		int n, kind, faults;

		if (strncmp(line, "later ", 6) == 0) {
			later_add(line + 6);
			printf("ok\n");
			fflush(stdout);
			continue;
		}
		n = split(line, words);
		if (n == 0)
			continue;
		kind = n > 2 && strcmp(words[0], "interrupt") == 0 ? run_interrupted(words, n) : run(words, n);
		faults = model_faults(fault);
		if (kind < 0)
			printf("fault 1 unknown command %s\n", words[0]);
		else if (faults > 0)
			printf("%sfault %d %s\n", kind == 2 ? "\n" : "", faults, fault);
		else if (kind == 1)
			printf("ok %s\n", answer);
		fflush(stdout);
	}
	free(line);
	return 0;
}

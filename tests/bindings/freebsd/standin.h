/* SPDX-License-Identifier: BSD-2-Clause */
/* The stand-in kernel's answers, which Python gives: a result, and an errno if that is not 0. */
#ifndef STANDIN_H
#define STANDIN_H

#include <stddef.h>
#include <stdint.h>

struct standin_answer {
	int result;
	int error;
};

extern void (*standin_call)(int number, uint64_t a, uint64_t b, uint64_t c, struct standin_answer *out);
extern void (*standin_modfind)(const char *name, struct standin_answer *out);
extern void (*standin_modstat)(int id, int *number, struct standin_answer *out);
extern void (*standin_sysctl)(const char *name, void *old, size_t *size, struct standin_answer *out);

#endif

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * FreeBSD's system interfaces, as its manual pages have them, answered by Python.
 */
#include <sys/module.h>
#include <sys/sysctl.h>

#include <errno.h>
#include <stdarg.h>

#include "standin.h"

void (*standin_call)(int number, uint64_t a, uint64_t b, uint64_t c, struct standin_answer *out);
void (*standin_modfind)(const char *name, struct standin_answer *out);
void (*standin_modstat)(int id, int *number, struct standin_answer *out);
void (*standin_sysctl)(const char *name, void *old, size_t *size, struct standin_answer *out);

/* Nobody answers: no kernel was put behind the calls. */
#define ASK(ask, out, ...)					\
	do {							\
		if ((ask) != NULL)				\
			(ask)(__VA_ARGS__, (out));		\
		else						\
			(out)->error = ENOSYS;			\
	} while (0)

/* errno is written only where there is one: the -1 of an empty queue leaves it alone. */
static int answer(const struct standin_answer *given)
{
	if (given->error == 0)
		return given->result;
	errno = given->error;
	return -1;
}

int standin_syscall(int number, ...)
{
	struct standin_answer out = { 0 };
	uint64_t words[3];
	va_list arguments;
	int saved = errno;

	va_start(arguments, number);
	for (int i = 0; i < 3; i++)
		words[i] = va_arg(arguments, uint64_t);
	va_end(arguments);
	ASK(standin_call, &out, number, words[0], words[1], words[2]);
	errno = saved;
	return answer(&out);
}

int modfind(const char *name)
{
	struct standin_answer out = { 0 };

	ASK(standin_modfind, &out, name);
	return answer(&out);
}

int modstat(int id, struct module_stat *stat)
{
	struct standin_answer out = { 0 };

	if (stat->version != sizeof(*stat)) {
		errno = EINVAL;
		return -1;
	}
	ASK(standin_modstat, &out, id, &stat->data.intval);
	return answer(&out);
}

int sysctlbyname(const char *name, void *old, size_t *old_size, const void *new, size_t new_size)
{
	struct standin_answer out = { 0 };

	if (new != NULL || new_size != 0) {
		errno = EPERM;
		return -1;
	}
	ASK(standin_sysctl, &out, name, old, old_size);
	return answer(&out);
}

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the kernel has: modules and their calls' numbers, sysctls.
 */
#include <sys/param.h>
#include <sys/module.h>
#include <sys/sysctl.h>
#include <sys/time.h>

#include <errno.h>
#include <string.h>

#include "native.h"

/* SYSCALL_MODULE leaves the number that the call was given in the module's own data. */
static int number_get(int module_id, int *number)
{
	struct module_stat status;

	memset(&status, 0, sizeof(status));
	status.version = sizeof(status);
	if (modstat(module_id, &status) != 0)
		return -errno;
	*number = status.data.intval;
	return 0;
}

int ccdrl_call_find(const char *module, struct ccdrl_call *out)
{
	out->module_id = modfind(module);
	if (out->module_id < 0)
		return -errno;
	return number_get(out->module_id, &out->number);
}

int ccdrl_call_check(const struct ccdrl_call *call)
{
	int number = -1, error = number_get(call->module_id, &number);

	if (error != 0)
		return error;
	return number == call->number ? 0 : -ENOENT;
}

int ccdrl_sysctl_number(const char *name, uint64_t *out)
{
	union {
		uint32_t narrow;
		uint64_t wide;
	} value = { .wide = 0 };
	size_t size = sizeof(value);

	if (sysctlbyname(name, &value, &size, NULL, 0) != 0)
		return -errno;
	if (size != sizeof(value.narrow) && size != sizeof(value.wide))
		return -EINVAL;
	*out = size == sizeof(value.narrow) ? value.narrow : value.wide;
	return 0;
}

int ccdrl_sysctl_text(const char *name, char *out, size_t size)
{
	size_t left = size - 1;

	if (sysctlbyname(name, out, &left, NULL, 0) != 0)
		return -errno;
	out[left] = '\0';
	return 0;
}

int ccdrl_clock_hz(uint32_t *out)
{
	struct clockinfo clock;
	size_t size = sizeof(clock);

	if (sysctlbyname("kern.clockrate", &clock, &size, NULL, 0) != 0)
		return -errno;
	if (size != sizeof(clock) || clock.hz <= 0)
		return -EINVAL;
	*out = (uint32_t)clock.hz;
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of FreeBSD's <sys/sysctl.h> and <sys/time.h> that the binding uses. */
#ifndef STANDIN_SYS_SYSCTL_H
#define STANDIN_SYS_SYSCTL_H

#include <stddef.h>

struct clockinfo {
	int hz;
	int tick;
	int spare;
	int stathz;
	int profhz;
};

int sysctlbyname(const char *name, void *old, size_t *old_size, const void *new, size_t new_size);

#endif

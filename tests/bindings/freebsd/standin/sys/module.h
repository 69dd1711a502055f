/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of FreeBSD's <sys/module.h> that the binding uses. */
#ifndef STANDIN_SYS_MODULE_H
#define STANDIN_SYS_MODULE_H

typedef union modspecific {
	int intval;
	unsigned int uintval;
	long longval;
	unsigned long ulongval;
} modspecific_t;

struct module_stat {
	int version;
	char name[32];
	int refs;
	int id;
	modspecific_t data;
};

int modfind(const char *name);
int modstat(int id, struct module_stat *out);

#endif

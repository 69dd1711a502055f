/* SPDX-License-Identifier: BSD-2-Clause */
/* Instead of this machine's <sys/syscall.h>: FreeBSD's calls go to the stand-in kernel. */
#ifndef STANDIN_SYS_SYSCALL_H
#define STANDIN_SYS_SYSCALL_H

#include <unistd.h>

int standin_syscall(int number, ...);
#define syscall standin_syscall

#endif

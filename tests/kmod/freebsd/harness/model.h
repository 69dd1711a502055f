/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the parts of the kernel model know of each other. Every file of the model includes this one first.
 */
#ifndef MODEL_H
#define MODEL_H

#include "host.h"

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/errno.h>
#include <sys/kernel.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/module.h>
#include <sys/mutex.h>
#include <sys/pcpu.h>
#include <sys/proc.h>
#include <sys/rwlock.h>
#include <sys/socket.h>
#include <sys/sysctl.h>
#include <sys/sysent.h>
#include <sys/ucred.h>

#include <net/vnet.h>

struct cc_algo;

enum model_lock_kind { MODEL_MUTEX, MODEL_SPIN, MODEL_WRITE, MODEL_READ, MODEL_SLEEPABLE, MODEL_SLEEPABLE_READ };

/* A thread of the model is a CPU of its own, so per-CPU data needs no critical sections to be right. */
struct model_held {
	const void *lock;
	const char *name;
	enum model_lock_kind kind;
};

struct model_thread {
	struct thread td;
	struct ucred cred;
	struct model_held held[16];
	int held_count, epochs;
};

/* A broken rule is noted, and the run goes on: model_faults() tells the caller. */
void model_fault(const char *format, ...) __printflike(1, 2);
struct model_thread *model_self(void);
void model_assert_may_sleep(const char *what);		/* no lock but a sleepable one, no epoch, no critical section */
void model_assert_nothing_held(const char *what);
int model_holds(const void *lock, int is_write);
void model_lock_add(const void *lock, const struct lock_object *object, enum model_lock_kind kind, const char *file,
    int line);
void model_lock_remove(const void *lock, const char *name, const char *file, int line);
void model_lock_init(struct lock_object *object, const char *name, u_int flags, volatile uintptr_t *word,
    uintptr_t free);
void model_lock_destroy(struct lock_object *object, volatile uintptr_t *word);
void model_lock_take(struct lock_object *object, volatile uintptr_t *word, uintptr_t free, enum model_lock_kind kind,
    const char *file, int line);
void model_lock_release(struct lock_object *object, volatile uintptr_t *word, uintptr_t free, const char *file,
    int line);
void model_lock_assert(const struct lock_object *object, const volatile uintptr_t *word, int what, const char *file,
    int line);
void model_locks_check(const char *when);		/* those that the module initialised and did not destroy */
void model_locks_in(const void *memory, host_word size, const char *what);

void model_memory_check(void);				/* at the end of an unload: what was left behind */
void model_vnet_each(void (*function)(const struct vnet_sysinit *), const struct vnet_sysinit *entry);

void model_sysctl_register(struct host_file *file);
void model_sysctl_unregister(void);
struct cc_algo *model_cc(void);				/* the one that new connections get; NULL: none */

#endif /* MODEL_H */

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The kernel's lock functions, as modules call them: mutex(9) and rwlock(9).
 */
#include "model.h"

/* 15 made the argument of these constant. */
#if __FreeBSD_version >= 1500000
typedef const void model_sysinit_argument;
#else
typedef void model_sysinit_argument;
#endif

/* mutex(9) */

#define MTX_OF(c) __containerof(c, struct mtx, mtx_lock)

void _mtx_init(volatile uintptr_t *c, const char *name, const char *type, int opts)
{
	u_int flags = (opts & MTX_RECURSE ? LO_RECURSABLE : 0) | (opts & MTX_DUPOK ? LO_DUPOK : 0);

	model_lock_init(&MTX_OF(c)->lock_object, type ? type : name, flags, c, MTX_UNOWNED);
}

void _mtx_destroy(volatile uintptr_t *c)
{
	model_lock_destroy(&MTX_OF(c)->lock_object, c);
}

void mtx_sysinit(model_sysinit_argument *argument)
{
	const struct mtx_args *args = argument;

	_mtx_init(&((struct mtx *)args->ma_mtx)->mtx_lock, args->ma_desc, NULL, args->ma_opts);
}

void __mtx_lock_flags(volatile uintptr_t *c, int opts __unused, const char *file, int line)
{
	model_lock_take(&MTX_OF(c)->lock_object, c, MTX_UNOWNED, MODEL_MUTEX, file, line);
}

void __mtx_unlock_flags(volatile uintptr_t *c, int opts __unused, const char *file, int line)
{
	model_lock_release(&MTX_OF(c)->lock_object, c, MTX_UNOWNED, file, line);
}

int _mtx_trylock_flags_(volatile uintptr_t *c, int opts, const char *file, int line)
{
	if (*c != MTX_UNOWNED)
		return 0;
	__mtx_lock_flags(c, opts, file, line);
	return 1;
}

void __mtx_lock_spin_flags(volatile uintptr_t *c, int opts __unused, const char *file, int line)
{
	model_lock_take(&MTX_OF(c)->lock_object, c, MTX_UNOWNED, MODEL_SPIN, file, line);
}

void __mtx_unlock_spin_flags(volatile uintptr_t *c, int opts __unused, const char *file, int line)
{
	model_lock_release(&MTX_OF(c)->lock_object, c, MTX_UNOWNED, file, line);
}

void __mtx_assert(const volatile uintptr_t *c, int what, const char *file, int line)
{
	model_lock_assert(&MTX_OF(c)->lock_object, c, what, file, line);
}

/* rwlock(9): readers are counted in the word above RW_READERS_SHIFT */

#define RW_OF(c) __containerof(c, struct rwlock, rw_lock)

void _rw_init_flags(volatile uintptr_t *c, const char *name, int opts)
{
	u_int flags = (opts & RW_RECURSE ? LO_RECURSABLE : 0) | (opts & RW_DUPOK ? LO_DUPOK : 0);

	model_lock_init(&RW_OF(c)->lock_object, name, flags, c, RW_UNLOCKED);
}

void _rw_destroy(volatile uintptr_t *c)
{
	model_lock_destroy(&RW_OF(c)->lock_object, c);
}

void rw_sysinit(model_sysinit_argument *argument)
{
	const struct rw_args *args = argument;

	_rw_init_flags(&((struct rwlock *)args->ra_rw)->rw_lock, args->ra_desc, args->ra_flags);
}

void _rw_wlock_cookie(volatile uintptr_t *c, const char *file, int line)
{
	model_lock_take(&RW_OF(c)->lock_object, c, RW_UNLOCKED, MODEL_WRITE, file, line);
}

void _rw_wunlock_cookie(volatile uintptr_t *c, const char *file, int line)
{
	model_lock_release(&RW_OF(c)->lock_object, c, RW_UNLOCKED, file, line);
}

int _rw_wowned(const volatile uintptr_t *c)
{
	return model_holds((const void *)(uintptr_t)c, 1);
}

void __rw_rlock(volatile uintptr_t *c, const char *file, int line)
{
	uintptr_t value = *c;

	if (!(RW_OF(c)->lock_object.lo_flags & LO_INITIALIZED)) {
		model_fault("lock taken at %s:%d that is not initialised", file, line);
		return;
	}
	if (model_holds((const void *)c, 1)) {
		model_fault("lock \"%s\" read under its own write lock at %s:%d", RW_OF(c)->lock_object.lo_name, file, line);
		return;
	}
	while (!(value & RW_LOCK_READ) ||
	    !__atomic_compare_exchange_n(c, &value, value + RW_ONE_READER, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		host_yield();
		value = *c;
	}
	model_lock_add((const void *)c, &RW_OF(c)->lock_object, MODEL_READ, file, line);
}

void _rw_runlock_cookie(volatile uintptr_t *c, const char *file, int line)
{
	model_lock_remove((const void *)c, RW_OF(c)->lock_object.lo_name, file, line);
	__atomic_fetch_sub(c, RW_ONE_READER, __ATOMIC_RELEASE);
}

void __rw_assert(const volatile uintptr_t *c, int what, const char *file, int line)
{
	model_lock_assert(&RW_OF(c)->lock_object, c, what, file, line);
}

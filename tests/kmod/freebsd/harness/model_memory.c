/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * malloc(9), UMA and counter(9). Every allocation is known with its owner, every one that may fail can be
 * made to, and what is left behind at an unload is named.
 */
#include "model.h"

#include <sys/counter.h>
#include <vm/uma.h>

#define ITEMS_MAX 65536
#define BYTES_MAX ((size_t)1 << 30)	/* live at once: who asks for more has taken a user's word for a size */

struct uma_zone {
	const char *name;
	size_t size;
	uma_ctor ctor;
	uma_dtor dtor;
	uma_init init;
	uma_fini fini;
	int align, limit, live;
	uint32_t flags;
	struct uma_zone *next;
};

struct item {
	void *address;
	size_t size;
	const void *owner;			/* a malloc type, a zone, or &counter_owner */
	const char *name;
};

static const char counter_owner;
static struct item *items;			/* open hashing; a freed address is never given out again */
static int items_live;
static size_t bytes_live;
static struct uma_zone *zones;
static host_word allocations, fail_at;
static volatile int memory_lock;

struct malloc_type M_TEMP[1], M_DEVBUF[1], M_IOV[1], M_CC_MEM[1];

static void memory_enter(void)
{
	while (__atomic_exchange_n(&memory_lock, 1, __ATOMIC_ACQUIRE))
		host_yield();
}

static void memory_leave(void)
{
	__atomic_store_n(&memory_lock, 0, __ATOMIC_RELEASE);
}

void model_fail_allocation(host_word nth)
{
	fail_at = nth ? allocations + nth : 0;
}

host_word model_allocations(void)
{
	return allocations;
}

host_word model_live_allocations(void)
{
	return items_live;
}

static struct item *item_find(const void *address)
{
	host_word at = ((uintptr_t)address * 0x9e3779b97f4a7c15UL) >> 48;

	if (items == NULL)
		items = host_calloc(ITEMS_MAX, sizeof(*items));
	while (items[at].address != NULL && items[at].address != address)
		at = (at + 1) % ITEMS_MAX;
	return &items[at];
}

/* The order of insertion decides where an item is found: those behind a removed one are inserted again. */
static void item_remove(struct item *item)
{
	host_word at = item - items;

	memset(item, 0, sizeof(*item));
	for (at = (at + 1) % ITEMS_MAX; items[at].address != NULL; at = (at + 1) % ITEMS_MAX) {
		struct item moved = items[at];

		memset(&items[at], 0, sizeof(items[at]));
		*item_find(moved.address) = moved;
	}
}

/* 0: this one has to fail. */
static int may_allocate(int flags, const char *name)
{
	int is_allowed = 1;

	if (!!(flags & M_WAITOK) == !!(flags & M_NOWAIT))
		model_fault("allocation of %s: neither or both of M_WAITOK and M_NOWAIT", name);
	if (flags & M_WAITOK)
		model_assert_may_sleep("allocation that may sleep");
	else {
		memory_enter();
		is_allowed = ++allocations != fail_at;
		memory_leave();
	}
	return is_allowed;
}

static void *item_make(size_t size, size_t align, const void *owner, const char *name)
{
	struct item *item;
	void *address;

	if (__atomic_add_fetch(&bytes_live, size, __ATOMIC_RELAXED) > BYTES_MAX)
		host_die("fault: panic: kmem_malloc: map too small");
	address = host_alloc(size, align);
	memory_enter();
	if (items_live > ITEMS_MAX * 3 / 4)
		host_die("fault: more live allocations than the model counts");
	item = item_find(address);
	*item = (struct item){ address, size, owner, name };
	items_live++;
	memory_leave();
	return address;
}

/* The size that it had; 0: this owner has no such item. */
static size_t item_forget(void *address, const void *owner, const char *name)
{
	struct item *item;
	size_t size = 0;

	memory_enter();
	item = item_find(address);
	if (item->address == NULL)
		model_fault("%s: freed twice, or never allocated", name);
	else if (item->owner != owner)
		model_fault("%s: freed as this, allocated as %s", name, item->name);
	else {
		size = item->size;
		item_remove(item);
		items_live--;
		__atomic_sub_fetch(&bytes_live, size, __ATOMIC_RELAXED);
	}
	memory_leave();
	if (size > 0)
		model_locks_in(address, size, name);
	return size;
}

void model_memory_check(void)
{
	for (int i = 0; items != NULL && i < ITEMS_MAX; i++) {
		if (items[i].address != NULL)
			model_fault("leak: %zu bytes of %s at unload", items[i].size, items[i].name);
	}
	for (struct uma_zone *zone = zones; zone != NULL; zone = zone->next)
		model_fault("leak: zone %s at unload", zone->name);
	zones = NULL;
}

/* malloc(9) */

static const char *type_name(const struct malloc_type *type)
{
	return type->ks_shortdesc ? type->ks_shortdesc : "malloc";
}

#undef malloc
void *malloc(size_t size, struct malloc_type *type, int flags)
{
	void *address;

	if (!may_allocate(flags, type_name(type)))
		return NULL;
	address = item_make(size ? size : 1, 16, type, type_name(type));
	if (flags & M_ZERO)
		memset(address, 0, size);
	return address;
}

void *mallocarray(size_t n, size_t size, struct malloc_type *type, int flags)
{
	if (size != 0 && n > SIZE_MAX / size)
		panic("mallocarray: overflow");
	return malloc(n * size, type, flags);
}

void free(void *address, struct malloc_type *type)
{
	size_t size = address ? item_forget(address, type, type_name(type)) : 0;

	if (size > 0)
		host_free(address, size);
}

void zfree(void *address, struct malloc_type *type)
{
	free(address, type);
}

void malloc_init(void *type)
{
	if (((struct malloc_type *)type)->ks_version != M_VERSION)
		panic("malloc_init: bad malloc type magic");
}

void malloc_uninit(void *type)
{
	for (int i = 0; items != NULL && i < ITEMS_MAX; i++) {
		if (items[i].owner == type)
			model_fault("leak: %zu bytes of %s when its type went", items[i].size, items[i].name);
	}
}

void *hashinit(int elements, struct malloc_type *type, u_long *mask)
{
	LIST_HEAD(, uma_zone) *heads;
	u_long n = 1;

	while (n * 2 <= (u_long)elements)
		n *= 2;
	heads = malloc(n * sizeof(*heads), type, M_WAITOK);
	for (u_long i = 0; i < n; i++)
		LIST_INIT(&heads[i]);
	*mask = n - 1;
	return heads;
}

void hashdestroy(void *table, struct malloc_type *type, u_long mask)
{
	void **heads = table;

	for (u_long i = 0; i <= mask; i++) {
		if (heads[i] != NULL)
			model_fault("hashdestroy: a list is not empty");
	}
	free(table, type);
}

/* uma(9) */

uma_zone_t uma_zcreate(const char *name, size_t size, uma_ctor ctor, uma_dtor dtor, uma_init init, uma_fini fini,
    int align, uint32_t flags)
{
	struct uma_zone *zone = host_calloc(1, sizeof(*zone));

	model_assert_may_sleep("uma_zcreate");
	*zone = (struct uma_zone){ name, size, ctor, dtor, init, fini, align, 0, 0, flags, zones };
	zones = zone;
	return zone;
}

void uma_zdestroy(uma_zone_t zone)
{
	struct uma_zone **link = &zones;

	while (*link != NULL && *link != zone)
		link = &(*link)->next;
	if (*link == NULL) {
		model_fault("a zone destroyed that does not exist");
		return;
	}
	if (zone->live > 0)
		model_fault("leak: zone %s destroyed with %d items", zone->name, zone->live);
	*link = zone->next;
	host_release(zone);
}

int uma_zone_set_max(uma_zone_t zone, int items_max)
{
	zone->limit = items_max;
	return items_max;
}

int uma_zone_get_max(uma_zone_t zone)
{
	return zone->limit;
}

int uma_zone_get_cur(uma_zone_t zone)
{
	return zone->live;
}

void uma_zone_set_warning(uma_zone_t zone __unused, const char *warning __unused)
{
}

unsigned int uma_get_cache_align_mask(void)
{
	return 63;
}

void *uma_zalloc_arg(uma_zone_t zone, void *argument, int flags)
{
	void *address;

	if (!may_allocate(flags, zone->name))
		return NULL;
	if (__atomic_add_fetch(&zone->live, 1, __ATOMIC_RELAXED) > zone->limit && zone->limit > 0) {
		__atomic_sub_fetch(&zone->live, 1, __ATOMIC_RELAXED);
		if (flags & M_WAITOK)
			host_die("fault: asleep for ever: zone is at its limit");
		return NULL;
	}
	address = item_make(zone->size, zone->align + 1, zone, zone->name);
	if ((flags & M_ZERO) || (zone->flags & UMA_ZONE_ZINIT))
		memset(address, 0, zone->size);
	if ((zone->init != NULL && zone->init(address, zone->size, flags) != 0) ||
	    (zone->ctor != NULL && zone->ctor(address, zone->size, argument, flags) != 0)) {
		uma_zfree_arg(zone, address, argument);
		return NULL;
	}
	return address;
}

void uma_zfree_arg(uma_zone_t zone, void *address, void *argument)
{
	size_t size;

	if (address == NULL)
		return;
	if (zone->dtor != NULL)
		zone->dtor(address, zone->size, argument);
	if (zone->fini != NULL)
		zone->fini(address, zone->size);
	size = item_forget(address, zone, zone->name);
	if (size == 0)
		return;
	__atomic_sub_fetch(&zone->live, 1, __ATOMIC_RELAXED);
	host_free(address, size);
}

/* counter(9): a block with a page a CPU, named by its distance from the first CPU's page */

counter_u64_t counter_u64_alloc(int flags)
{
	counter_u64_t counter;

	if (!may_allocate(flags, "counter"))
		return NULL;
	counter = item_make((size_t)HOST_CPUS * HOST_CPU_BYTES, 8, &counter_owner, "counter");
	memset(counter, 0, (size_t)HOST_CPUS * HOST_CPU_BYTES);
	return zpcpu_base_to_offset(counter);
}

void counter_u64_free(counter_u64_t counter)
{
	counter_u64_t base;

	if (counter == NULL)
		return;
	base = zpcpu_offset_to_base(counter);
	if (item_forget(base, &counter_owner, "counter") > 0)
		host_free(base, (size_t)HOST_CPUS * HOST_CPU_BYTES);
}

uint64_t counter_u64_fetch(counter_u64_t counter)
{
	uint64_t sum = 0;

	for (int cpu = 0; cpu < HOST_CPUS; cpu++)
		sum += *(volatile uint64_t *)zpcpu_get_cpu(counter, cpu);
	return sum;
}

void counter_u64_zero(counter_u64_t counter)
{
	for (int cpu = 0; cpu < HOST_CPUS; cpu++)
		*(volatile uint64_t *)zpcpu_get_cpu(counter, cpu) = 0;
}

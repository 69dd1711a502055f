/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The subflows by id: from cb_init to cb_destroy, and their records until somebody reads them.
 */
#include "ccdrl_table.h"

#include <vm/uma.h>

MALLOC_DEFINE(M_CCDRL, "ccdrl", "buffers of the ccdrl calls");

struct ccdrl_stripe ccdrl_stripes[CCDRL_STRIPES];
static uma_zone_t subflow_zone;
static uint64_t next_id;
static u_int n_attached;	/* tcpcbs under the controller, listening ones too */
static u_int n_listed;

struct ccdrl_subflow *
ccdrl_subflow_alloc(void)
{
	struct ccdrl_subflow *sf;

	sf = uma_zalloc(subflow_zone, M_NOWAIT | M_ZERO);
	if (sf == NULL) {
		CCDRL_COUNT(no_memory);
		return (NULL);
	}
	sf->sample.abi = DRL_ABI_VERSION;
	sf->sample.subflow_id = atomic_fetchadd_64(&next_id, 1);
	atomic_add_int(&n_attached, 1);
	return (sf);
}

/* For what ccdrl_subflow_close() left to a reader. */
void
ccdrl_subflow_free(struct ccdrl_subflow *sf)
{

	uma_zfree(subflow_zone, sf);
}

void
ccdrl_subflow_lock(const struct ccdrl_subflow *sf)
{

	mtx_lock(&ccdrl_stripe_of(sf->sample.subflow_id)->lock);
}

void
ccdrl_subflow_unlock(const struct ccdrl_subflow *sf)
{

	mtx_unlock(&ccdrl_stripe_of(sf->sample.subflow_id)->lock);
}

/* Makes the subflow known to the calls, unless there are too many: then the fallback has it for life. */
void
ccdrl_subflow_list(struct ccdrl_subflow *sf)
{
	uint64_t id = sf->sample.subflow_id;

	if (atomic_fetchadd_int(&n_listed, 1) >= CCDRL_BOUND_GET(subflows_max)) {
		atomic_subtract_int(&n_listed, 1);
		CCDRL_COUNT(unlisted);
		return;
	}
	LIST_INSERT_HEAD(ccdrl_stripe_bucket(ccdrl_stripe_of(id), id), sf, hash);
	sf->is_listed = true;
}

/* Numbers a new state of the record and shows it. CREATED is not lost to what follows before it is read. */
void
ccdrl_subflow_publish(struct ccdrl_subflow *sf, enum drl_event event)
{
	struct drl_subflow_sample *sample = &sf->sample;

	sample->seq++;
	if (!sf->is_changed || (event == DRL_EVENT_STATE && sample->event == DRL_EVENT_SAMPLE))
		sample->event = event;
	if (sf->is_listed && !sf->is_changed)
		ccdrl_stripe_enqueue(ccdrl_stripe_of(sample->subflow_id), sf);
}

/*
 * The tcpcb goes: calls find the subflow no more, its last record waits. The record is no longer the caller's. Takes the
 * stripe's lock itself.
 */
void
ccdrl_subflow_close(struct ccdrl_subflow *sf)
{
	struct ccdrl_stripe *stripe = ccdrl_stripe_of(sf->sample.subflow_id);
	struct ccdrl_subflow *lost = NULL;
	uint32_t closed_max = CCDRL_BOUND_GET(closed_max) / CCDRL_STRIPES;

	atomic_subtract_int(&n_attached, 1);
	if (!sf->is_listed) {
		ccdrl_subflow_free(sf);
		return;
	}
	mtx_lock(&stripe->lock);
	LIST_REMOVE(sf, hash);
	sf->is_listed = false;
	if (sf->is_changed)
		ccdrl_stripe_dequeue(stripe, sf);
	sf->sample.seq++;
	sf->sample.event = DRL_EVENT_CLOSED;
	sf->lease_end_us = sf->pending_end_us = 0;
	TAILQ_INSERT_TAIL(&stripe->closed, sf, link);
	if (++stripe->n_closed > MAX(closed_max, 1)) {
		lost = TAILQ_FIRST(&stripe->closed);
		TAILQ_REMOVE(&stripe->closed, lost, link);
		stripe->n_closed--;
		CCDRL_COUNT(closed_lost);
	}
	mtx_unlock(&stripe->lock);
	atomic_subtract_int(&n_listed, 1);
	if (lost != NULL)
		ccdrl_subflow_free(lost);
}

uint32_t
ccdrl_subflows_attached(void)
{

	return (atomic_load_int(&n_attached));
}

uint32_t
ccdrl_subflows_listed(void)
{

	return (atomic_load_int(&n_listed));
}

/* Before the module's events, so that it is there for the first subflow; ids go on after a reload. */
static void
table_init(const void *unused __unused)
{
	uint32_t i, j;

	subflow_zone = uma_zcreate("ccdrl_subflow", sizeof(struct ccdrl_subflow), NULL, NULL, NULL, NULL, UMA_ALIGN_PTR, 0);
	next_id = ccdrl_now_us() + 1;	/* less than one subflow a microsecond: no id returns in this boot */
	for (i = 0; i < CCDRL_STRIPES; i++) {
		mtx_init(&ccdrl_stripes[i].lock, "ccdrl stripe", NULL, MTX_DEF);
		for (j = 0; j < CCDRL_STRIPE_BUCKETS; j++)
			LIST_INIT(&ccdrl_stripes[i].buckets[j]);
		TAILQ_INIT(&ccdrl_stripes[i].changed);
		TAILQ_INIT(&ccdrl_stripes[i].closed);
	}
	ccdrl_connections_init();
}
SYSINIT(ccdrl_table, SI_SUB_PSEUDO, SI_ORDER_ANY, table_init, NULL);

/* Closed records of a network stack, or of all, which nobody will read. */
static void
closed_purge(const struct vnet *vnet, bool is_all)
{
	struct ccdrl_list purged = TAILQ_HEAD_INITIALIZER(purged);
	struct ccdrl_subflow *sf, *next;
	uint32_t i;

	for (i = 0; i < CCDRL_STRIPES; i++) {
		mtx_lock(&ccdrl_stripes[i].lock);
		TAILQ_FOREACH_SAFE(sf, &ccdrl_stripes[i].closed, link, next) {
			if (sf->vnet != vnet && !is_all)
				continue;
			TAILQ_REMOVE(&ccdrl_stripes[i].closed, sf, link);
			ccdrl_stripes[i].n_closed--;
			TAILQ_INSERT_TAIL(&purged, sf, link);
		}
		mtx_unlock(&ccdrl_stripes[i].lock);
	}
	ccdrl_records_free(&purged);
}

/* A network stack goes (or the module, for each one): the next to have its address must not read its records. */
static void
vnet_uninit(const void *unused __unused)
{

	closed_purge(curvnet, false);
}
VNET_SYSUNINIT(ccdrl, SI_SUB_PROTO_BEGIN, SI_ORDER_ANY, vnet_uninit, NULL);

/* After the module's events: no tcpcb is under the controller, and no thread is in a call. */
static void
table_destroy(const void *unused __unused)
{
	uint32_t i;

	KASSERT(ccdrl_subflows_attached() == 0, ("%s: %u subflows left", __func__, ccdrl_subflows_attached()));
	closed_purge(NULL, true);
	ccdrl_connections_destroy();
	for (i = 0; i < CCDRL_STRIPES; i++)
		mtx_destroy(&ccdrl_stripes[i].lock);
	uma_zdestroy(subflow_zone);
}
SYSUNINIT(ccdrl_table, SI_SUB_PSEUDO, SI_ORDER_ANY, table_destroy, NULL);

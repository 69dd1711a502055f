/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The table of subflows, shared out over stripes by id. A stripe has its own lock, hash buckets and lists, so that
 * reading costs what has changed, and callbacks seldom meet.
 *
 * A record waits on its stripe's list `changed` once, however often it changes; a closed one is out of the hash and
 * waits on `closed`, whose oldest goes when there are too many.
 */
#ifndef CCDRL_TABLE_H
#define CCDRL_TABLE_H

#include "ccdrl_var.h"

#define	CCDRL_STRIPES		64	/* locks; a power of two */
#define	CCDRL_STRIPE_BUCKETS	256	/* a power of two */

LIST_HEAD(ccdrl_bucket, ccdrl_subflow);

struct ccdrl_stripe {
	struct mtx lock;
	struct ccdrl_bucket buckets[CCDRL_STRIPE_BUCKETS];
	struct ccdrl_list changed;
	struct ccdrl_list closed;
	uint32_t n_changed;
	uint32_t n_closed;
} __aligned(CACHE_LINE_SIZE);

extern struct ccdrl_stripe ccdrl_stripes[CCDRL_STRIPES];

static inline struct ccdrl_stripe *
ccdrl_stripe_of(uint64_t id)
{

	return (&ccdrl_stripes[id & (CCDRL_STRIPES - 1)]);
}

static inline struct ccdrl_bucket *
ccdrl_stripe_bucket(struct ccdrl_stripe *stripe, uint64_t id)
{

	mtx_assert(&stripe->lock, MA_OWNED);
	return (&stripe->buckets[id / CCDRL_STRIPES & (CCDRL_STRIPE_BUCKETS - 1)]);
}

/* The live subflow with this id, or NULL. */
static inline struct ccdrl_subflow *
ccdrl_stripe_find(struct ccdrl_stripe *stripe, uint64_t id)
{
	struct ccdrl_subflow *sf;

	LIST_FOREACH(sf, ccdrl_stripe_bucket(stripe, id), hash) {
		if (sf->sample.subflow_id == id)
			break;
	}
	return (sf);
}

static inline void
ccdrl_stripe_enqueue(struct ccdrl_stripe *stripe, struct ccdrl_subflow *sf)
{

	mtx_assert(&stripe->lock, MA_OWNED);
	TAILQ_INSERT_TAIL(&stripe->changed, sf, link);
	sf->is_changed = true;
	stripe->n_changed++;
}

static inline void
ccdrl_stripe_dequeue(struct ccdrl_stripe *stripe, struct ccdrl_subflow *sf)
{

	mtx_assert(&stripe->lock, MA_OWNED);
	TAILQ_REMOVE(&stripe->changed, sf, link);
	sf->is_changed = false;
	stripe->n_changed--;
}

#endif /* CCDRL_TABLE_H */

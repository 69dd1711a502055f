/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the two calls do to the table: records out, actions in. They know no tcpcb and no inpcb lock.
 */
#include "ccdrl_table.h"

static u_int next_stripe;	/* where the next read begins */

/* How many records wait, in all network stacks: an estimate, as they come and go. */
uint32_t
ccdrl_records_pending(void)
{
	uint32_t i, pending = 0;

	for (i = 0; i < CCDRL_STRIPES; i++)
		pending += ccdrl_stripes[i].n_changed + ccdrl_stripes[i].n_closed;
	return (pending);
}

static void
record_copy(struct drl_subflow_sample *out, const struct ccdrl_subflow *sf, uint64_t now_us)
{

	*out = sf->sample;
	if (MAX(sf->lease_end_us, sf->pending_end_us) <= now_us)
		out->flags |= DRL_FLAG_FALLBACK;
}

static uint32_t
stripe_take(struct ccdrl_stripe *stripe, struct vnet *vnet, struct drl_subflow_sample *samples, uint32_t capacity,
    struct ccdrl_list *closed, uint64_t now_us)
{
	struct ccdrl_subflow *sf, *next;
	uint32_t n = 0;

	mtx_lock(&stripe->lock);
	TAILQ_FOREACH_SAFE(sf, &stripe->closed, link, next) {
		if (n == capacity)
			break;
		if (sf->vnet != vnet)
			continue;
		record_copy(&samples[n++], sf, now_us);
		TAILQ_REMOVE(&stripe->closed, sf, link);
		stripe->n_closed--;
		TAILQ_INSERT_TAIL(closed, sf, link);
	}
	TAILQ_FOREACH_SAFE(sf, &stripe->changed, link, next) {
		if (n == capacity)
			break;
		if (sf->vnet != vnet)
			continue;
		record_copy(&samples[n++], sf, now_us);
		ccdrl_stripe_dequeue(stripe, sf);
		sf->sample.flags &= ~(DRL_FLAG_CWND_LIMITED | DRL_FLAG_RWND_LIMITED);
	}
	mtx_unlock(&stripe->lock);
	return (n);
}

/*
 * Copies up to `capacity` waiting records of a network stack and returns their number; two readers never get the same
 * one. What was closed goes to the list `closed` and is the caller's: to be freed, or with all others restored.
 */
uint32_t
ccdrl_records_take(struct vnet *vnet, struct drl_subflow_sample *samples, uint32_t capacity, struct ccdrl_list *closed)
{
	uint64_t now_us = ccdrl_now_us();
	uint32_t i, n = 0, first = atomic_load_int(&next_stripe);

	for (i = 0; i < CCDRL_STRIPES && n < capacity; i++) {
		struct ccdrl_stripe *stripe = &ccdrl_stripes[(first + i) & (CCDRL_STRIPES - 1)];

		if (stripe->n_changed + stripe->n_closed != 0)
			n += stripe_take(stripe, vnet, &samples[n], capacity - n, closed, now_us);
	}
	atomic_store_int(&next_stripe, first + i);	/* so that a reader with little room comes round to all */
	return (n);
}

/* Undoes ccdrl_records_take(): nobody got the records. */
void
ccdrl_records_restore(const struct drl_subflow_sample *samples, uint32_t n, struct ccdrl_list *closed)
{
	const uint16_t limits = DRL_FLAG_CWND_LIMITED | DRL_FLAG_RWND_LIMITED;
	struct ccdrl_stripe *stripe;
	struct ccdrl_subflow *sf;
	uint32_t i;

	while ((sf = TAILQ_LAST(closed, ccdrl_list)) != NULL) {
		TAILQ_REMOVE(closed, sf, link);
		stripe = ccdrl_stripe_of(sf->sample.subflow_id);
		mtx_lock(&stripe->lock);
		TAILQ_INSERT_HEAD(&stripe->closed, sf, link);
		stripe->n_closed++;
		mtx_unlock(&stripe->lock);
	}
	for (i = 0; i < n; i++) {
		if (samples[i].event == DRL_EVENT_CLOSED)
			continue;
		stripe = ccdrl_stripe_of(samples[i].subflow_id);
		mtx_lock(&stripe->lock);
		sf = ccdrl_stripe_find(stripe, samples[i].subflow_id);
		if (sf != NULL) {
			if (!sf->is_changed)
				ccdrl_stripe_enqueue(stripe, sf);
			if (samples[i].event != DRL_EVENT_SAMPLE && sf->sample.event != DRL_EVENT_CREATED)
				sf->sample.event = samples[i].event;
			sf->sample.flags |= samples[i].flags & limits;
		}
		mtx_unlock(&stripe->lock);
	}
}

void
ccdrl_records_free(struct ccdrl_list *closed)
{
	struct ccdrl_subflow *sf;

	while ((sf = TAILQ_FIRST(closed)) != NULL) {
		TAILQ_REMOVE(closed, sf, link);
		ccdrl_subflow_free(sf);
	}
}

/* Stores an action for the next callback of its subflow, if it is in order. */
enum drl_action_result
ccdrl_action_take(struct vnet *vnet, const struct drl_cwnd_action *action)
{
	struct ccdrl_stripe *stripe = ccdrl_stripe_of(action->subflow_id);
	enum drl_action_result result = DRL_RESULT_UNKNOWN;
	uint64_t cwnd, high = CCDRL_BOUND_GET(cwnd_max_bytes), low, now_us = ccdrl_now_us();
	struct ccdrl_subflow *sf;

	if (action->abi != DRL_ABI_VERSION || action->reserved != 0 || action->cwnd_bytes == 0 || action->lease_us == 0 ||
	    action->lease_us > CCDRL_BOUND_GET(lease_max_us))
		return (DRL_RESULT_MALFORMED);
	mtx_lock(&stripe->lock);
	sf = ccdrl_stripe_find(stripe, action->subflow_id);
	if (sf == NULL || sf->vnet != vnet)
		goto out;
	result = DRL_RESULT_STALE;
	if (action->seq < sf->rto_seq || action->seq < sf->action_seq || action->seq > sf->sample.seq)
		goto out;
	low = (uint64_t)DRL_CWND_MIN_SEGMENTS * sf->sample.mss_bytes;
	cwnd = MIN(MAX(action->cwnd_bytes, low), MAX(high, low));
	sf->action_seq = action->seq;
	sf->pending_bytes = cwnd;
	sf->pending_end_us = now_us + action->lease_us;
	result = cwnd == action->cwnd_bytes ? DRL_RESULT_APPLIED : DRL_RESULT_CLAMPED;
out:
	mtx_unlock(&stripe->lock);
	return (result);
}

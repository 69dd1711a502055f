/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The simulator as a datapath of ABI v2: one coalesced record a subflow out, leased windows in, the fallback between leases.
 * Under a lease the window is the agent's, and a loss does not move it: the agent sees the loss and answers. Without one,
 * LIA in the shared integer arithmetic. An RTO collapses the window, ends the lease and makes older answers stale.
 */
#include "internal.h"

#include "ccdrl_fallback.h"

static bool is_in_lease(const struct subflow *sf)
{
	return sf->u.drl.lease_end_ns > sf->sim->now_ns;
}

static uint32_t to_bytes(const struct subflow *sf, double segments)
{
	double bytes = segments * sf->mss_bytes;

	return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

static uint64_t fallback_increase_q8(struct subflow *sf, uint32_t acked_segments)
{
	struct ccdrl_fallback_sibling siblings[DRL_SUBFLOWS_MAX] = { 0 };
	uint32_t n = 0, self = 0;

	for (uint32_t i = 0; i < sf->conn->n_subflows; i++) {
		const struct subflow *sibling = &sf->conn->subflows[i];

		if (!sibling->is_established || (sibling->is_failed && sibling != sf))
			continue;
		if (sibling == sf)
			self = n;
		siblings[n].cwnd_bytes = to_bytes(sibling, sibling->state == DRL_STATE_RECOVERY && !isinf(sibling->ssthresh)
		    ? sibling->ssthresh : sibling->cwnd);
		siblings[n++].srtt_us = (uint32_t)(sibling->srtt_ns / NS_PER_US);
	}
	return ccdrl_fallback_increase_q8(siblings, n, self, acked_segments * sf->mss_bytes, sf->mss_bytes);
}

static void drl_on_ack(struct subflow *sf, const struct ack_info *ack)
{
	struct drl_subflow *drl = &sf->u.drl;

	drl->was_cwnd_limited |= ack->is_cwnd_limited;
	if (drl->is_in_lease && !is_in_lease(sf)) {	/* hand-over: from the present window, not above what was in flight */
		drl->is_in_lease = false;
		sf->sim->counters.expired++;
		if (sf->state < DRL_STATE_CWR) {
			sf->cwnd = fmin(sf->cwnd, fmax(ack->prior_inflight_segments, DRL_CWND_MIN_SEGMENTS));
			sf->ssthresh = sf->cwnd;
		}
		sf->pacing_bytes_per_s = 0;
	}
	if (drl->is_in_lease) {
		if (sf->state == DRL_STATE_OPEN || sf->state == DRL_STATE_DISORDER)
			sf->cwnd = drl->agent_cwnd;
		else if (sf->state == DRL_STATE_LOSS)	/* slow start up to the leased window */
			sf->cwnd = fmin(sf->cwnd + ack->acked_segments, drl->agent_cwnd);
		return;
	}
	if (!ack->is_cwnd_limited || sf->state == DRL_STATE_CWR || sf->state == DRL_STATE_RECOVERY)
		return;
	if (subflow_is_in_slow_start(sf)) {
		sf->cwnd = fmin(sf->cwnd + ack->acked_segments, fmax(sf->ssthresh, sf->cwnd));
	} else {
		sf->cwnd += (double)fallback_increase_q8(sf, ack->acked_segments) / 256.0 / sf->mss_bytes;
	}
}

static double drl_ssthresh(struct subflow *sf)
{
	if (sf->u.drl.is_in_lease && is_in_lease(sf))
		return sf->u.drl.agent_cwnd;
	return (double)ccdrl_fallback_ssthresh(to_bytes(sf, sf->cwnd), sf->mss_bytes) / sf->mss_bytes;
}

const struct cc_ops cc_drl = { .name = "drl", .on_ack = drl_on_ack, .ssthresh = drl_ssthresh };

void drl_timeout(struct subflow *sf)
{
	sf->u.drl.is_in_lease = false;
	sf->u.drl.lease_end_ns = 0;
	sf->pacing_bytes_per_s = 0;
}

void drl_subflow_add(struct subflow *sf)
{
	struct ccdrl_sim *sim = sf->sim;
	struct subflow **drl = realloc(sim->drl, (sim->n_drl + 1) * sizeof(*drl));

	if (drl == NULL) {
		sim->is_out_of_memory = true;
		return;
	}
	sim->drl = drl;
	sim->drl[sim->n_drl++] = sf;
	sf->u.drl.id = sim->n_drl;
	drl_subflow_touch(sf, DRL_EVENT_CREATED);
}

void drl_subflow_touch(struct subflow *sf, enum drl_event event)
{
	struct drl_subflow *drl = &sf->u.drl;

	drl->seq++;
	if (!drl->is_dirty || event == DRL_EVENT_CLOSED || (event == DRL_EVENT_STATE && drl->event == DRL_EVENT_SAMPLE))
		drl->event = event;	/* CREATED is not lost to a later SAMPLE; CLOSED is the last word */
	drl->is_dirty = true;
}

void drl_sample_fill(const struct subflow *sf, struct drl_subflow_sample *out)
{
	const struct drl_subflow *drl = &sf->u.drl;
	const struct conn *conn = sf->conn;
	double ssthresh_bytes = sf->ssthresh * sf->mss_bytes;
	uint64_t room = conn->rwnd_edge - conn->dsn_nxt;
	uint16_t flags = 0;

	memset(out, 0, sizeof(*out));
	out->abi = DRL_ABI_VERSION;
	out->conn_id = conn->index + 1;
	out->subflow_id = drl->id;
	out->seq = drl->seq;
	out->timestamp_us = (uint64_t)(sf->sim->now_ns / NS_PER_US);
	out->local_port = (uint16_t)(conn->index + 1);
	out->foreign_port = (uint16_t)(sf->index + 1);
	out->event = (uint16_t)drl->event;
	out->mss_bytes = sf->mss_bytes;
	out->cwnd_bytes = to_bytes(sf, sf->cwnd);
	out->ssthresh_bytes = ssthresh_bytes < UINT32_MAX ? (uint32_t)ssthresh_bytes : UINT32_MAX;
	out->inflight_bytes = subflow_inflight(sf) * sf->mss_bytes;
	out->srtt_us = (uint32_t)(sf->srtt_ns / NS_PER_US);
	out->rttvar_us = (uint32_t)(sf->rttvar_ns / NS_PER_US);
	out->min_rtt_us = (uint32_t)(sf->min_rtt_ns / NS_PER_US);
	out->last_rtt_us = (uint32_t)(sf->last_rtt_ns / NS_PER_US);
	out->sent_bytes = sf->sent_bytes;
	out->delivered_bytes = sf->delivered_bytes;
	out->lost_bytes = sf->lost_bytes;
	out->retransmitted_bytes = sf->retransmitted_bytes;
	if (sf->rate_interval_ns > 0)
		out->delivery_rate_bytes_per_s = (uint64_t)((double)sf->rate_delivered * sf->mss_bytes * NS_PER_S /
		    (double)sf->rate_interval_ns);
	out->rwnd_bytes = room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
	out->loss_events = sf->loss_events;
	out->rto_events = sf->rto_events;
	out->ecn_marks = sf->ecn_marks;
	out->state = (uint16_t)sf->state;
	if (sf->app_limited_until != 0)
		flags |= DRL_FLAG_APP_LIMITED;
	if (drl->was_cwnd_limited)
		flags |= DRL_FLAG_CWND_LIMITED;
	if (drl->was_rwnd_limited)
		flags |= DRL_FLAG_RWND_LIMITED;
	if (!is_in_lease(sf))
		flags |= DRL_FLAG_FALLBACK;
	out->flags = flags;
}

int drl_sim_get_buffer(struct ccdrl_sim *sim, struct drl_subflow_sample *samples, uint32_t *count)
{
	uint32_t capacity, filled = 0;

	if (sim == NULL || count == NULL || (samples == NULL && *count > 0))
		return CCDRL_ERR_ARGUMENT;
	capacity = *count;
	for (uint32_t i = 0; i < sim->n_drl && filled < capacity; i++) {
		uint32_t at = sim->drl_cursor++ % sim->n_drl;
		struct subflow *sf = sim->drl[at];
		struct drl_subflow *drl = &sf->u.drl;

		if (drl->id != at + 1 || !drl->is_dirty)
			continue;		/* the slot has a newer subflow, or nothing happened */
		drl_sample_fill(sf, &samples[filled++]);
		drl->is_dirty = false;
		drl->was_cwnd_limited = drl->was_rwnd_limited = false;
	}
	if (filled < capacity)
		sim->drl_cursor = 0;		/* all were seen: the order of creation again */
	*count = filled;
	return CCDRL_OK;
}

int drl_sim_peek(struct ccdrl_sim *sim, struct drl_subflow_sample *samples, uint32_t capacity)
{
	uint32_t rows = 0;

	for (uint32_t i = 0; i < sim->n_conns; i++) {
		struct conn *conn = sim->conns[i];

		if (conn->config.cc != CCDRL_CC_DRL)
			continue;
		for (uint32_t j = 0; j < conn->n_subflows; j++, rows++) {
			struct drl_subflow *drl = &conn->subflows[j].u.drl;

			if (rows >= capacity)
				continue;
			drl_sample_fill(&conn->subflows[j], &samples[rows]);
			drl->is_dirty = drl->was_cwnd_limited = drl->was_rwnd_limited = false;
		}
	}
	return (int)rows;
}

static enum drl_action_result action_apply(struct ccdrl_sim *sim, const struct drl_cwnd_action *action)
{
	double cwnd, cwnd_max;
	struct drl_subflow *drl;
	struct subflow *sf;

	if (action->abi != DRL_ABI_VERSION || action->reserved != 0 || action->cwnd_bytes == 0 || action->lease_us == 0 ||
	    action->lease_us > DRL_LEASE_MAX_US)
		return DRL_RESULT_MALFORMED;
	if (action->subflow_id == 0 || action->subflow_id > sim->n_drl)
		return DRL_RESULT_UNKNOWN;
	sf = sim->drl[action->subflow_id - 1];
	drl = &sf->u.drl;
	if (drl->id != action->subflow_id || sf->is_closed || !sf->is_established)
		return DRL_RESULT_UNKNOWN;
	if (action->seq < drl->rto_seq || action->seq < drl->last_action_seq || action->seq > drl->seq)
		return DRL_RESULT_STALE;
	cwnd = (double)action->cwnd_bytes / sf->mss_bytes;
	cwnd_max = fmax(sim->cwnd_max_bytes / sf->mss_bytes, DRL_CWND_MIN_SEGMENTS);
	drl->last_action_seq = action->seq;
	drl->agent_cwnd = fmin(fmax(cwnd, DRL_CWND_MIN_SEGMENTS), cwnd_max);
	drl->lease_end_ns = sim->now_ns + (int64_t)action->lease_us * NS_PER_US;
	drl->is_in_lease = true;
	sf->pacing_bytes_per_s = (double)action->pacing_rate_bytes_per_s;
	subflow_cwnd_account(sf);
	sf->ssthresh = drl->agent_cwnd;
	if (sf->state == DRL_STATE_LOSS)
		sf->cwnd = fmin(sf->cwnd, drl->agent_cwnd);
	else if (sf->state != DRL_STATE_CWR && sf->state != DRL_STATE_RECOVERY)
		sf->cwnd = drl->agent_cwnd;
	conn_push(sf->conn);
	return drl->agent_cwnd == cwnd ? DRL_RESULT_APPLIED : DRL_RESULT_CLAMPED;
}

int drl_sim_update_cwnd(struct ccdrl_sim *sim, const struct drl_cwnd_action *actions, uint32_t n, int32_t *results)
{
	if (sim == NULL || (n > 0 && (actions == NULL || results == NULL)))
		return CCDRL_ERR_ARGUMENT;
	for (uint32_t i = 0; i < n; i++) {
		enum drl_action_result result = action_apply(sim, &actions[i]);

		results[i] = result;
		sim->counters.applied += result == DRL_RESULT_APPLIED;
		sim->counters.clamped += result == DRL_RESULT_CLAMPED;
		sim->counters.stale += result == DRL_RESULT_STALE;
		sim->counters.unknown += result == DRL_RESULT_UNKNOWN;
		sim->counters.malformed += result == DRL_RESULT_MALFORMED;
	}
	return sim->is_out_of_memory ? CCDRL_ERR_MEMORY : CCDRL_OK;
}

void drl_sim_cwnd_max_set(struct ccdrl_sim *sim, uint32_t cwnd_max_bytes)
{
	sim->cwnd_max_bytes = cwnd_max_bytes;
}

void drl_sim_counters(const struct ccdrl_sim *sim, struct drl_counters *out)
{
	*out = sim->counters;
}

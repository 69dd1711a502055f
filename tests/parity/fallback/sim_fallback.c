/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The simulator's fallback (bindings/csim/drl.c) with what recovery.c and ack.c do around it: windows in segments with
 * fractions, reductions to whole segments.
 */
#include "internal.h"

#include "fallback.h"

#define FAILED_RTOS 3	/* REINJECT_RTOS of recovery.c */

struct fallback {
	struct ccdrl_sim sim;
	struct conn conn;
	struct subflow subflows[DRL_SUBFLOWS_MAX];
};

/* What drl.c calls when it takes an action, which never comes here. */
void conn_push(struct conn *conn)
{
	(void)conn;
}

void subflow_cwnd_account(struct subflow *sf)
{
	(void)sf;
}

struct fallback *fallback_new(uint32_t n_subflows, uint32_t mss_bytes)
{
	struct fallback *fallback = calloc(1, sizeof(*fallback));

	if (fallback == NULL || n_subflows > DRL_SUBFLOWS_MAX)
		return NULL;
	fallback->conn.sim = &fallback->sim;
	fallback->conn.n_subflows = n_subflows;
	fallback->conn.subflows = fallback->subflows;
	for (uint32_t i = 0; i < n_subflows; i++) {
		struct subflow *sf = &fallback->subflows[i];

		sf->sim = &fallback->sim;
		sf->conn = &fallback->conn;
		sf->cc = &cc_drl;
		sf->index = i;
		sf->mss_bytes = mss_bytes;
		sf->cwnd = 10.0;
		sf->ssthresh = INFINITY;
		sf->is_established = true;
	}
	return fallback;
}

void fallback_free(struct fallback *fallback)
{
	free(fallback);
}

static void ssthresh_ask(struct subflow *sf)
{
	sf->ssthresh = fmax(floor(cc_drl.ssthresh(sf)), DRL_CWND_MIN_SEGMENTS);
}

void fallback_ack(struct fallback *fallback, uint32_t subflow, uint32_t acked_segments, uint32_t srtt_us)
{
	struct subflow *sf = &fallback->subflows[subflow];
	struct ack_info ack = { .now_ns = 1, .delivered_segments = acked_segments, .acked_segments = acked_segments,
	    .rtt_ns = -1, .is_cwnd_limited = true };

	sf->srtt_ns = (int64_t)srtt_us * NS_PER_US;
	sf->backoff = 0;
	sf->is_failed = false;
	cc_drl.on_ack(sf, &ack);
	if (sf->state == DRL_STATE_LOSS && sf->cwnd >= sf->ssthresh)
		sf->state = DRL_STATE_OPEN;
}

void fallback_signal(struct fallback *fallback, uint32_t subflow)
{
	struct subflow *sf = &fallback->subflows[subflow];

	ssthresh_ask(sf);
	sf->state = DRL_STATE_RECOVERY;
}

void fallback_recovered(struct fallback *fallback, uint32_t subflow)
{
	struct subflow *sf = &fallback->subflows[subflow];

	sf->cwnd = sf->ssthresh;
	sf->state = DRL_STATE_OPEN;
}

void fallback_timeout(struct fallback *fallback, uint32_t subflow, int is_first)
{
	struct subflow *sf = &fallback->subflows[subflow];

	if (is_first) {
		drl_timeout(sf);
		ssthresh_ask(sf);
	}
	sf->cwnd = 1.0;
	sf->state = DRL_STATE_LOSS;
	sf->is_failed = ++sf->backoff >= FAILED_RTOS;
}

double fallback_cwnd_bytes(const struct fallback *fallback, uint32_t subflow)
{
	const struct subflow *sf = &fallback->subflows[subflow];

	return sf->cwnd * sf->mss_bytes;
}

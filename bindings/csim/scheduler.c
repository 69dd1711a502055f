/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Which subflow gets the next map. Each scheduler sees the subflows that are up, have not failed and have room.
 *   minrtt      lowest srtt (Linux's default)
 *   roundrobin  turn by turn (FreeBSD v0.4, seeds figure 10)
 *   redundant   new data on the lowest srtt; conn.c copies it to the others
 *   blest       Ferlin et al., "BLEST: Blocking Estimation-based MPTCP Scheduler", IFIP Networking 2016
 *   ecf         Lim et al., "ECF: An MPTCP Path Scheduler to Manage Heterogeneous Paths", CoNEXT 2017
 */
#include "internal.h"

#define BLEST_LAMBDA_MAX 3.0
#define BLEST_STEP 0.1
#define ECF_BETA 0.25

static bool is_usable(struct subflow *sf, uint32_t exclude_mask)
{
	return sf->is_established && !sf->is_failed && !(exclude_mask >> sf->index & 1) && sf->lost == 0;
}

/* Lowest srtt; with room only, or regardless of room. */
static struct subflow *fastest(struct conn *conn, uint32_t exclude_mask, bool needs_room)
{
	struct subflow *best = NULL;

	for (uint32_t i = 0; i < conn->n_subflows; i++) {
		struct subflow *sf = &conn->subflows[i];

		if (!is_usable(sf, exclude_mask) || (best != NULL && sf->srtt_ns >= best->srtt_ns))
			continue;
		if (!needs_room || subflow_may_send(sf))
			best = sf;
	}
	return best;
}

static struct subflow *round_robin(struct conn *conn, uint32_t exclude_mask)
{
	for (uint32_t i = 0; i < conn->n_subflows; i++) {
		struct subflow *sf = &conn->subflows[(conn->rr_next + i) % conn->n_subflows];

		if (is_usable(sf, exclude_mask) && subflow_may_send(sf)) {
			conn->rr_next = (sf->index + 1) % conn->n_subflows;
			return sf;
		}
	}
	return NULL;
}

/* Would a segment on the slow subflow hold up what the fast one can send in the meantime (its equation 1)? */
static struct subflow *blest(struct conn *conn, struct subflow *fast, struct subflow *slow)
{
	double ratio = (double)slow->srtt_ns / (double)(fast->srtt_ns > 0 ? fast->srtt_ns : 1);
	double fast_bytes = conn->config.mss_bytes * (fast->cwnd + (ratio - 1) / 2) * ratio;
	double window = (double)(conn->rwnd_edge - conn->dsn_nxt) +
	    (double)conn->config.mss_bytes * subflow_inflight(fast);
	double slow_bytes = (double)conn->config.mss_bytes * (subflow_inflight(slow) + 1);

	if (conn->sim->now_ns - conn->blest_stamp_ns >= slow->srtt_ns) {	/* lambda adapts once in a slow RTT */
		conn->blest_stamp_ns = conn->sim->now_ns;
		conn->blest_lambda += conn->is_rwnd_limited ? BLEST_STEP : -BLEST_STEP;
		conn->blest_lambda = fmin(fmax(conn->blest_lambda, 1.0), BLEST_LAMBDA_MAX);
	}
	return fast_bytes * conn->blest_lambda > window - slow_bytes ? NULL : slow;
}

/* Does waiting for the fast subflow finish the buffered data sooner than using the slow one (its algorithm 1)? */
static struct subflow *ecf(struct conn *conn, struct subflow *fast, struct subflow *slow)
{
	/* What waits to be scheduled: written, and inside the receive window. A last round, however short, takes an RTT. */
	double left = fmin((double)conn_unsent_bytes(conn), (double)(conn->rwnd_edge - conn->dsn_nxt)) / conn->config.mss_bytes;
	double margin_ns = (double)(fast->rttvar_ns > slow->rttvar_ns ? fast->rttvar_ns : slow->rttvar_ns);
	double rounds = 1 + left / fmax(fast->cwnd, 1);
	double beta = conn->ecf_waiting ? ECF_BETA : 0;

	if (rounds * (double)fast->srtt_ns < (1 + beta) * ((double)slow->srtt_ns + margin_ns)) {
		if (fmax(left / fmax(slow->cwnd, 1), 1) * (double)slow->srtt_ns >= 2 * (double)fast->srtt_ns + margin_ns) {
			conn->ecf_waiting = true;
			return NULL;
		}
		return slow;
	}
	conn->ecf_waiting = false;
	return slow;
}

struct subflow *scheduler_pick(struct conn *conn, uint32_t exclude_mask)
{
	struct subflow *sf, *fast;

	if (conn->n_subflows == 1) {
		sf = &conn->subflows[0];
		return is_usable(sf, exclude_mask) && subflow_may_send(sf) ? sf : NULL;
	}
	if (conn->config.scheduler == CCDRL_SCHEDULER_ROUNDROBIN)
		return round_robin(conn, exclude_mask);
	sf = fastest(conn, exclude_mask, true);
	if (sf == NULL || conn->config.scheduler < CCDRL_SCHEDULER_BLEST)
		return sf;
	fast = fastest(conn, exclude_mask, false);
	if (fast == sf)
		return sf;
	return conn->config.scheduler == CCDRL_SCHEDULER_BLEST ? blest(conn, fast, sf) : ecf(conn, fast, sf);
}

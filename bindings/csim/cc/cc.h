/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the congestion controllers share: when a window may grow, slow start, and the sums over the siblings that the
 * coupled rules need. Windows are in segments, as everywhere inside the simulator.
 */
#ifndef CCDRL_CC_H
#define CCDRL_CC_H

#include "../internal.h"

/* fmax and fmin are calls into libm, for the sake of NaN; no window is NaN. */
static inline double cc_max(double a, double b)
{
	return a > b ? a : b;
}

static inline double cc_min(double a, double b)
{
	return a < b ? a : b;
}

/* RFC 7661 section 1: a window that the sender does not fill says nothing about the path, so it does not grow. In CWR
   and fast recovery proportional rate reduction owns the window (RFC 9937). */
static inline bool cc_may_grow(const struct subflow *sf, const struct ack_info *ack)
{
	return ack->is_cwnd_limited && ack->acked_segments > 0 && sf->state != DRL_STATE_CWR &&
	    sf->state != DRL_STATE_RECOVERY;
}

/* RFC 5681 section 3.1, slow start, with RFC 3465's counting of what an ACK covers and no limit on it (as Linux). Takes
   `segments` up to ssthresh and returns what is left for congestion avoidance. */
static inline double cc_slow_start(struct subflow *sf, double segments)
{
	double room = sf->ssthresh - sf->cwnd;

	if (room <= 0.0)
		return segments;
	if (segments < room) {
		sf->cwnd += segments;
		return 0.0;
	}
	sf->cwnd = sf->ssthresh;
	return segments - room;
}

/* The common opening of a loss-based rule: 0 where nothing may grow or slow start took it all. */
static inline double cc_avoidance_segments(struct subflow *sf, const struct ack_info *ack)
{
	return cc_may_grow(sf, ack) ? cc_slow_start(sf, ack->acked_segments) : 0.0;
}

/* RFC 5681 section 3.1, equation 3 in segments: one segment a window. */
static inline void cc_reno_avoid(struct subflow *sf, double segments)
{
	sf->cwnd += segments / sf->cwnd;
}

/* RFC 5681 section 3.1, equation 4. cwnd stands for FlightSize: it grows only while it is filled. */
static inline double cc_reno_ssthresh(const struct subflow *sf)
{
	return cc_max(sf->cwnd / 2.0, 2.0);
}

/* Does this sibling take part in the coupling? It must be able to send and have an RTT. */
static inline bool cc_is_counted(const struct subflow *sf)
{
	return sf->is_established && !sf->is_closed && !sf->is_failed && sf->srtt_ns > 0;
}

/* RFC 6356 section 3: a subflow in fast recovery counts with ssthresh, its window being in motion. */
static inline double cc_window(const struct subflow *sf)
{
	return sf->state == DRL_STATE_RECOVERY ? sf->ssthresh : sf->cwnd;
}

/* Sums over the counted subflows of one connection, with the caller's srtt r as the unit of time: the rate of subflow i
   is then w_i r/r_i segments a round trip of the caller. All coupled rules are homogeneous in time, so the unit cancels;
   it saves the caller its own division. */
struct cc_coupling {
	uint32_t n;		/* the caller included */
	double rate_sum;	/* sum of w_i r/r_i */
	double rate_max;	/* max of w_i r/r_i */
	double lia_max;		/* max of w_i (r/r_i)^2 */
};

/* n is 1 for a subflow on its own, and where the caller has no RTT yet: the coupled rules are Reno then. */
static inline struct cc_coupling cc_couple(const struct subflow *sf)
{
	const struct conn *conn = sf->conn;
	double own = cc_window(sf), srtt = (double)sf->srtt_ns;
	struct cc_coupling coupling = { 1, own, own, own };

	if (sf->srtt_ns <= 0)
		return coupling;
	for (uint32_t i = 0; i < conn->n_subflows; i++) {
		const struct subflow *sibling = &conn->subflows[i];

		if (sibling == sf || !cc_is_counted(sibling))
			continue;
		double ratio = srtt / (double)sibling->srtt_ns;
		double rate = cc_window(sibling) * ratio;

		coupling.n++;
		coupling.rate_sum += rate;
		coupling.rate_max = cc_max(coupling.rate_max, rate);
		coupling.lia_max = cc_max(coupling.lia_max, rate * ratio);
	}
	return coupling;
}

/* Has the round that ends with segment number `end` been ACKed? Numbers wrap. */
static inline bool cc_round_is_over(const struct subflow *sf, uint32_t end)
{
	return (int32_t)(sf->snd_una - end) >= 0;
}

#endif /* CCDRL_CC_H */

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * OLIA: Khalili, Gast, Popovic, Le Boudec, "MPTCP is not Pareto-Optimal", CoNEXT 2012;
 * draft-khalili-mptcp-congestion-control-05 section 2.
 */
#include "cc.h"

/* l of the draft: the larger of the segments ACKed between the last two losses and since the last loss. */
static inline double olia_interval(const struct olia_state *olia)
{
	return (double)(olia->l1_segments > olia->l2_segments ? olia->l1_segments : olia->l2_segments);
}

/* Quality of a subflow. The paper has l^2/r, Linux l/r^2; here as Linux, with the caller's srtt as the unit of time. */
static inline double olia_quality(const struct subflow *sf, double srtt)
{
	double ratio = srtt / (double)sf->srtt_ns;

	return olia_interval(&sf->u.olia) * (ratio * ratio);
}

/* Windows of the same whole number of segments tie for the largest, as the integer windows of a kernel do: among equal
   paths the fraction would single one out by chance. */
static inline double olia_window(const struct subflow *sf)
{
	return floor(cc_window(sf));
}

/*
 * Section 2: B = subflows of the best quality, M = subflows of the largest window. While B \ M is not empty, epsilon
 * moves window from M, -1/(n |M|), to B \ M, +1/(n |B \ M|).
 */
static double olia_epsilon(const struct subflow *sf, uint32_t n)
{
	const struct conn *conn = sf->conn;
	double srtt = (double)sf->srtt_ns;
	double best = olia_quality(sf, srtt), largest = olia_window(sf);
	uint32_t n_largest = 0, n_best_small = 0;

	for (uint32_t i = 0; i < conn->n_subflows; i++) {
		const struct subflow *sibling = &conn->subflows[i];

		if (sibling == sf || !cc_is_counted(sibling))
			continue;
		best = cc_max(best, olia_quality(sibling, srtt));
		largest = cc_max(largest, olia_window(sibling));
	}
	for (uint32_t i = 0; i < conn->n_subflows; i++) {
		const struct subflow *sibling = &conn->subflows[i];

		if (sibling != sf && !cc_is_counted(sibling))
			continue;
		if (olia_window(sibling) >= largest)
			n_largest++;
		else if (olia_quality(sibling, srtt) >= best)
			n_best_small++;
	}
	if (n_best_small == 0)
		return 0.0;
	if (olia_window(sf) >= largest)
		return -1.0 / ((double)n * n_largest);
	return olia_quality(sf, srtt) >= best ? 1.0 / ((double)n * n_best_small) : 0.0;
}

static void olia_on_ack(struct subflow *sf, const struct ack_info *ack)
{
	double segments = cc_avoidance_segments(sf, ack);

	sf->u.olia.l2_segments += ack->delivered_segments;
	if (segments <= 0.0)
		return;
	struct cc_coupling coupling = cc_couple(sf);

	if (coupling.n == 1) {
		cc_reno_avoid(sf, segments);
		return;
	}
	/* Section 2: a segment ACKed gives (w/r^2) / (sum w_i/r_i)^2 + epsilon/w, which may be negative. */
	double increase = sf->cwnd / (coupling.rate_sum * coupling.rate_sum) + olia_epsilon(sf, coupling.n) / sf->cwnd;

	sf->cwnd = cc_max(sf->cwnd + segments * increase, 1.0);
}

static double olia_ssthresh(struct subflow *sf)
{
	struct olia_state *olia = &sf->u.olia;

	/* A loss starts a new interval; a second one before anything was ACKed does not. */
	if (olia->l2_segments > 0) {
		olia->l1_segments = olia->l2_segments;
		olia->l2_segments = 0;
	}
	return cc_reno_ssthresh(sf);
}

const struct cc_ops cc_olia = {
	.name = "olia",
	.on_ack = olia_on_ack,
	.ssthresh = olia_ssthresh,
};

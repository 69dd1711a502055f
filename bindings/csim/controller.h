/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The table of operations behind which a congestion controller stands, and the state each keeps in a subflow.
 */
#ifndef CCDRL_CONTROLLER_H
#define CCDRL_CONTROLLER_H

#include <stdbool.h>
#include <stdint.h>

#include "csim.h"

struct subflow;

/* What one ACK told the sender. */
struct ack_info {
	int64_t now_ns;
	uint32_t delivered_segments;	/* newly ACKed or SACKed by this ACK */
	uint32_t acked_segments;	/* what a window may grow by: the same if the cumulative ACK advanced, else 0 (as Linux) */
	uint32_t lost_segments;		/* newly marked lost by this ACK */
	uint32_t prior_inflight_segments;
	int64_t rtt_ns;			/* newest valid sample, < 0: none */
	uint64_t rate_delivered;	/* rate sample: segments delivered ... */
	int64_t rate_interval_ns;	/* ... over this interval; 0: no valid sample */
	uint64_t rate_prior_delivered;	/* sf->delivered_segments when the sampled segment was sent */
	bool is_rate_app_limited;
	bool is_cwnd_limited;		/* the window was what held the sender back (RFC 7661: grow only then) */
	bool is_ece;
};

/* Windows are in segments, as doubles: the fraction carries over between ACKs.
   on_ack sees every ACK; in DRL_STATE_OPEN, DISORDER and LOSS it grows sf->cwnd (slow start below sf->ssthresh included), in
   CWR and RECOVERY it leaves sf->cwnd alone: the core runs PRR towards sf->ssthresh unless owns_recovery. ssthresh is asked
   once for each congestion episode (loss, RTO, ECN) and returns the new sf->ssthresh; the core keeps it at or above 2. */
struct cc_ops {
	const char *name;
	bool owns_recovery;		/* the controller sets sf->cwnd in every state (BBR) */
	void (*init)(struct subflow *sf);		/* established; zeroed sf->cc; may be NULL, as all below but on_ack, ssthresh */
	void (*on_ack)(struct subflow *sf, const struct ack_info *ack);
	double (*ssthresh)(struct subflow *sf);
	void (*on_state)(struct subflow *sf, enum drl_state old_state);	/* sf->state has changed; sf->cwnd is already set */
	void (*on_undo)(struct subflow *sf);		/* the RTO was spurious; the core has restored cwnd and ssthresh */
};
extern const struct cc_ops cc_reno, cc_cubic, cc_bbr, cc_lia, cc_olia, cc_balia, cc_wvegas, cc_ewtcp, cc_drl, cc_fixed;

struct cubic_state {
	double w_max, w_est, k_s, origin_point;
	int64_t epoch_start_ns;
	/* HyStart++ (RFC 9406) */
	uint32_t round_end_seq, rtt_samples, css_rounds;
	int64_t round_min_rtt_ns, last_round_min_rtt_ns, css_baseline_min_rtt_ns;
	bool is_in_css, is_hystart_done;
};
struct olia_state { uint64_t l1_segments, l2_segments; };
struct wvegas_state {
	int64_t base_rtt_ns, rtt_sum_ns, queue_delay_min_ns;
	uint32_t rtt_samples, round_end_seq;
	double alpha, weight, expected_rate;
};
struct bbr_state {
	double bw_filter[3]; uint64_t bw_round[3];	/* windowed max over 10 rounds, segments per second */
	uint64_t round_count, next_round_delivered;
	int64_t min_rtt_ns, min_rtt_stamp_ns, probe_rtt_done_ns, cycle_stamp_ns;
	double pacing_gain, cwnd_gain, prior_cwnd, full_bw;
	uint32_t mode, cycle_index, full_bw_count;
	bool is_full_pipe, is_round_start, is_idle_restart, is_probe_rtt_round_done, is_conserving;
	uint64_t conserve_until;
	uint64_t rng_state;
};
struct drl_subflow {
	uint64_t id, seq, rto_seq, last_action_seq;
	int64_t lease_end_ns;		/* <= now: the fallback rules */
	double agent_cwnd;		/* segments */
	uint32_t event;
	bool is_dirty, is_in_lease, was_cwnd_limited, was_rwnd_limited;
};

#endif /* CCDRL_CONTROLLER_H */

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Public interface of the packet-level Multipath TCP simulator; cffi parses this file after kmod/include/ccdrl.h.
 *
 * One `struct ccdrl_sim` is one network: links, flows (connections of 1 to 8 subflows) and timed events. It is built with
 * the *_add calls, advanced with ccdrl_sim_run, and read with the *_stats calls. Simulated time is int64 nanoseconds from 0.
 * Calls that can fail return a negative enum ccdrl_error; ccdrl_sim_error gives the sentence. A sim is used by one thread
 * at a time; different sims are independent. Same configuration and seed: same bytes out.
 */
#ifndef CCDRL_CSIM_H
#define CCDRL_CSIM_H

#ifndef CCDRL_CFFI
#include "ccdrl.h"
#endif

enum ccdrl_error { CCDRL_OK = 0, CCDRL_ERR_ARGUMENT = -1, CCDRL_ERR_MEMORY = -2, CCDRL_ERR_STATE = -3 };

enum ccdrl_sim_limits {
	CCDRL_PATH_LINKS_MAX = 8,
	CCDRL_HEADER_BYTES = 52,	/* wire packet = payload + 52 */
};

enum ccdrl_cc_id {
	CCDRL_CC_RENO, CCDRL_CC_CUBIC, CCDRL_CC_BBR, CCDRL_CC_LIA, CCDRL_CC_OLIA, CCDRL_CC_BALIA, CCDRL_CC_WVEGAS,
	CCDRL_CC_EWTCP, CCDRL_CC_DRL, CCDRL_CC_FIXED, CCDRL_CC_COUNT
};
enum ccdrl_queue_kind { CCDRL_QUEUE_DROPTAIL, CCDRL_QUEUE_RED, CCDRL_QUEUE_CODEL, CCDRL_QUEUE_PIE };
enum ccdrl_loss_kind { CCDRL_LOSS_NONE, CCDRL_LOSS_BERNOULLI, CCDRL_LOSS_GILBERT_ELLIOTT };
enum ccdrl_trace_kind { CCDRL_TRACE_NONE, CCDRL_TRACE_OPPORTUNITIES, CCDRL_TRACE_RATE };
enum ccdrl_scheduler_id {
	CCDRL_SCHEDULER_MINRTT, CCDRL_SCHEDULER_ROUNDROBIN, CCDRL_SCHEDULER_REDUNDANT, CCDRL_SCHEDULER_BLEST,
	CCDRL_SCHEDULER_ECF, CCDRL_SCHEDULER_COUNT
};
enum ccdrl_event_kind { CCDRL_EVENT_RATE, CCDRL_EVENT_DELAY, CCDRL_EVENT_LOSS, CCDRL_EVENT_DOWN, CCDRL_EVENT_UP };

/* Random loss on the wire, drawn once for each packet. Gilbert-Elliott: a two-state Markov chain stepped once a packet. */
struct ccdrl_loss_config {
	uint32_t kind;			/* enum ccdrl_loss_kind */
	double p;			/* Bernoulli: loss probability */
	double good_to_bad;		/* Gilbert-Elliott: transition probabilities for each packet */
	double bad_to_good;
	double loss_good;		/* loss probability in each state */
	double loss_bad;
};

/* Varying capacity; repeats with period_ns. OPPORTUNITIES: at time_ns[i] up to 1500 wire bytes may leave (mahimahi).
   RATE: rate_bps[i] holds from time_ns[i] to time_ns[i + 1], the last to period_ns. The arrays are copied. */
struct ccdrl_trace_config {
	uint32_t kind;			/* enum ccdrl_trace_kind */
	uint64_t n;
	const int64_t *time_ns;		/* ascending, from 0, < or = period_ns */
	const double *rate_bps;		/* RATE only */
	int64_t period_ns;
};

struct ccdrl_link_config {
	double rate_bps;		/* wire bits a second; ignored with a trace */
	int64_t delay_ns;		/* one way */
	int64_t jitter_ns;		/* uniform extra delay in [0, jitter_ns], order kept */
	uint32_t queue_kind;		/* enum ccdrl_queue_kind */
	uint32_t is_ecn;		/* RED, CoDel, PIE mark instead of dropping */
	int64_t limit_bytes;		/* queue limit in wire bytes, packet in service included; 0: no limit of this kind */
	int64_t limit_packets;
	double red_min_bytes, red_max_bytes, red_max_p, red_weight; /* 0: defaults derived from the limit */
	int64_t aqm_target_ns;		/* CoDel and PIE; 0: 5 ms and 15 ms (RFC 8289, RFC 8033) */
	int64_t aqm_interval_ns;	/* CoDel interval, PIE T_UPDATE; 0: 100 ms and 15 ms */
	struct ccdrl_loss_config loss;
	struct ccdrl_trace_config trace;
};

struct ccdrl_path_config {
	uint32_t n_links;
	uint32_t links[8];		/* indices returned by ccdrl_link_add, sender to receiver */
	int64_t extra_delay_ns;		/* one-way, added in each direction */
};

struct ccdrl_flow_config {
	uint32_t cc;			/* enum ccdrl_cc_id */
	uint32_t scheduler;		/* enum ccdrl_scheduler_id */
	uint32_t n_paths;
	struct ccdrl_path_config paths[8];
	uint32_t mss_bytes;		/* payload bytes of a full segment */
	int64_t start_ns;		/* first SYN */
	int64_t stop_ns;		/* the sender goes silent; < 0: never */
	uint64_t size_bytes;		/* finite transfer; 0: unlimited */
	uint64_t rwnd_bytes;		/* receive buffer of the connection; 0: 1 GiB */
	double app_rate_bps;		/* payload bits a second that the application writes; 0: unlimited */
	double initial_cwnd_segments;	/* 0: 10 (RFC 6928) */
	double fixed_cwnd_segments;	/* CCDRL_CC_FIXED */
	uint32_t ack_segments;		/* the receiver ACKs every so many segments in order; 0: 2 (RFC 5681 section 4.2) */
};

struct ccdrl_event_config {
	int64_t at_ns;
	uint32_t link;
	uint32_t kind;			/* enum ccdrl_event_kind */
	double rate_bps;
	int64_t delay_ns;
	struct ccdrl_loss_config loss;
};

/* Figures since the last ccdrl_sim_stats_reset. A value is NaN where it has no sample. */
struct ccdrl_subflow_stats {
	uint64_t sent_packets, sent_bytes, retransmitted_bytes, lost_bytes;
	uint64_t delivered_bytes;	/* payload that reached the receiver, duplicates included */
	uint64_t received_packets;
	uint64_t rto_events, loss_events;
	double rtt_mean_ms, rtt_p95_ms, queue_delay_mean_ms, queue_delay_p95_ms;
	double cwnd_mean_bytes;		/* over time */
	double cwnd_bytes, srtt_ms;	/* now */
	uint32_t is_established;
	uint32_t state;			/* enum drl_state */
};

struct ccdrl_flow_stats {
	uint64_t goodput_bytes;		/* handed in order to the receiving application */
	uint64_t sent_packets, sent_bytes, retransmitted_bytes;
	uint64_t reinjected_bytes;	/* data-level retransmissions */
	int64_t completion_ns;		/* from the start; < 0: not complete */
	double rtt_mean_ms, rtt_p95_ms, queue_delay_mean_ms, queue_delay_p95_ms;
	uint32_t n_subflows;
	uint64_t send_buffer_bytes;	/* sb_cc: written, no data ACK yet */
	uint64_t send_buffer_held_bytes; /* sb_actual: still referenced by a map */
};

struct ccdrl_link_stats {
	uint64_t departed_bytes;	/* wire bytes that left the link */
	double capacity_bytes;		/* what it could have carried in that time */
	double queue_mean_bytes;
	uint64_t dropped_packets;	/* queue and AQM drops */
	uint64_t lost_packets;		/* random loss and link-down losses */
	uint64_t marked_packets;
	uint64_t queue_bytes;		/* now */
};

struct ccdrl_sim;

struct ccdrl_sim *ccdrl_sim_new(uint64_t seed);
void ccdrl_sim_free(struct ccdrl_sim *sim);
const char *ccdrl_sim_error(const struct ccdrl_sim *sim);

int ccdrl_link_add(struct ccdrl_sim *sim, const struct ccdrl_link_config *config);	/* link index */
int ccdrl_flow_add(struct ccdrl_sim *sim, const struct ccdrl_flow_config *config);	/* flow index */
int ccdrl_event_add(struct ccdrl_sim *sim, const struct ccdrl_event_config *config);

/* Runs all events up to and including until_ns, then sets the clock there. CCDRL_ERR_STATE for a time in the past. */
int ccdrl_sim_run(struct ccdrl_sim *sim, int64_t until_ns);
int64_t ccdrl_sim_now(const struct ccdrl_sim *sim);
uint64_t ccdrl_sim_packets(const struct ccdrl_sim *sim);	/* data packets sent since the start */
void ccdrl_sim_stats_reset(struct ccdrl_sim *sim);		/* end of the warm-up */
void ccdrl_sim_stats_enable(struct ccdrl_sim *sim, uint32_t is_enabled); /* histograms off: faster training */

int ccdrl_flow_stats(struct ccdrl_sim *sim, uint32_t flow, struct ccdrl_flow_stats *out);
int ccdrl_subflow_stats(struct ccdrl_sim *sim, uint32_t flow, uint32_t path, struct ccdrl_subflow_stats *out);
int ccdrl_link_stats(struct ccdrl_sim *sim, uint32_t link, struct ccdrl_link_stats *out);
/* A receiving application that stops reading lets the receive window close. */
int ccdrl_flow_reading_set(struct ccdrl_sim *sim, uint32_t flow, uint32_t is_reading);
/* Orderly removal of one subflow (RFC 8684 section 3.6), or a new MP_JOIN on its path. */
int ccdrl_subflow_remove(struct ccdrl_sim *sim, uint32_t flow, uint32_t path);
int ccdrl_subflow_join(struct ccdrl_sim *sim, uint32_t flow, uint32_t path);
/* Conservation: sent = received + dropped + in the network on every subflow, and the scoreboards add up. 0 if so. */
int ccdrl_sim_check(struct ccdrl_sim *sim);

/* The datapath: records of the CCDRL_CC_DRL subflows that changed since the last call, windows back. */
int drl_sim_get_buffer(struct ccdrl_sim *sim, struct drl_subflow_sample *samples, uint32_t *count);
int drl_sim_update_cwnd(struct ccdrl_sim *sim, const struct drl_cwnd_action *actions, uint32_t n, int32_t *results);
void drl_sim_cwnd_max_set(struct ccdrl_sim *sim, uint32_t cwnd_max_bytes);	/* the administrator's bound on actions */
void drl_sim_counters(const struct ccdrl_sim *sim, struct drl_counters *out);
/* Every drl subflow in the order of flows and paths, changed or not; returns how many there are (capacity may be 0). */
int drl_sim_peek(struct ccdrl_sim *sim, struct drl_subflow_sample *samples, uint32_t capacity);

/* What happens to segments: a ring of the newest `capacity` records (0: off), read oldest first and taken out. */
enum ccdrl_record_kind {
	CCDRL_RECORD_SEND, CCDRL_RECORD_RETRANSMIT, CCDRL_RECORD_PROBE /* of a zero window */, CCDRL_RECORD_RECEIVE,
	CCDRL_RECORD_DROP /* by a queue or a wire */, CCDRL_RECORD_ACK /* reached the sender */, CCDRL_RECORD_RTO
};
struct ccdrl_record {
	int64_t time_ns;
	double cwnd_segments, ssthresh_segments;	/* after the event */
	uint32_t kind;			/* enum ccdrl_record_kind */
	uint32_t flow, path;
	uint32_t seq;			/* segment number; ACK: next one wanted; RTO: first without an ACK */
	uint32_t map;			/* data-sequence map sent; ACK: next one wanted; UINT32_MAX: none */
	uint32_t state;			/* enum drl_state */
};
int ccdrl_sim_record_enable(struct ccdrl_sim *sim, uint32_t capacity);
uint32_t ccdrl_sim_record_read(struct ccdrl_sim *sim, struct ccdrl_record *out, uint32_t capacity);

/* N simulators in one call on a pool of threads: for each, the actions are written, the clock runs to until_ns[i], and all
   drl subflows are peeked into samples[first_row[i] ...]. Row r of actions belongs to row r of samples; an action with
   subflow_id 0 is passed over. first_row has n + 1 entries. Returns 0, or the first error. */
struct ccdrl_pool;
struct ccdrl_pool *ccdrl_pool_new(uint32_t n_threads);
void ccdrl_pool_free(struct ccdrl_pool *pool);
int ccdrl_batch_step(struct ccdrl_pool *pool, struct ccdrl_sim **sims, uint32_t n, const int64_t *until_ns,
    const uint32_t *first_row, const struct drl_cwnd_action *actions, struct drl_subflow_sample *samples);

/* Yardstick of the machine: n pop-min and push pairs on a 4096-entry binary heap of 16-byte events; returns seconds. */
double ccdrl_bench_heap(uint64_t n);

#endif /* CCDRL_CSIM_H */

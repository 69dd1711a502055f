/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the simulator's parts know of each other.
 *
 *   tournament.c event sources ordered by (time, sequence number)
 *   rng.h       xoshiro256** for each link
 *   link.c      FIFO service, propagation, random loss, events; aqm_*.c RED, CoDel, PIE; trace.c varying capacity
 *   subflow.c   sender: transmission, ACK processing; recovery.c SACK scoreboard, PRR, RTO; receiver.c
 *   conn.c      MPTCP control block: data-sequence maps, data ACKs, schedulers, data-level retransmission
 *   cc/          congestion controllers behind struct cc_ops
 *   drl.c       samples out, leased windows in, fallback
 *
 * The speed comes from one decision: a FIFO link knows a packet's departure when the packet arrives, so a packet costs one
 * event for each link (its arrival at the far end) and each link, being FIFO, needs only its first packet among the event sources.
 */
#ifndef CCDRL_INTERNAL_H
#define CCDRL_INTERNAL_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "csim.h"

#define NS_PER_S 1000000000LL
#define NS_PER_MS 1000000LL
#define NS_PER_US 1000LL
#define TIME_NEVER INT64_MAX
#define RTO_MAX_NS (60 * NS_PER_S)	/* RFC 6298 (2.5) */

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

struct ccdrl_sim;
struct conn;
struct subflow;
struct link;

/* --- rng (rng.h) --- */
struct rng { uint64_t s[4]; };

/* --- event sources (tournament.c) --- */
enum source_kind { SOURCE_LINK, SOURCE_ACKS, SOURCE_TAIL, SOURCE_TIMER, SOURCE_CONN, SOURCE_EVENTS };
__extension__ typedef unsigned __int128 event_key;	/* time, order, source from high to low */
struct source { uint32_t kind; void *object; };
uint32_t source_add(struct ccdrl_sim *sim, enum source_kind kind, void *object);	/* UINT32_MAX: no memory */
/* (Re)schedules a source; TIME_NEVER takes it out. */
void source_set(struct ccdrl_sim *sim, uint32_t source, int64_t time_ns);

/* --- packets on a link --- */
enum packet_flag { PACKET_CE = 1, PACKET_LOST = 2, PACKET_PROBE = 4 /* zero-window probe, no segment */ };
struct packet {
	int64_t arrival_ns;		/* at the far end of the link; enqueue time while CoDel has it queued */
	int64_t departure_ns;		/* end of service */
	int64_t sent_ns;		/* left the sender */
	struct subflow *subflow;
	uint32_t seq;			/* subflow segment number */
	uint16_t wire_bytes;
	uint8_t hop;			/* index into the path's links */
	uint8_t flags;
};

/* A power-of-two ring of packets: [head, tail). */
struct packet_ring { struct packet *slots; uint32_t mask, head, tail; };
/* Room for one more; false: no memory (sim->is_out_of_memory is set). */
bool packet_ring_reserve(struct ccdrl_sim *sim, struct packet_ring *ring);

/* --- link.c ---
   link_send: a packet arrives at the link's queue at sim->now_ns. It is copied; hop, sent_ns, subflow, seq and wire_bytes are
   the caller's. A packet the queue drops is reported with subflow_packet_dropped.
   link_fire: the link's source is due: packets that reach the far end now go to subflow_packet_forward.
   link_new: NULL with the reason in sim->error; sim->is_out_of_memory tells lack of memory from a bad configuration. */
struct link *link_new(struct ccdrl_sim *sim, const struct ccdrl_link_config *config, uint32_t index);
void link_free(struct link *link);
void link_send(struct ccdrl_sim *sim, struct link *link, const struct packet *packet);
void link_fire(struct ccdrl_sim *sim, struct link *link);
void link_event(struct ccdrl_sim *sim, struct link *link, const struct ccdrl_event_config *event);
int64_t link_delay_ns(const struct link *link);			/* propagation, now */
int64_t link_backlog_ns(struct ccdrl_sim *sim, struct link *link); /* queueing delay that a packet arriving now would see */
bool link_is_down(const struct link *link);
bool link_loss_draw(struct link *link);				/* one step of the loss process, for SYNs */
const char *loss_config_error(const struct ccdrl_loss_config *config);	/* loss.c; NULL: good */
void link_stats_read(struct ccdrl_sim *sim, struct link *link, struct ccdrl_link_stats *out);
void link_stats_reset(struct ccdrl_sim *sim, struct link *link);
uint32_t link_packets_of(const struct link *link, const struct subflow *sf);	/* in queue or flight; for conservation */

/* --- subflow side of links (subflow.c) --- */
void subflow_packet_forward(struct ccdrl_sim *sim, const struct packet *packet);	/* left a link; next hop or receiver */
void subflow_packet_dropped(struct ccdrl_sim *sim, const struct packet *packet);

#include "controller.h"

/* --- one segment in flight (sender's scoreboard); a segment carries exactly one data-sequence map --- */
enum segment_flag { SEGMENT_SACKED = 1, SEGMENT_LOST = 2, SEGMENT_RETRANSMITTED = 4, SEGMENT_EVER_RETRANSMITTED = 8,
	SEGMENT_APP_LIMITED = 16 };
struct segment {
	int64_t sent_ns;		/* last transmission */
	int64_t delivered_ns;		/* rate sampling: sf->delivered_ns and first_sent_ns when it was sent */
	int64_t first_sent_ns;
	uint32_t delivered_segments;	/* sf->delivered_segments when it was sent */
	uint32_t map;			/* index of its ds_map in the connection */
	uint16_t payload_bytes;
	uint8_t flags;
};

struct sack_block { uint32_t start, end; };	/* [start, end) in segment numbers */
struct ack {
	int64_t arrival_ns;		/* at the sender */
	int64_t echo_sent_ns;		/* send time of the segment that triggered this ACK (timestamp echo) */
	uint64_t rwnd_edge;		/* data-level right edge, bytes */
	uint32_t data_ack;		/* next map the receiver wants */
	uint32_t cumulative;		/* next segment wanted */
	struct sack_block blocks[3];
	uint8_t n_blocks;
	uint8_t is_ece;
};
struct ack_ring { struct ack *slots; uint32_t mask, head, tail; };

#define HISTOGRAM_BINS 4096	/* log-linear, 128 bins an octave; histogram.c */
struct histogram { uint32_t *counts; uint64_t n; double sum_ns; };

struct subflow {
	/* sender, hot */
	struct ccdrl_sim *sim;
	struct conn *conn;
	const struct cc_ops *cc;
	uint32_t snd_una, snd_nxt;	/* segment numbers */
	uint32_t sacked, lost, retransmitted;	/* segments: SACKed, lost and not yet resent, resent and outstanding */
	double cwnd, ssthresh;		/* segments */
	enum drl_state state;
	uint32_t index;			/* path number in the connection */
	bool is_established, is_closed, is_failed;	/* failed: 3 or more RTOs in a row */
	uint32_t mss_bytes;
	struct segment *segments;
	uint32_t segment_mask;
	int64_t srtt_ns, rttvar_ns, min_rtt_ns, min_rtt_stamp_ns, last_rtt_ns, rto_ns;	/* 0: no sample yet */
	/* rate sampling (draft-cheng-iccrg-delivery-rate-estimation) */
	uint64_t delivered_segments;	/* ACKed or SACKed so far */
	int64_t delivered_ns, first_sent_ns;
	uint64_t app_limited_until;	/* delivered_segments at which the app-limited bubble is gone; 0: none */
	uint64_t rate_delivered; int64_t rate_interval_ns;	/* newest valid sample */
	double pacing_bytes_per_s;	/* 0: not paced */
	union {
		struct cubic_state cubic;
		struct olia_state olia;
		struct wvegas_state wvegas;
		struct bbr_state bbr;
		struct drl_subflow drl;
	} u;				/* zeroed before init */
	/* recovery */
	uint32_t high_seq;		/* recovery point: snd_nxt when the episode began */
	uint32_t loss_scan, sacked_below_scan;	/* recovery.c: segments below loss_scan have been judged */
	uint32_t retransmit_scan;	/* lowest segment that may need retransmission */
	int64_t recovery_rto_ns;	/* send time of the first retransmission after an RTO, for the Eifel test; 0: none */
	uint32_t prr_delivered, prr_out, recover_flight;
	struct retransmission { uint32_t seq; int64_t sent_ns; } *retransmissions;	/* FIFO ring, for lost retransmissions */
	uint32_t retransmission_mask, retransmission_head, retransmission_tail;
	int64_t newest_delivered_sent_ns;	/* RACK.xmit_ts */
	uint32_t backoff;		/* consecutive RTOs */
	double undo_cwnd, undo_ssthresh; bool is_undo_possible;
	struct sack_block seen_blocks[3];
	/* timers, one event source */
	uint32_t timer_source, acks_source, tail_source;
	int64_t timer_set_ns;
	int64_t restart_ns;		/* RTO and TLP count from here: last transmission into an empty pipe or last ACK */
	int64_t delack_deadline_ns, pace_deadline_ns, reorder_deadline_ns, persist_deadline_ns, syn_deadline_ns;
	int64_t pace_next_ns;		/* earliest next transmission */
	uint32_t syn_attempts, persist_backoff;
	bool is_syn_sent;
	bool is_tlp_outstanding; uint32_t tlp_end_seq;
	/* path */
	struct link *links[CCDRL_PATH_LINKS_MAX];
	uint32_t n_links;
	int64_t extra_delay_ns;
	int64_t base_rtt_ns;		/* two-way propagation, refreshed by delay events */
	struct packet_ring tail;	/* the extra forward delay */
	struct ack_ring acks;
	/* receiver */
	uint32_t rcv_nxt;
	uint64_t *rcv_bitmap;		/* out-of-order segments, ring */
	uint32_t rcv_mask, rcv_highest;
	uint32_t unacked;		/* in-order segments since the last ACK */
	int64_t echo_sent_ns;
	struct sack_block blocks[4]; uint32_t n_blocks;
	bool is_ce_pending;
	/* counters since creation */
	uint64_t sent_packets, sent_bytes, delivered_bytes, lost_bytes, retransmitted_bytes, received_packets, received_bytes,
	    dropped_packets;
	uint32_t loss_events, rto_events, ecn_marks;
	/* statistics since the reset */
	struct ccdrl_subflow_stats base;	/* counters at the reset */
	double cwnd_integral; int64_t cwnd_stamp_ns;
	struct histogram rtt, queue_delay;
};

/* Data-sequence map: one segment's worth of the 64-bit data sequence space (seeds: ds_map). */
enum map_flag { MAP_DELIVERED = 1, MAP_REINJECT = 2, MAP_REINJECTED = 4 };
struct map {
	uint64_t dsn;			/* first data sequence number, bytes */
	uint16_t length_bytes;
	uint8_t references;		/* segments carrying it without a subflow-level ACK */
	uint8_t flags;
	uint8_t subflows;		/* bit i: carried on subflow i (redundant scheduler, reinjection) */
};

struct conn {
	struct ccdrl_sim *sim;
	uint32_t index;
	struct ccdrl_flow_config config;
	uint32_t n_subflows;
	struct subflow *subflows;
	uint32_t source;
	bool is_started, is_stopped;
	/* send side */
	struct map *maps;
	uint32_t map_mask;
	uint32_t map_una;		/* first map without a data ACK */
	uint32_t map_free;		/* first map not released (deferred drop) */
	uint32_t map_nxt;		/* next new map */
	uint64_t dsn_nxt;		/* next data sequence number */
	uint64_t rwnd_edge;		/* data-level right edge granted by the receiver */
	uint32_t reinject_scan, n_reinject;
	uint32_t redundant_next[DRL_SUBFLOWS_MAX];	/* next map of each subflow under the redundant scheduler */
	uint32_t rr_next;
	bool is_backlogged;		/* the last push stopped with data left and no window for it */
	bool is_rwnd_limited;
	/* receive side */
	uint32_t rcv_map_nxt;		/* next map wanted */
	uint64_t rcv_dsn_nxt;		/* = bytes handed to the application, or waiting for it */
	uint64_t unread_bytes;
	bool is_reading;
	/* schedulers */
	double blest_lambda;
	int64_t blest_stamp_ns;
	bool ecf_waiting;
	/* counters */
	uint64_t goodput_bytes, reinjected_bytes;
	int64_t completion_ns;
	uint64_t base_goodput_bytes, base_reinjected_bytes;
};

struct ccdrl_sim {
	int64_t now_ns;
	uint64_t seed;
	uint32_t order;			/* sequence number that breaks ties */
	event_key *tree;		/* tournament.c: node 1 is the next event */
	uint32_t tree_leaves;
	struct source *sources; uint32_t n_sources;
	struct link **links; uint32_t n_links;
	struct conn **conns; uint32_t n_conns;
	struct ccdrl_event_config *events; uint32_t n_events, next_event; uint32_t events_source;
	uint64_t sent_packets;
	int64_t stats_start_ns;
	uint32_t n_links_down;
	bool has_stats, is_out_of_memory;
	struct drl_counters counters;
	double cwnd_max_bytes;		/* the administrator's bound on actions */
	struct subflow **drl; uint32_t n_drl;	/* by drl id - 1 */
	uint32_t drl_cursor;		/* where the next drl_sim_get_buffer goes on, so that no subflow starves */
	struct recorder *recorder;	/* NULL: nothing is recorded */
	char error[160];
};

static inline uint32_t subflow_inflight(const struct subflow *sf)
{
	return sf->snd_nxt - sf->snd_una - sf->sacked - sf->lost;
}

static inline struct segment *subflow_segment(const struct subflow *sf, uint32_t seq)
{
	return &sf->segments[seq & sf->segment_mask];
}

static inline bool subflow_is_in_slow_start(const struct subflow *sf) { return sf->cwnd < sf->ssthresh; }

/* --- histogram.c --- */
bool histogram_init(struct histogram *histogram);
void histogram_add(struct histogram *histogram, int64_t value_ns);
void histogram_reset(struct histogram *histogram);
/* Over the merged histograms; NaN without a sample. Resolution: 1/128 octave, midpoint. */
double histogram_mean_ms(const struct histogram *const *histograms, uint32_t n);
double histogram_quantile_ms(const struct histogram *const *histograms, uint32_t n, double quantile);

/* --- subflow.c: life, transmission, timers --- */
bool subflow_init(struct subflow *sf, struct conn *conn, uint32_t index);
void subflow_free(struct subflow *sf);
void subflow_connect(struct subflow *sf);		/* SYN, or MP_JOIN; established one round trip later */
void subflow_rejoin(struct subflow *sf);
void subflow_close(struct subflow *sf);			/* leaves the connection; its maps are reinjected elsewhere */
void subflow_transmit(struct subflow *sf, uint32_t seq, bool is_retransmission);
void subflow_send_map(struct subflow *sf, uint32_t map);	/* a new segment that carries this map */
/* Room in the window, and pacing allows; arms the pacing timer if only that is missing. */
bool subflow_may_send(struct subflow *sf);
/* smoothed_ns holds the wait of a delayed ACK and goes into srtt and the RTO; newest_ns does not, and is the last and the min RTT. */
void subflow_rtt_sample(struct subflow *sf, int64_t smoothed_ns, int64_t newest_ns);
void subflow_establish(struct subflow *sf);		/* the handshake is over */
void subflow_timer_need(struct subflow *sf, int64_t deadline_ns);	/* timers.c: this deadline has been set */
void subflow_timer_fire(struct subflow *sf);
void subflow_tail_fire(struct subflow *sf);
void subflow_cwnd_account(struct subflow *sf);		/* brings the time integral of cwnd up to now */
void subflow_base_rtt_refresh(struct subflow *sf);
bool subflow_is_cut(const struct subflow *sf);		/* a link on its path is down */
bool subflow_grow_segments(struct subflow *sf);

/* --- ack.c: ACK processing; recovery.c: loss detection and response --- */
void subflow_acks_fire(struct subflow *sf);
/* What one ACK delivered, gathered for the rate sample and the RTT sample. */
struct delivery {
	uint32_t segments;
	int64_t oldest_sent_ns, newest_sent_ns;	/* of never retransmitted segments; < 0: none */
	uint32_t prior_delivered;	/* rate sample: state when the newest delivered segment was sent */
	int64_t prior_ns, send_elapsed_ns;
	bool has_rate, is_app_limited;
	bool is_ambiguous;		/* a retransmitted segment was delivered: Karn's algorithm */
};
void recovery_segment_delivered(struct subflow *sf, struct segment *segment, struct delivery *delivery);
uint32_t recovery_detect(struct subflow *sf);		/* marks segments lost; how many */
void recovery_enter(struct subflow *sf, enum drl_state state, uint32_t delivered);
void recovery_prr(struct subflow *sf, uint32_t delivered, bool is_advancing, uint32_t newly_lost);
void recovery_state_set(struct subflow *sf, enum drl_state state);
void recovery_timeout(struct subflow *sf);		/* RTO */
void recovery_probe(struct subflow *sf);		/* TLP */
bool recovery_retransmit_next(struct subflow *sf);	/* false: nothing to retransmit */
bool recovery_undo(struct subflow *sf, const struct ack *ack);	/* spurious RTO (Eifel) */
int64_t recovery_timeout_ns(const struct subflow *sf);	/* deadlines, from sf->restart_ns */
int64_t recovery_probe_ns(const struct subflow *sf);	/* TIME_NEVER: no probe is due */

/* --- receiver.c --- */
void receiver_segment(struct subflow *sf, const struct packet *packet);
void receiver_ack(struct subflow *sf);			/* sends an ACK now */
void receiver_bitmap_grow(struct subflow *sf, uint64_t *bitmap, uint32_t mask);

/* --- conn.c --- */
struct conn *conn_new(struct ccdrl_sim *sim, const struct ccdrl_flow_config *config, uint32_t index);
void conn_free(struct conn *conn);
void conn_fire(struct conn *conn);
void conn_established(struct conn *conn, struct subflow *sf);
void conn_push(struct conn *conn);			/* hands out data while subflows have room */
void conn_data_ack(struct conn *conn, const struct ack *ack);
void conn_map_delivered(struct conn *conn, uint32_t map);	/* receiver: a copy of this map has arrived */
void conn_reinject(struct conn *conn, const struct subflow *sf); /* data-level retransmission of what sf carries */
void conn_window_probe(struct subflow *sf);
void conn_reading_set(struct conn *conn, bool is_reading);
uint64_t conn_unsent_bytes(const struct conn *conn);	/* written by the application, no map yet */
static inline struct map *conn_map(const struct conn *conn, uint32_t map) { return &conn->maps[map & conn->map_mask]; }

/* --- scheduler.c: the subflow that gets the next map; NULL: nobody, wait --- */
struct subflow *scheduler_pick(struct conn *conn, uint32_t exclude_mask);

/* --- record.c --- */
void record_add(const struct subflow *sf, enum ccdrl_record_kind kind, uint32_t seq, uint32_t map);
void record_free(struct ccdrl_sim *sim);
static inline void record(const struct subflow *sf, enum ccdrl_record_kind kind, uint32_t seq, uint32_t map)
{
	if (unlikely(sf->sim->recorder != NULL))
		record_add(sf, kind, seq, map);
}

/* --- drl.c --- */
void drl_subflow_add(struct subflow *sf);		/* a new subflow id */
void drl_subflow_touch(struct subflow *sf, enum drl_event event);	/* the record has changed */
void drl_timeout(struct subflow *sf);		/* an RTO ends the lease */
void drl_sample_fill(const struct subflow *sf, struct drl_subflow_sample *out);

#endif /* CCDRL_INTERNAL_H */

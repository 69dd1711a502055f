/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A link and the interface between its parts.
 *
 *   link.c         the FIFO path: accept, serve, propagate
 *   link_setup.c   configuration, its check, timed events
 *   link_stats.c   figures
 *   trace.c        departures and capacity of a link whose rate varies
 *   loss.c         random loss
 *   aqm_red.c, aqm_pie.c   decide when a packet arrives; aqm_codel.c decides when its service begins
 *
 * Packets of a link stand in one ring, `pipe`: [head, in_service) propagate, [in_service, tail) are queued, the first of them
 * in service. Departure and arrival are known when a packet is accepted, so only the head has an event. The queue's figures
 * follow lazily (link_drain). A CoDel link cannot know departures beforehand: its waiting packets stand in `queue`.
 */
#ifndef CCDRL_LINK_H
#define CCDRL_LINK_H

#include "internal.h"
#include "rng.h"

#define MTU_BYTES 1500
#define OPPORTUNITY_BYTES MTU_BYTES
/* Departures later than this (31 years) never come; it keeps sums of times far from overflow. */
#define TIME_HORIZON_NS INT64_C(1000000000000000000)
#define PACKET_TIME_MAX_NS 1e15

__extension__ typedef unsigned __int128 byte_ns;	/* exact for every queue and time */

struct trace {
	uint32_t kind;			/* enum ccdrl_trace_kind */
	uint64_t n;
	int64_t period_ns;
	double period_bytes;		/* capacity of one period */
	int64_t *time_ns;
	double *bytes_per_ns;		/* RATE */
	double *bytes_before;		/* RATE: capacity of one period before time_ns[i] */
};

/* What serves the queue: a constant rate, or a trace with a cursor at the last byte promised. */
struct server {
	double ns_per_byte;		/* constant rate; INFINITY holds everything */
	int64_t free_ns;		/* the last accepted packet leaves at free_ns + remainder_ns */
	double remainder_ns;		/* in [-0.5, 0.5]: long-run throughput is exact */
	struct trace *trace;		/* NULL: constant rate */
	uint64_t index;			/* cursor: entry of the trace ... */
	int64_t base_ns;		/* ... in the period that begins here */
	int64_t credit_bytes;		/* OPPORTUNITIES: left of that entry */
};

struct loss_process {
	struct ccdrl_loss_config config;
	bool is_bad;			/* Gilbert-Elliott state */
};

struct red_state {
	double min_bytes, max_bytes, max_p, weight;
	double average_bytes;
	int64_t count;			/* packets accepted since the last drop, while the average is above min */
};

struct pie_state {
	int64_t target_ns, update_ns;
	int64_t next_update_ns, queue_delay_old_ns, burst_allowance_ns;
	double drop_probability, accumulated_probability;
};

struct codel_state {
	int64_t target_ns, interval_ns;
	int64_t first_above_ns, drop_next_ns;	/* first_above_ns 0: not above the target */
	uint32_t count, last_count;
	bool is_dropping;
};

struct link {
	struct packet_ring pipe;
	uint32_t in_service;		/* index of the first packet that has not departed; = pipe.tail on a CoDel link */
	uint32_t source;
	int64_t queue_bytes;		/* packet in service included */
	int64_t limit_bytes, limit_packets;	/* INT64_MAX: no limit */
	struct server server;
	int64_t delay_ns, jitter_ns;
	int64_t last_arrival_ns;	/* of the newest packet in the pipe: later ones do not overtake it */
	byte_ns queue_integral;		/* up to stamp_ns */
	int64_t stamp_ns;
	uint64_t departed_bytes;
	uint32_t queue_kind;
	bool is_down, is_ecn;
	bool is_random;			/* loss or jitter: the RNG is needed */
	/* rarely touched */
	struct rng rng;
	struct loss_process loss;
	struct packet_ring queue;	/* CoDel: waiting packets, the first in service */
	double head_left_bytes;		/* unserved part of the packet in service while the rate is 0 */
	union {
		struct red_state red;
		struct pie_state pie;
		struct codel_state codel;
	} aqm;
	int64_t source_time_ns;		/* CoDel: what the source is set to */
	int64_t stats_start_ns, capacity_stamp_ns;
	double capacity_bytes;		/* up to capacity_stamp_ns */
	uint64_t dropped_packets, lost_packets, marked_packets;
	uint32_t index;
};

enum verdict { VERDICT_ACCEPT, VERDICT_MARK, VERDICT_DROP };

/* --- trace.c --- */
struct trace *trace_new(const struct ccdrl_trace_config *config);	/* NULL: no memory; the configuration has been checked */
void trace_free(struct trace *trace);
int64_t trace_depart(struct server *server, int64_t now_ns, bool is_busy, double bytes);
double trace_capacity(const struct trace *trace, int64_t from_ns, int64_t to_ns);	/* bytes in (from, to] */
double trace_backlog(const struct server *server, int64_t now_ns);	/* bytes promised and not yet served */

/* --- loss.c --- */
void loss_init(struct loss_process *loss, const struct ccdrl_loss_config *config);
bool loss_draw(struct loss_process *loss, struct rng *rng);

/* --- aqm_*.c --- */
void red_init(struct link *link, const struct ccdrl_link_config *config);
enum verdict red_arrive(struct link *link, int64_t now_ns);
void pie_init(struct link *link, const struct ccdrl_link_config *config, int64_t now_ns);
enum verdict pie_arrive(struct link *link, int64_t now_ns);
void codel_init(struct link *link, const struct ccdrl_link_config *config);
void codel_send(struct ccdrl_sim *sim, struct link *link, const struct packet *packet);
void codel_fire(struct ccdrl_sim *sim, struct link *link);
void codel_advance(struct ccdrl_sim *sim, struct link *link);	/* ends of service that are due */
void codel_source_set(struct ccdrl_sim *sim, struct link *link);

/* --- link.c, link_setup.c --- */
void link_packet_drop(struct ccdrl_sim *sim, struct link *link, const struct packet *packet);	/* by the queue */
void link_packet_lose(struct ccdrl_sim *sim, struct link *link, const struct packet *packet);	/* by the wire */
void link_pipe_deliver(struct ccdrl_sim *sim, struct link *link);	/* everything that has reached the far end */
double link_mean_ns_per_byte(const struct link *link);			/* at the present rate, or the trace's mean */
void link_capacity_update(struct link *link, int64_t now_ns);

/* When the last of these bytes leaves. is_busy: they follow the bytes promised before; otherwise service begins now. */
static inline int64_t server_depart(struct server *server, int64_t now_ns, bool is_busy, double bytes)
{
	int64_t free_ns = is_busy ? server->free_ns : now_ns;
	double time_ns;
	int64_t whole_ns;

	if (unlikely(server->trace != NULL))
		return trace_depart(server, now_ns, is_busy, bytes);
	time_ns = bytes * server->ns_per_byte + (is_busy ? server->remainder_ns : 0.0);
	if (unlikely(!(time_ns < PACKET_TIME_MAX_NS) || free_ns >= TIME_HORIZON_NS)) {
		server->free_ns = TIME_HORIZON_NS;
		return TIME_NEVER;
	}
	whole_ns = (int64_t)(time_ns + 0.5);
	server->remainder_ns = time_ns - (double)whole_ns;
	return server->free_ns = free_ns + whole_ns;
}

/* Arrival at the far end of a packet that departs then; never before the packet in front of it. */
static inline int64_t link_arrival(struct link *link, int64_t departure_ns)
{
	int64_t arrival_ns;

	if (unlikely(departure_ns == TIME_NEVER))
		return link->last_arrival_ns = TIME_NEVER;
	arrival_ns = departure_ns + link->delay_ns;
	if (unlikely(link->jitter_ns > 0))
		arrival_ns += (int64_t)(rng_double(&link->rng) * ((double)link->jitter_ns + 1.0));
	if (unlikely(arrival_ns < link->last_arrival_ns))
		arrival_ns = link->last_arrival_ns;
	return link->last_arrival_ns = arrival_ns;
}

/* Brings the queue's time integral up to a moment. */
static inline void link_integrate(struct link *link, int64_t time_ns)
{
	link->queue_integral += (byte_ns)(uint64_t)link->queue_bytes * (uint64_t)(time_ns - link->stamp_ns);
	link->stamp_ns = time_ns;
}

static inline bool link_has_room(const struct link *link, int64_t queue_packets, int64_t wire_bytes)
{
	/* An empty queue takes any packet, or a limit below one packet would block the link for ever. */
	return (link->queue_bytes + wire_bytes <= link->limit_bytes && queue_packets < link->limit_packets) ||
	    queue_packets == 0;
}

static inline bool ring_reserve(struct ccdrl_sim *sim, struct packet_ring *ring)
{
	if (likely(ring->tail - ring->head <= ring->mask && ring->slots != NULL))
		return true;
	return packet_ring_reserve(sim, ring);
}

/* Lets everything depart that has left the queue by now. */
static inline void link_drain(struct link *link, int64_t now_ns)
{
	while (link->in_service != link->pipe.tail) {
		const struct packet *packet = &link->pipe.slots[link->in_service & link->pipe.mask];

		if (packet->departure_ns > now_ns)
			break;
		link_integrate(link, packet->departure_ns);
		link->queue_bytes -= packet->wire_bytes;
		link->departed_bytes += packet->wire_bytes;
		link->in_service++;
	}
}

#endif /* CCDRL_LINK_H */

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The live test bed in C, for cffi: network namespaces and TUN devices (device.c), a link emulator between them (emulator.c),
 * the programs that send and receive through it (traffic.c) and a bound on the queues of subflows (unsent.c). Read after
 * csim.h: links, losses, traces and events are described by the simulator's structs and carried out by the simulator's code
 * (link.c), only that time is the machine's.
 *
 * Calls that return an int give 0 (or a file descriptor, or an index), or a negative errno. Times of a run are nanoseconds
 * from its begin, which is a time of CLOCK_MONOTONIC. An emulator and a traffic run each in one thread of their own;
 * figures are read when both are over.
 */
#ifndef CCDRL_TESTBED_H
#define CCDRL_TESTBED_H

#ifndef CCDRL_CFFI
#include "csim.h"
#endif

enum testbed_constant {
	TESTBED_ADDRESS_RECEIVER = 0x0a000001,	/* 10.0.0.1 */
	TESTBED_ADDRESS_SENDERS = 0x0a800001,	/* 10.128.0.1 + index of the route: the address names the route */
	TESTBED_ROUTES_MAX = 4096,
	TESTBED_SAMPLE_NS = 10000000,		/* TCP_INFO of every subflow is read so often */
};

/* --- device.c --- */
int testbed_netns_new(void);			/* file descriptor of a namespace that has no name: it ends with its last user */
int testbed_netns_enter(int netns);		/* moves the calling thread */
int testbed_tun_open(int netns, const char *name);
int testbed_die_with_parent(void);		/* SIGKILL for this process when the thread that started it ends */
int64_t testbed_now_ns(void);			/* CLOCK_MONOTONIC */

/* --- unsent.c --- */
/* File descriptor that, while it is open, keeps what waits unsent on each sender's subflow below so many of its windows;
   cgroup_path: where the cgroup2 hierarchy is mounted. */
int testbed_unsent_bound(const char *cgroup_path, uint32_t windows);

/* --- emulator.c --- */
struct testbed_route {
	uint32_t n_links;
	uint32_t links[8];			/* sender to receiver */
	int64_t extra_delay_ns;			/* one way, in each direction */
	uint32_t port;				/* device of the sender; 0 is the receiver's */
};

struct testbed_emulator_figures {
	uint64_t data_packets;			/* with payload, from the senders */
	uint64_t foreign_packets;		/* neither TCP nor of a known address: dropped */
	uint64_t overflow_packets;		/* no buffer left: dropped, the run is void */
	uint64_t write_errors;
	uint64_t late_packets;			/* packets measured */
	double late_mean_us, late_p99_us, late_max_us;	/* real minus planned time of leaving the emulator */
	uint32_t is_realtime;			/* the thread had SCHED_FIFO */
};

struct testbed_emulator;
struct testbed_emulator *testbed_emulator_new(uint64_t seed, uint32_t mtu_bytes, uint32_t pool_packets);
void testbed_emulator_free(struct testbed_emulator *emulator);
const char *testbed_emulator_error(const struct testbed_emulator *emulator);
int testbed_emulator_port_add(struct testbed_emulator *emulator, int fd);	/* the receiver's first */
int testbed_emulator_link_add(struct testbed_emulator *emulator, const struct ccdrl_link_config *config);
int testbed_emulator_route_add(struct testbed_emulator *emulator, const struct testbed_route *route);
int testbed_emulator_event_add(struct testbed_emulator *emulator, const struct ccdrl_event_config *config); /* in order */
/* Waits for begin_ns and carries packets until until_ns; figures of links are reset at warmup_ns. */
int testbed_emulator_run(struct testbed_emulator *emulator, int64_t begin_ns, int64_t warmup_ns, int64_t until_ns);
void testbed_emulator_stop(struct testbed_emulator *emulator);		/* from another thread: run returns soon */
int64_t testbed_emulator_base_rtt_ns(const struct testbed_emulator *emulator, uint32_t route);	/* from any thread */
void testbed_emulator_figures(const struct testbed_emulator *emulator, struct testbed_emulator_figures *out);
int testbed_emulator_link_stats(struct testbed_emulator *emulator, uint32_t link, struct ccdrl_link_stats *out);

/* --- traffic.c --- */
struct testbed_flow_config {
	int netns;				/* of the sender */
	uint32_t first_route, n_routes;		/* one subflow for each; the connection begins on the first */
	char cc[16];				/* kernel's name of the congestion controller */
	uint32_t mss_bytes;			/* of plain TCP, RFC 6691; applications write multiples of what a segment carries */
	int64_t start_ns, stop_ns;		/* stop_ns < 0: never */
	uint64_t size_bytes;			/* 0: unlimited */
	double app_rate_bps;			/* 0: unlimited */
};

/* Since the warm-up; NaN where there is no sample. From TCP_INFO; RTTs are weighted with the segments delivered. */
struct testbed_subflow_figures {
	uint64_t sent_bytes, retransmitted_bytes;
	uint64_t acked_bytes;			/* payload */
	double rtt_mean_ms, rtt_p95_ms;
	double cwnd_mean_bytes;			/* over time */
};

struct testbed_flow_figures {
	uint64_t goodput_bytes;			/* read by the receiving application */
	int64_t completion_ns;			/* from the start; < 0: not complete */
	double rtt_mean_ms, rtt_p95_ms, queue_delay_mean_ms, queue_delay_p95_ms;
	uint32_t n_subflows_seen;		/* routes that ever had a subflow */
	int32_t error;				/* errno that ended the connection, 0 */
};

struct testbed_traffic;
struct testbed_traffic *testbed_traffic_new(const struct testbed_emulator *emulator, int receiver_netns);
void testbed_traffic_free(struct testbed_traffic *traffic);
int testbed_traffic_flow_add(struct testbed_traffic *traffic, const struct testbed_flow_config *config);
int testbed_traffic_open(struct testbed_traffic *traffic);		/* the receiver listens */
int testbed_traffic_run(struct testbed_traffic *traffic, int64_t begin_ns, int64_t warmup_ns, int64_t until_ns);
void testbed_traffic_stop(struct testbed_traffic *traffic);		/* from another thread */
int testbed_traffic_flow(const struct testbed_traffic *traffic, uint32_t flow, struct testbed_flow_figures *out);
int testbed_traffic_subflow(const struct testbed_traffic *traffic, uint32_t flow, uint32_t path,
    struct testbed_subflow_figures *out);

#endif /* CCDRL_TESTBED_H */

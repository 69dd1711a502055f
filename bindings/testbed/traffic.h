/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The traffic's state: traffic.c runs the flows, traffic_socket.c opens and ends their sockets, traffic_setup.c builds it and
 * reads its figures.
 */
#ifndef CCDRL_TESTBED_TRAFFIC_H
#define CCDRL_TESTBED_TRAFFIC_H

#include "sampler.h"

#define FLOWS_MAX 1024
#define CHUNK_BYTES (256 * 1024)
#define DSS_BYTES 24			/* of a segment: MPTCP's data sequence signal (RFC 8684, section 3.3.1) */
#define UNSENT_SEGMENTS 12		/* a connection accepts so much that no subflow has taken yet */
#define FIRST_PORT 20000		/* + index of the flow; below the ephemeral ports of joins */

enum socket_kind { SOCKET_LISTENER, SOCKET_SENDER, SOCKET_RECEIVER };
enum flow_state { FLOW_WAITING, FLOW_CONNECTING, FLOW_OPEN, FLOW_WRITTEN, FLOW_OVER };

struct flow {
	struct testbed_flow_config config;
	enum flow_state state;
	int sender, receiver;
	int64_t started_ns, completion_ns;	/* completion_ns < 0: not complete */
	uint64_t written_bytes, received_bytes, warmup_bytes;
	int error;
	struct subflow_sampler samplers[DRL_SUBFLOWS_MAX];
};

struct testbed_traffic {
	const struct testbed_emulator *emulator;
	int receiver_netns, epoll, listeners[2];
	int64_t begin_ns;
	struct flow *flows[FLOWS_MAX];
	uint32_t n_flows;
	bool has_app_rates;
	uint8_t *chunk;
	int is_stopped;			/* atomic */
};

static inline bool flow_is_mptcp(const struct flow *flow) { return flow->config.n_routes > 1; }

/* What a full segment carries. An application that writes other amounts makes a short segment of each one's end. */
static inline uint32_t flow_payload_bytes(const struct flow *flow)
{
	return flow->config.mss_bytes - (flow_is_mptcp(flow) ? DSS_BYTES : 0);
}

static inline bool flow_is_connected(const struct flow *flow)
{
	return flow->state == FLOW_OPEN || flow->state == FLOW_WRITTEN;
}

/* --- traffic_socket.c; errors are negative errnos --- */
int traffic_watch(const struct testbed_traffic *traffic, int operation, int fd, uint32_t events, enum socket_kind kind,
    uint32_t index);
int traffic_connect(struct testbed_traffic *traffic, uint32_t index);
void traffic_abort(int *fd);		/* falls silent at once, and nothing of the connection stays behind */

#endif /* CCDRL_TESTBED_TRAFFIC_H */

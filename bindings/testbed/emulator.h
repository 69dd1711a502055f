/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The emulator's state: emulator.c carries packets, emulator_setup.c builds it and reads its figures.
 */
#ifndef CCDRL_TESTBED_EMULATOR_H
#define CCDRL_TESTBED_EMULATOR_H

#include "link.h"
#include "testbed.h"

#define PORTS_MAX 512

struct route {
	struct link *links[CCDRL_PATH_LINKS_MAX];
	uint32_t n_links, port;
	int64_t extra_delay_ns;
	int64_t base_rtt_ns;		/* two-way propagation now; atomic: traffic.c reads it */
	struct packet_ring tail, acks;	/* the extra delay forward; the whole way back */
	uint32_t tail_source, acks_source;
};

struct testbed_emulator {
	struct ccdrl_sim sim;		/* first: the callbacks of link.c get back to the emulator from it */
	int64_t begin_ns;
	int epoll;
	int ports[PORTS_MAX];
	uint32_t n_ports;
	struct route *routes[TESTBED_ROUTES_MAX];
	uint32_t n_routes;
	uint32_t mtu_bytes, pool_packets;
	uint8_t *buffers;		/* pool_packets buffers of mtu_bytes; packet.seq is the index */
	uint32_t *free_buffers;
	uint32_t n_free;
	struct histogram late;
	int64_t late_max_ns;
	struct testbed_emulator_figures figures;
	int is_stopped;			/* atomic */
};

void emulator_base_rtts_refresh(struct testbed_emulator *emulator);

#endif /* CCDRL_TESTBED_EMULATOR_H */

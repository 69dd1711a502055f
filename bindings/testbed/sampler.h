/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the kernel tells about the subflows of one sender, read again and again and summed up since the warm-up.
 */
#ifndef CCDRL_TESTBED_SAMPLER_H
#define CCDRL_TESTBED_SAMPLER_H

#include "internal.h"
#include "testbed.h"

struct subflow_counters { uint64_t sent_bytes, retransmitted_bytes, acked_bytes; uint32_t delivered; };

/* One route of a flow. A subflow that is closed and joined again has new counters and a new port: sums go on. */
struct subflow_sampler {
	bool is_seen;
	uint16_t port;
	struct subflow_counters last;
	struct testbed_subflow_figures sums;	/* the three amounts */
	double cwnd_integral;			/* bytes times nanoseconds */
	int64_t cwnd_ns;
	int64_t stamp_ns;			/* of the last sample; 0: none since the reset */
	struct histogram rtt, queue_delay;
};

bool subflow_sampler_init(struct subflow_sampler *sampler);
void subflow_sampler_free(struct subflow_sampler *sampler);
void subflow_sampler_reset(struct subflow_sampler *sampler);	/* end of the warm-up */

/* Reads all subflows of a connected sender; samplers[i] belongs to route first_route + i. */
void samplers_update(struct subflow_sampler *samplers, uint32_t n, int fd, bool is_mptcp, uint32_t first_route,
    const struct testbed_emulator *emulator, int64_t now_ns);

#endif /* CCDRL_TESTBED_SAMPLER_H */

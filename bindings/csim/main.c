/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The simulator without Python, for gdb, sanitizers and perf:
 *	csim [controller 0..9] [seconds] [loss probability]
 * runs a connection over 100 Mbit/s 20 ms and 20 Mbit/s 150 ms with a Reno TCP on each, and prints what came through.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <time.h>

#include "internal.h"

#define HEAP_OPERATIONS 2000000

static int add_link(struct ccdrl_sim *sim, double rate_bps, int64_t delay_ns, double loss_p)
{
	struct ccdrl_link_config config = { .rate_bps = rate_bps, .delay_ns = delay_ns };

	config.limit_bytes = (int64_t)(rate_bps / 8 * 2 * (double)delay_ns / NS_PER_S);
	config.loss.kind = loss_p > 0 ? CCDRL_LOSS_BERNOULLI : CCDRL_LOSS_NONE;
	config.loss.p = loss_p;
	return ccdrl_link_add(sim, &config);
}

static int add_flow(struct ccdrl_sim *sim, uint32_t cc, uint32_t first_link, uint32_t n_paths)
{
	struct ccdrl_flow_config config = { .cc = cc, .n_paths = n_paths, .mss_bytes = 1448, .stop_ns = -1,
		.fixed_cwnd_segments = 50 };

	for (uint32_t i = 0; i < n_paths; i++)
		config.paths[i] = (struct ccdrl_path_config){ .n_links = 1, .links = { first_link + i } };
	return ccdrl_flow_add(sim, &config);
}

int main(int argc, char **argv)
{
	uint32_t cc = argc > 1 ? (uint32_t)atoi(argv[1]) : CCDRL_CC_LIA;
	double seconds = argc > 2 ? atof(argv[2]) : 60, loss_p = argc > 3 ? atof(argv[3]) : 0, wall, heap_s;
	struct ccdrl_sim *sim = ccdrl_sim_new(1);
	struct timespec start, end;

	if (sim == NULL || add_link(sim, 100e6, 10 * NS_PER_MS, loss_p) < 0 || add_link(sim, 20e6, 75 * NS_PER_MS, loss_p) < 0 ||
	    add_flow(sim, cc, 0, 2) < 0 || add_flow(sim, CCDRL_CC_RENO, 0, 1) < 0 || add_flow(sim, CCDRL_CC_RENO, 1, 1) < 0) {
		fprintf(stderr, "csim: %s\n", sim != NULL ? ccdrl_sim_error(sim) : "out of memory");
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (ccdrl_sim_run(sim, (int64_t)(seconds * NS_PER_S)) != CCDRL_OK) {
		fprintf(stderr, "csim: %s\n", ccdrl_sim_error(sim));
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	wall = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
	for (uint32_t i = 0; i < 3; i++) {
		struct ccdrl_flow_stats stats;

		ccdrl_flow_stats(sim, i, &stats);
		printf("flow %u: %.3f Mbit/s, queueing delay mean %.2f ms p95 %.2f ms, retransmitted %.4f\n", i,
		    (double)stats.goodput_bytes * 8e-6 / seconds, stats.queue_delay_mean_ms, stats.queue_delay_p95_ms,
		    (double)stats.retransmitted_bytes / (double)(stats.sent_bytes ? stats.sent_bytes : 1));
	}
	heap_s = argc > 4 ? 1 : ccdrl_bench_heap(HEAP_OPERATIONS) / HEAP_OPERATIONS;
	printf("%.1f ns a heap operation: %.3f packets a heap operation\n", heap_s * 1e9,
	    (double)ccdrl_sim_packets(sim) / wall * heap_s);
	printf("%llu packets in %.3f s: %.2f million a second; check %d\n", (unsigned long long)ccdrl_sim_packets(sim), wall,
	    (double)ccdrl_sim_packets(sim) / wall * 1e-6, ccdrl_sim_check(sim));
	ccdrl_sim_free(sim);
	return 0;
}

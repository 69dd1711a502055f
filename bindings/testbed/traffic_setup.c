/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Building the traffic, and its figures after a run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "traffic.h"

struct testbed_traffic *testbed_traffic_new(const struct testbed_emulator *emulator, int receiver_netns)
{
	struct testbed_traffic *traffic = calloc(1, sizeof(*traffic));

	if (traffic == NULL)
		return NULL;
	traffic->emulator = emulator;
	traffic->receiver_netns = receiver_netns;
	traffic->listeners[0] = traffic->listeners[1] = -1;
	traffic->epoll = epoll_create1(EPOLL_CLOEXEC);
	traffic->chunk = calloc(2, CHUNK_BYTES);	/* one half to write from, one to read into */
	if (traffic->epoll < 0 || traffic->chunk == NULL) {
		testbed_traffic_free(traffic);
		return NULL;
	}
	return traffic;
}

void testbed_traffic_free(struct testbed_traffic *traffic)
{
	if (traffic == NULL)
		return;
	for (uint32_t i = 0; i < traffic->n_flows; i++) {
		struct flow *flow = traffic->flows[i];

		traffic_abort(&flow->sender);
		traffic_abort(&flow->receiver);
		for (uint32_t path = 0; path < DRL_SUBFLOWS_MAX; path++)
			subflow_sampler_free(&flow->samplers[path]);
		free(flow);
	}
	for (int i = 0; i < 2; i++)
		if (traffic->listeners[i] >= 0)
			close(traffic->listeners[i]);
	if (traffic->epoll >= 0)
		close(traffic->epoll);
	free(traffic->chunk);
	free(traffic);
}

int testbed_traffic_flow_add(struct testbed_traffic *traffic, const struct testbed_flow_config *config)
{
	struct flow *flow;

	if (traffic->n_flows == FLOWS_MAX || config->n_routes < 1 || config->n_routes > DRL_SUBFLOWS_MAX ||
	    config->mss_bytes <= DSS_BYTES)
		return -EINVAL;
	flow = calloc(1, sizeof(*flow));
	if (flow == NULL)
		return -ENOMEM;
	flow->config = *config;
	flow->sender = flow->receiver = -1;
	flow->completion_ns = -1;
	traffic->flows[traffic->n_flows] = flow;
	traffic->has_app_rates |= config->app_rate_bps > 0;
	for (uint32_t path = 0; path < config->n_routes; path++)
		if (!subflow_sampler_init(&flow->samplers[path]))
			return -ENOMEM;
	return (int)traffic->n_flows++;
}

int testbed_traffic_flow(const struct testbed_traffic *traffic, uint32_t index, struct testbed_flow_figures *out)
{
	const struct histogram *rtts[DRL_SUBFLOWS_MAX], *queues[DRL_SUBFLOWS_MAX];
	const struct flow *flow;
	uint32_t n, n_seen = 0;

	if (index >= traffic->n_flows)
		return -EINVAL;
	flow = traffic->flows[index];
	n = flow->config.n_routes;
	for (uint32_t path = 0; path < n; path++) {
		rtts[path] = &flow->samplers[path].rtt;
		queues[path] = &flow->samplers[path].queue_delay;
		n_seen += flow->samplers[path].is_seen;
	}
	*out = (struct testbed_flow_figures){
		.goodput_bytes = flow->received_bytes - flow->warmup_bytes,
		.completion_ns = flow->completion_ns,
		.rtt_mean_ms = histogram_mean_ms(rtts, n),
		.rtt_p95_ms = histogram_quantile_ms(rtts, n, 0.95),
		.queue_delay_mean_ms = histogram_mean_ms(queues, n),
		.queue_delay_p95_ms = histogram_quantile_ms(queues, n, 0.95),
		.n_subflows_seen = n_seen,
		.error = flow->error,
	};
	return 0;
}

int testbed_traffic_subflow(const struct testbed_traffic *traffic, uint32_t flow, uint32_t path,
    struct testbed_subflow_figures *out)
{
	const struct subflow_sampler *sampler;
	const struct histogram *rtt;

	if (flow >= traffic->n_flows || path >= traffic->flows[flow]->config.n_routes)
		return -EINVAL;
	sampler = &traffic->flows[flow]->samplers[path];
	rtt = &sampler->rtt;
	*out = sampler->sums;
	out->rtt_mean_ms = histogram_mean_ms(&rtt, 1);
	out->rtt_p95_ms = histogram_quantile_ms(&rtt, 1, 0.95);
	out->cwnd_mean_bytes = sampler->cwnd_ns > 0 ? sampler->cwnd_integral / (double)sampler->cwnd_ns : NAN;
	return 0;
}

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Figures since the last reset, and the reset itself.
 */
#include "internal.h"

static void subflow_counters(const struct subflow *sf, struct ccdrl_subflow_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->sent_packets = sf->sent_packets;
	out->sent_bytes = sf->sent_bytes;
	out->retransmitted_bytes = sf->retransmitted_bytes;
	out->lost_bytes = sf->lost_bytes;
	out->delivered_bytes = sf->received_bytes;
	out->received_packets = sf->received_packets;
	out->rto_events = sf->rto_events;
	out->loss_events = sf->loss_events;
}

static void subflow_stats(struct subflow *sf, struct ccdrl_subflow_stats *out)
{
	const struct ccdrl_subflow_stats *base = &sf->base;
	const struct histogram *rtt = &sf->rtt, *queue_delay = &sf->queue_delay;
	double elapsed_ns = (double)(sf->sim->now_ns - sf->sim->stats_start_ns);

	subflow_cwnd_account(sf);
	subflow_counters(sf, out);
	out->sent_packets -= base->sent_packets;
	out->sent_bytes -= base->sent_bytes;
	out->retransmitted_bytes -= base->retransmitted_bytes;
	out->lost_bytes -= base->lost_bytes;
	out->delivered_bytes -= base->delivered_bytes;
	out->received_packets -= base->received_packets;
	out->rto_events -= base->rto_events;
	out->loss_events -= base->loss_events;
	out->rtt_mean_ms = histogram_mean_ms(&rtt, 1);
	out->rtt_p95_ms = histogram_quantile_ms(&rtt, 1, 0.95);
	out->queue_delay_mean_ms = histogram_mean_ms(&queue_delay, 1);
	out->queue_delay_p95_ms = histogram_quantile_ms(&queue_delay, 1, 0.95);
	out->cwnd_mean_bytes = elapsed_ns > 0 ? sf->cwnd_integral / elapsed_ns * sf->mss_bytes : NAN;
	out->cwnd_bytes = sf->cwnd * sf->mss_bytes;
	out->srtt_ms = (double)sf->srtt_ns / NS_PER_MS;
	out->is_established = sf->is_established;
	out->state = sf->state;
}

int ccdrl_subflow_stats(struct ccdrl_sim *sim, uint32_t flow, uint32_t path, struct ccdrl_subflow_stats *out)
{
	if (flow >= sim->n_conns || path >= sim->conns[flow]->n_subflows)
		return CCDRL_ERR_ARGUMENT;
	subflow_stats(&sim->conns[flow]->subflows[path], out);
	return CCDRL_OK;
}

int ccdrl_flow_stats(struct ccdrl_sim *sim, uint32_t flow, struct ccdrl_flow_stats *out)
{
	const struct histogram *rtt[DRL_SUBFLOWS_MAX], *queue_delay[DRL_SUBFLOWS_MAX];
	struct conn *conn;

	if (flow >= sim->n_conns)
		return CCDRL_ERR_ARGUMENT;
	conn = sim->conns[flow];
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < conn->n_subflows; i++) {
		const struct subflow *sf = &conn->subflows[i];

		out->sent_packets += sf->sent_packets - sf->base.sent_packets;
		out->sent_bytes += sf->sent_bytes - sf->base.sent_bytes;
		out->retransmitted_bytes += sf->retransmitted_bytes - sf->base.retransmitted_bytes;
		rtt[i] = &sf->rtt;
		queue_delay[i] = &sf->queue_delay;
	}
	out->goodput_bytes = conn->goodput_bytes - conn->base_goodput_bytes;
	out->reinjected_bytes = conn->reinjected_bytes - conn->base_reinjected_bytes;
	out->completion_ns = conn->completion_ns;
	out->rtt_mean_ms = histogram_mean_ms(rtt, conn->n_subflows);
	out->rtt_p95_ms = histogram_quantile_ms(rtt, conn->n_subflows, 0.95);
	out->queue_delay_mean_ms = histogram_mean_ms(queue_delay, conn->n_subflows);
	out->queue_delay_p95_ms = histogram_quantile_ms(queue_delay, conn->n_subflows, 0.95);
	out->n_subflows = conn->n_subflows;
	for (uint32_t i = conn->map_free; i != conn->map_nxt; i++) {
		uint32_t length_bytes = conn_map(conn, i)->length_bytes;

		out->send_buffer_held_bytes += length_bytes;
		if ((int32_t)(i - conn->map_una) >= 0)
			out->send_buffer_bytes += length_bytes;
	}
	return CCDRL_OK;
}

int ccdrl_link_stats(struct ccdrl_sim *sim, uint32_t link, struct ccdrl_link_stats *out)
{
	if (link >= sim->n_links)
		return CCDRL_ERR_ARGUMENT;
	link_stats_read(sim, sim->links[link], out);
	return CCDRL_OK;
}

void ccdrl_sim_stats_reset(struct ccdrl_sim *sim)
{
	sim->stats_start_ns = sim->now_ns;
	for (uint32_t i = 0; i < sim->n_links; i++)
		link_stats_reset(sim, sim->links[i]);
	for (uint32_t i = 0; i < sim->n_conns; i++) {
		struct conn *conn = sim->conns[i];

		conn->base_goodput_bytes = conn->goodput_bytes;
		conn->base_reinjected_bytes = conn->reinjected_bytes;
		for (uint32_t j = 0; j < conn->n_subflows; j++) {
			struct subflow *sf = &conn->subflows[j];

			subflow_counters(sf, &sf->base);
			sf->cwnd_integral = 0;
			sf->cwnd_stamp_ns = sim->now_ns;
			histogram_reset(&sf->rtt);
			histogram_reset(&sf->queue_delay);
		}
	}
}

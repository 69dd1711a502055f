/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * TCP_INFO of plain TCP senders, MPTCP_TCPINFO and MPTCP_SUBFLOW_ADDRS (Linux 5.16) of the others. The kernel tells its
 * smoothed RTT, which follows the samples within a few ACKs; a reading counts once for each segment delivered since the one
 * before, so that the mean is over data packets and not over time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/mptcp.h>
#include <linux/tcp.h>
#include <sys/socket.h>

#include "sampler.h"

#define SOL_TCP_LEVEL 6
#define SOL_MPTCP_LEVEL 284
#define SUBFLOWS_MAX 16			/* in the kernel's list, closing ones included */

struct tcp_info_list {
	struct mptcp_subflow_data head;
	struct tcp_info info[SUBFLOWS_MAX];
};

struct address_list {
	struct mptcp_subflow_data head;
	struct mptcp_subflow_addrs addresses[SUBFLOWS_MAX];
};

bool subflow_sampler_init(struct subflow_sampler *sampler)
{
	return histogram_init(&sampler->rtt) && histogram_init(&sampler->queue_delay);
}

void subflow_sampler_free(struct subflow_sampler *sampler)
{
	free(sampler->rtt.counts);
	free(sampler->queue_delay.counts);
}

void subflow_sampler_reset(struct subflow_sampler *sampler)
{
	sampler->sums = (struct testbed_subflow_figures){ 0 };
	sampler->cwnd_integral = 0;
	sampler->cwnd_ns = 0;
	histogram_reset(&sampler->rtt);
	histogram_reset(&sampler->queue_delay);
}

static void sampler_add(struct subflow_sampler *sampler, const struct tcp_info *info, uint16_t port, int64_t base_rtt_ns,
    int64_t now_ns)
{
	const struct subflow_counters now = {
		.sent_bytes = info->tcpi_bytes_sent, .retransmitted_bytes = info->tcpi_bytes_retrans,
		.acked_bytes = info->tcpi_bytes_acked, .delivered = info->tcpi_delivered,
	};
	const int64_t rtt_ns = (int64_t)info->tcpi_rtt * NS_PER_US;

	if (!sampler->is_seen || sampler->port != port) {
		sampler->is_seen = true;
		sampler->port = port;
		sampler->last = (struct subflow_counters){ 0 };
		sampler->stamp_ns = 0;
	}
	sampler->sums.sent_bytes += now.sent_bytes - sampler->last.sent_bytes;
	sampler->sums.retransmitted_bytes += now.retransmitted_bytes - sampler->last.retransmitted_bytes;
	sampler->sums.acked_bytes += now.acked_bytes - sampler->last.acked_bytes;
	if (sampler->stamp_ns > 0) {
		sampler->cwnd_integral += (double)info->tcpi_snd_cwnd * info->tcpi_snd_mss * (double)(now_ns - sampler->stamp_ns);
		sampler->cwnd_ns += now_ns - sampler->stamp_ns;
	}
	for (uint32_t i = sampler->last.delivered; rtt_ns > 0 && i != now.delivered; i++) {
		histogram_add(&sampler->rtt, rtt_ns);
		histogram_add(&sampler->queue_delay, rtt_ns - base_rtt_ns);
	}
	sampler->stamp_ns = now_ns;
	sampler->last = now;
}

static void address_add(struct subflow_sampler *samplers, uint32_t n, uint32_t first_route, const struct sockaddr_in *local,
    const struct tcp_info *info, const struct testbed_emulator *emulator, int64_t now_ns)
{
	const uint32_t path = ntohl(local->sin_addr.s_addr) - TESTBED_ADDRESS_SENDERS - first_route;

	if (local->sin_family == AF_INET && path < n)
		sampler_add(&samplers[path], info, local->sin_port,
		    testbed_emulator_base_rtt_ns(emulator, first_route + path), now_ns);
}

static void mptcp_update(struct subflow_sampler *samplers, uint32_t n, int fd, uint32_t first_route,
    const struct testbed_emulator *emulator, int64_t now_ns)
{
	struct tcp_info_list infos = {
		.head = { .size_subflow_data = sizeof(infos.head), .size_user = sizeof(infos.info[0]) },
	};
	struct address_list list = {
		.head = { .size_subflow_data = sizeof(list.head), .size_user = sizeof(list.addresses[0]) },
	};
	socklen_t infos_bytes = sizeof(infos), list_bytes = sizeof(list);

	/* Both walk the connection's list of subflows; a subflow that comes or goes in between shows in the numbers. */
	if (getsockopt(fd, SOL_MPTCP_LEVEL, MPTCP_TCPINFO, &infos, &infos_bytes) != 0 ||
	    getsockopt(fd, SOL_MPTCP_LEVEL, MPTCP_SUBFLOW_ADDRS, &list, &list_bytes) != 0 ||
	    infos.head.num_subflows != list.head.num_subflows)
		return;
	for (uint32_t i = 0; i < list.head.num_subflows && i < SUBFLOWS_MAX; i++)
		address_add(samplers, n, first_route, &list.addresses[i].sin_local, &infos.info[i], emulator, now_ns);
}

void samplers_update(struct subflow_sampler *samplers, uint32_t n, int fd, bool is_mptcp, uint32_t first_route,
    const struct testbed_emulator *emulator, int64_t now_ns)
{
	struct tcp_info info = { 0 };
	struct sockaddr_in local = { 0 };
	socklen_t info_bytes = sizeof(info), local_bytes = sizeof(local);

	if (is_mptcp)
		mptcp_update(samplers, n, fd, first_route, emulator, now_ns);
	else if (getsockopt(fd, SOL_TCP_LEVEL, TCP_INFO, &info, &info_bytes) == 0 &&
	    getsockname(fd, (struct sockaddr *)&local, &local_bytes) == 0)
		address_add(samplers, n, first_route, &local, &info, emulator, now_ns);
}

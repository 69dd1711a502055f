/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The Linux controller's own source (kmod/linux/ccdrl.bpf.c) in user space, called as tcp_input.c and tcp_timer.c call a
 * congestion control: windows in whole segments. No subflow has a slot, so there are records for nobody and no leases.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ccdrl.bpf.c"

#include "fallback.h"

struct fallback {
	struct net net;
	struct mptcp_subflow_context contexts[DRL_SUBFLOWS_MAX];
	struct tcp_sock subflows[DRL_SUBFLOWS_MAX];
	__u32 n_subflows;
};

#define TOKEN 77

static struct ccdrl_linux_info info = { .loaded_us = 1000000, .cwnd_max_bytes = 1U << 30 };
static struct ccdrl_connection connection;
static bool has_connection;

static void *bpf_map_lookup_elem(void *map, const void *key)
{
	if (map == &ccdrl_info)
		return &info;
	if (map == &ccdrl_connections && has_connection && *(const __u32 *)key == TOKEN)
		return &connection;
	return NULL;
}

static long bpf_map_update_elem(void *map, const void *key, const void *value, __u64 flags)
{
	(void)key;
	(void)flags;
	if (map != &ccdrl_connections || has_connection)
		return -1;
	memcpy(&connection, value, sizeof(connection));
	has_connection = true;
	return 0;
}

static long bpf_map_delete_elem(void *map, const void *key)
{
	(void)key;
	has_connection = has_connection && map != &ccdrl_connections;
	return 0;
}

static long bpf_map_pop_elem(void *map, void *value)
{
	(void)map;
	(void)value;
	return -1;
}

static long bpf_map_push_elem(void *map, const void *value, __u64 flags)
{
	(void)map;
	(void)value;
	(void)flags;
	return -1;
}

static __u64 bpf_ktime_get_ns(void)
{
	return 2000000000;
}

static __u64 bpf_jiffies64(void)
{
	return 2000;
}

void *bpf_rdonly_cast(const void *object, __u32 btf_id)
{
	(void)btf_id;
	return (void *)object;
}

struct fallback *fallback_new(uint32_t n_subflows, uint32_t mss_bytes)
{
	struct fallback *fallback = calloc(1, sizeof(*fallback));

	if (fallback == NULL || n_subflows > DRL_SUBFLOWS_MAX)
		return NULL;
	has_connection = false;
	fallback->n_subflows = n_subflows;
	for (uint32_t i = 0; i < n_subflows; i++) {
		struct tcp_sock *tp = &fallback->subflows[i];

		fallback->contexts[i].token = TOKEN;
		tp->is_mptcp = true;
		tp->inet_conn.icsk_ulp_data = &fallback->contexts[i];
		tp->inet_conn.sk.__sk_common.skc_net.net = &fallback->net;
		tp->inet_conn.sk.sk_max_pacing_rate = ~0UL;
		tp->mss_cache = mss_bytes;
		tp->snd_cwnd = 10;
		tp->snd_ssthresh = SSTHRESH_INFINITE;
		tp->snd_cwnd_clamp = ~0U;
		tp->is_cwnd_limited = 1;
		ccdrl_init(&tp->inet_conn.sk);
		tp->inet_conn.icsk_ca_initialized = 1;
	}
	return fallback;
}

void fallback_free(struct fallback *fallback)
{
	for (uint32_t i = 0; i < fallback->n_subflows; i++)
		ccdrl_release(&fallback->subflows[i].inet_conn.sk);
	free(fallback);
}

static void state_set(struct tcp_sock *tp, __u8 state)
{
	ccdrl_set_state(&tp->inet_conn.sk, state);
	tp->inet_conn.icsk_ca_state = state;
}

void fallback_ack(struct fallback *fallback, uint32_t subflow, uint32_t acked_segments, uint32_t srtt_us)
{
	struct tcp_sock *tp = &fallback->subflows[subflow];
	struct rate_sample sample = { .rtt_us = srtt_us, .acked_sacked = acked_segments, .prior_in_flight = tp->snd_cwnd };

	tp->srtt_us = srtt_us << 3;
	tp->delivered += acked_segments;
	tp->inet_conn.icsk_backoff = 0;
	ccdrl_cong_control(&tp->inet_conn.sk, 0, FLAG_DATA_ACKED | FLAG_SND_UNA_ADVANCED, &sample);
	if (tp->inet_conn.icsk_ca_state == DRL_STATE_LOSS && tp->snd_cwnd >= tp->snd_ssthresh)
		state_set(tp, DRL_STATE_OPEN);
}

/* tcp_enter_recovery() */
void fallback_signal(struct fallback *fallback, uint32_t subflow)
{
	struct tcp_sock *tp = &fallback->subflows[subflow];

	tp->prior_cwnd = tp->snd_cwnd;
	tp->prr_out = 0;
	tp->undo_marker = 1;
	tp->snd_ssthresh = ccdrl_ssthresh(&tp->inet_conn.sk);
	state_set(tp, DRL_STATE_RECOVERY);
}

/* tcp_try_undo_recovery() and tcp_end_cwnd_reduction() */
void fallback_recovered(struct fallback *fallback, uint32_t subflow)
{
	state_set(&fallback->subflows[subflow], DRL_STATE_OPEN);
}

/* tcp_enter_loss() with nothing left in the network */
void fallback_timeout(struct fallback *fallback, uint32_t subflow, int is_first)
{
	struct tcp_sock *tp = &fallback->subflows[subflow];

	if (is_first)
		tp->snd_ssthresh = ccdrl_ssthresh(&tp->inet_conn.sk);
	tp->snd_cwnd = 1;
	tp->undo_marker = 0;
	tp->inet_conn.icsk_backoff++;
	state_set(tp, DRL_STATE_LOSS);
}

double fallback_cwnd_bytes(const struct fallback *fallback, uint32_t subflow)
{
	const struct tcp_sock *tp = &fallback->subflows[subflow];

	return (double)tp->snd_cwnd * tp->mss_cache;
}

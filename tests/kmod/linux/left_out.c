/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The Linux controller's own source in a kernel that leaves out callbacks: what tcp_input.c does around them, without them.
 */
#include "linux_fallback.c"

#include "left_out.h"

static struct tcp_sock *subflow_get(struct fallback *fallback, uint32_t subflow)
{
	return &fallback->subflows[subflow];
}

void left_out_init(struct fallback *fallback, uint32_t subflow)
{
	struct tcp_sock *tp = subflow_get(fallback, subflow);

	ccdrl_release(&tp->inet_conn.sk);
	memset(tp->inet_conn.icsk_ca_priv, 0, sizeof(tp->inet_conn.icsk_ca_priv));
}

/* tcp_enter_recovery() */
void left_out_signal(struct fallback *fallback, uint32_t subflow, uint32_t ssthresh_segments)
{
	struct tcp_sock *tp = subflow_get(fallback, subflow);

	tp->prior_cwnd = tp->snd_cwnd;
	tp->prr_out = 0;
	tp->undo_marker = 1;
	tp->snd_ssthresh = ssthresh_segments;
	tp->inet_conn.icsk_ca_state = DRL_STATE_RECOVERY;
}

/* tcp_end_cwnd_reduction() */
void left_out_recovered(struct fallback *fallback, uint32_t subflow)
{
	struct tcp_sock *tp = subflow_get(fallback, subflow);

	if (tp->snd_ssthresh < SSTHRESH_INFINITE)
		tp->snd_cwnd = tp->snd_ssthresh;
	tp->inet_conn.icsk_ca_state = DRL_STATE_OPEN;
}

/* tcp_undo_cwnd_reduction() */
void left_out_undo(struct fallback *fallback, uint32_t subflow, uint32_t cwnd_segments)
{
	struct tcp_sock *tp = subflow_get(fallback, subflow);

	tp->snd_cwnd = cwnd_segments;
	tp->inet_conn.icsk_ca_state = DRL_STATE_OPEN;
}

struct left_out_counters left_out_count(void)
{
	return (struct left_out_counters){ info.counters.created, info.counters.closed, info.counters.repaired };
}

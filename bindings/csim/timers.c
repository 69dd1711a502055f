/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A subflow's timers. They are lazy: one event source for all of a subflow's deadlines, moved only when a deadline comes
 * before it and brought up to date when it fires; an ACK that pushes the RTO back touches nothing.
 */
#include "internal.h"

#define PERSIST_MAX_NS (60 * NS_PER_S)

void subflow_timer_need(struct subflow *sf, int64_t deadline_ns)
{
	if (deadline_ns >= sf->timer_set_ns)
		return;
	if (deadline_ns < sf->sim->now_ns)	/* a probe that a state change allows late: due at once, never in the past */
		deadline_ns = sf->sim->now_ns;
	sf->timer_set_ns = deadline_ns;
	source_set(sf->sim, sf->timer_source, deadline_ns);
}

static bool is_due(int64_t *deadline_ns, int64_t now_ns)
{
	if (*deadline_ns > now_ns)
		return false;
	*deadline_ns = TIME_NEVER;
	return true;
}

static void persist_fire(struct subflow *sf)
{
	int64_t wait_ns = sf->rto_ns << (sf->persist_backoff < 8 ? sf->persist_backoff : 8);	/* RFC 9293 section 3.8.6.1 */

	conn_window_probe(sf);
	sf->persist_backoff++;
	sf->persist_deadline_ns = sf->sim->now_ns + (wait_ns < PERSIST_MAX_NS ? wait_ns : PERSIST_MAX_NS);
}

static void retransmission_timers_fire(struct subflow *sf)
{
	int64_t now_ns = sf->sim->now_ns;

	if (recovery_timeout_ns(sf) <= now_ns)
		recovery_timeout(sf);
	else if (recovery_probe_ns(sf) <= now_ns)
		recovery_probe(sf);
	else
		return;
	conn_push(sf->conn);
}

void subflow_timer_fire(struct subflow *sf)
{
	int64_t now_ns = sf->sim->now_ns, next_ns = TIME_NEVER;

	sf->timer_set_ns = TIME_NEVER;
	if (!sf->conn->is_stopped) {
		if (is_due(&sf->syn_deadline_ns, now_ns)) {
			if (sf->is_syn_sent)
				subflow_establish(sf);
			else
				subflow_connect(sf);
		}
		if (is_due(&sf->delack_deadline_ns, now_ns) && sf->unacked > 0)
			receiver_ack(sf);
		if (sf->is_established && is_due(&sf->reorder_deadline_ns, now_ns) && sf->sacked > 0 &&
		    recovery_detect(sf) > 0 && sf->state < DRL_STATE_RECOVERY) {
			subflow_cwnd_account(sf);
			recovery_enter(sf, DRL_STATE_RECOVERY, 0);
			if (!sf->cc->owns_recovery)
				recovery_prr(sf, 0, false, 1);
			conn_push(sf->conn);
		}
		if (is_due(&sf->pace_deadline_ns, now_ns))
			conn_push(sf->conn);
		if (sf->is_established && is_due(&sf->persist_deadline_ns, now_ns))
			persist_fire(sf);
		if (sf->is_established && sf->snd_una != sf->snd_nxt)
			retransmission_timers_fire(sf);
	}
	next_ns = sf->syn_deadline_ns;
	if (sf->delack_deadline_ns < next_ns)
		next_ns = sf->delack_deadline_ns;
	if (sf->pace_deadline_ns < next_ns)
		next_ns = sf->pace_deadline_ns;
	if (sf->reorder_deadline_ns < next_ns)
		next_ns = sf->reorder_deadline_ns;
	if (sf->persist_deadline_ns < next_ns)
		next_ns = sf->persist_deadline_ns;
	if (sf->is_established && sf->snd_una != sf->snd_nxt) {
		if (recovery_timeout_ns(sf) < next_ns)
			next_ns = recovery_timeout_ns(sf);
		if (recovery_probe_ns(sf) < next_ns)
			next_ns = recovery_probe_ns(sf);
	}
	if (next_ns < now_ns)
		next_ns = now_ns;
	sf->timer_set_ns = sf->conn->is_stopped ? TIME_NEVER : next_ns;
	source_set(sf->sim, sf->timer_source, sf->timer_set_ns);
}

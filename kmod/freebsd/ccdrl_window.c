/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What sets the window. Under a lease the agent's action does, and a loss does not move it: the agent sees the loss and
 * answers. Without a lease the fallback does, in the arithmetic that all datapaths share. In fast recovery the stack
 * sets snd_cwnd itself (PRR, RFC 6937), on its way to snd_ssthresh; an RTO collapses the window in any case.
 */
#include "ccdrl_var.h"

#include "ccdrl_fallback.h"

#define	CCDRL_IW_SEGMENTS	10	/* RFC 6928 section 2 */
#define	CCDRL_IW_BYTES		14600

/* Payload bytes of a full segment: t_maxseg less the options that each carries, as tcp_fixed_maxseg() has it. */
uint32_t
ccdrl_mss(const struct tcpcb *tp)
{
	uint32_t mss = tp->t_maxseg, options = 0;

	if (TCPS_HAVEESTABLISHED(tp->t_state) && (tp->t_flags & TF_NOOPT) == 0) {
		if (tp->t_flags & TF_RCVD_TSTMP)
			options += TCPOLEN_TSTAMP_APPA;
		if (tp->t_flags & TF_SIGNATURE)
			options += roundup2(TCPOLEN_SIGNATURE, 4);
	}
	return (mss > options ? mss - options : 1);
}

/* Highest window: the administrator's, which is never below what an action may ask for. */
static uint32_t
window_max(uint32_t mss)
{
	uint32_t high = CCDRL_BOUND_GET(cwnd_max_bytes);

	return (MAX(high, DRL_CWND_MIN_SEGMENTS * mss));
}

void
ccdrl_window_bound(struct tcpcb *tp)
{

	tp->snd_cwnd = MIN(tp->snd_cwnd, window_max(ccdrl_mss(tp)));
}

static uint32_t
window_target(const struct ccdrl_subflow *sf, const struct tcpcb *tp)
{
	uint32_t mss = ccdrl_mss(tp);

	return (MIN(MAX(sf->target_bytes, DRL_CWND_MIN_SEGMENTS * mss), window_max(mss)));
}

void
ccdrl_lease_end(struct ccdrl_subflow *sf)
{

	sf->lease_end_us = 0;
	sf->rest_q8 = 0;
}

/*
 * Hand-over to the fallback: from the present window, but not above what was in the network, as an agent's window may
 * never have been used.
 */
static void
lease_expire(struct ccdrl_subflow *sf, struct tcpcb *tp)
{
	uint32_t inflight = ccdrl_inflight(sf, tp, tp->snd_una);

	ccdrl_lease_end(sf);
	CCDRL_COUNT(actions.expired);
	if (ccdrl_state(sf, tp) >= DRL_STATE_CWR || inflight == 0)
		return;
	tp->snd_cwnd = MIN(tp->snd_cwnd, MAX(inflight, DRL_CWND_MIN_SEGMENTS * ccdrl_mss(tp)));
	tp->snd_ssthresh = tp->snd_cwnd;
}

/* Takes the action that a call has left here, and ends a lease that is over. */
void
ccdrl_lease_poll(struct ccdrl_subflow *sf, struct tcpcb *tp, uint64_t now_us)
{

	if (sf->pending_end_us != 0) {
		if (sf->pending_end_us <= now_us) {
			/* Over before any callback came: the window is as the fallback or an older action left it. */
			sf->pending_end_us = 0;
			CCDRL_COUNT(actions.expired);
		} else {
			sf->target_bytes = sf->pending_bytes;
			sf->lease_end_us = sf->pending_end_us;
			sf->pending_end_us = 0;
			sf->rest_q8 = 0;
			/* A reduction in progress heads for it, and slow start after an RTO ends there. */
			tp->snd_ssthresh = window_target(sf, tp);
		}
	}
	if (sf->lease_end_us != 0 && sf->lease_end_us <= now_us)
		lease_expire(sf, tp);
}

/*
 * Slow start and congestion avoidance without a lease (RFC 5681 section 3.1, RFC 6356 section 3). Bytes are counted as
 * in RFC 3465, without its limit for one ACK: so do the other datapaths.
 */
static void
window_grow(struct ccdrl_subflow *sf, struct tcpcb *tp, uint32_t acked_bytes)
{
	uint64_t cwnd = tp->snd_cwnd, grown_q8;

	if (cwnd < tp->snd_ssthresh) {
		cwnd = MIN(cwnd + acked_bytes, tp->snd_ssthresh);
	} else {
		grown_q8 = sf->rest_q8 + ccdrl_connection_increase_q8(sf, tp, acked_bytes);
		cwnd += grown_q8 >> 8;
		sf->rest_q8 = grown_q8 & 0xff;
	}
	tp->snd_cwnd = MIN(cwnd, UINT32_MAX);
}

/* The window after an ACK that delivered `acked_bytes`. */
void
ccdrl_window_ack(struct ccdrl_subflow *sf, struct tcpcb *tp, uint32_t acked_bytes, bool may_grow)
{
	uint64_t target;

	if (IN_FASTRECOVERY(tp->t_flags))
		return;
	if (sf->lease_end_us != 0) {
		target = window_target(sf, tp);
		/* An RTO collapsed the window: slow start up to the leased one. */
		if (sf->is_in_loss)
			target = MIN(target, (uint64_t)tp->snd_cwnd + acked_bytes);
		tp->snd_cwnd = target;
	} else if (may_grow && acked_bytes > 0 && !IN_RECOVERY(tp->t_flags)) {
		window_grow(sf, tp, acked_bytes);
	}
	ccdrl_window_bound(tp);
}

/*
 * After idle time of an RTO or more the fallback starts again from the initial window (RFC 5681 section 4.1) and keeps
 * what it had learnt in ssthresh (RFC 2861 section 3). A lease's window is as new as the lease.
 */
void
ccdrl_window_restart(struct ccdrl_subflow *sf, struct tcpcb *tp)
{
	uint32_t mss = ccdrl_mss(tp), cwnd = tp->snd_cwnd;
	uint32_t initial = MIN(CCDRL_IW_SEGMENTS * mss, MAX(2 * mss, CCDRL_IW_BYTES));

	if (sf->lease_end_us != 0) {
		ccdrl_window_ack(sf, tp, 0, false);
		return;
	}
	tp->snd_ssthresh = MAX(tp->snd_ssthresh, cwnd - cwnd / 4);
	tp->snd_cwnd = MIN(cwnd, initial);
	sf->rest_q8 = 0;
	ccdrl_window_bound(tp);
}

/* Half of a window, in whole segments, as the other datapaths have it. */
static uint32_t
window_half(uint32_t cwnd, uint32_t mss)
{

	return (rounddown(ccdrl_fallback_ssthresh(cwnd, mss), mss));
}

/* What a reduction after a loss or an ECN mark heads for: the leased window, without a lease half of the present one. */
uint32_t
ccdrl_window_reduced(const struct ccdrl_subflow *sf, const struct tcpcb *tp)
{

	if (sf->lease_end_us != 0)
		return (window_target(sf, tp));
	return (window_half(tp->snd_cwnd, ccdrl_mss(tp)));
}

/* Full acknowledgment (RFC 6582 section 3.2, step 3, second option): PRR left about ssthresh in the network. */
void
ccdrl_window_recovered(struct ccdrl_subflow *sf, struct tcpcb *tp)
{

	if (!IN_FASTRECOVERY(tp->t_flags))
		return;
	tp->snd_cwnd = MAX(sf->lease_end_us != 0 ? window_target(sf, tp) : tp->snd_ssthresh, ccdrl_mss(tp));
	sf->rest_q8 = 0;
	ccdrl_window_bound(tp);
}

/*
 * RFC 5681 section 3.1: one segment, and at the first time-out of a segment half of the window as ssthresh. FreeBSD 13
 * collapsed the window before it asked us, but keeps the former one for the case that the time-out was spurious; in
 * fast recovery ssthresh was the window. A window below one segment is the stack's note that a SYN was lost.
 */
void
ccdrl_window_collapse(struct ccdrl_subflow *sf, struct tcpcb *tp)
{
	uint32_t mss = ccdrl_mss(tp), cwnd = tp->snd_cwnd;

	ccdrl_lease_end(sf);
	sf->pending_end_us = 0;
	if (tp->t_rxtshift <= 1) {
		if (tp->t_rxtshift == 1 && (tp->t_flags & TF_PREVVALID) != 0)
			cwnd = MAX(cwnd, tp->snd_cwnd_prev);
		if (sf->sample.state == DRL_STATE_RECOVERY)
			cwnd = MAX(cwnd, sf->sample.ssthresh_bytes);
		tp->snd_ssthresh = window_half(cwnd, mss);
	}
	tp->snd_cwnd = MIN(tp->snd_cwnd, mss);
}

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The controller `ccdrl` of mod_cc(9): one record a subflow out, leased windows in, LIA or Reno in the kernel between
 * leases.
 *
 *   cb_init        memory for a subflow; its record begins when the connection is established
 *   conn_init      the record begins
 *   ack_received   new action? lease over? window, record
 *   cong_signal    reductions; an RTO collapses the window, ends the lease and makes older answers stale
 *   post_recovery  the end of fast recovery
 *   after_idle     restart after idle time
 *   newround, rttsample  from stacks that keep rounds and RTT samples
 *   cb_destroy     the last record
 *
 * The stack holds the inpcb's lock in each of them.
 */
#include "ccdrl_var.h"

static void	ccdrl_ack_received(struct cc_var *ccv, ccdrl_ack_t type);
static void	ccdrl_after_idle(struct cc_var *ccv);
static void	ccdrl_cb_destroy(struct cc_var *ccv);
#ifdef CCDRL_HAS_CC_DATA_SZ
static int	ccdrl_cb_init(struct cc_var *ccv, void *memory);
static size_t	ccdrl_data_sz(void);
#else
static int	ccdrl_cb_init(struct cc_var *ccv);
#endif
static void	ccdrl_cong_signal(struct cc_var *ccv, ccdrl_signal_t type);
static void	ccdrl_conn_init(struct cc_var *ccv);
static void	ccdrl_post_recovery(struct cc_var *ccv);
#ifdef CCDRL_HAS_RTT_SAMPLES
static void	ccdrl_newround(struct cc_var *ccv, uint32_t round);
static void	ccdrl_rttsample(struct cc_var *ccv, uint32_t rtt_us, uint32_t sent_times, uint32_t flight_bytes);
#endif

struct cc_algo ccdrl_cc_algo = {
	.name = "ccdrl",
	.ack_received = ccdrl_ack_received,
	.after_idle = ccdrl_after_idle,
	.cb_destroy = ccdrl_cb_destroy,
	.cb_init = ccdrl_cb_init,
	.cong_signal = ccdrl_cong_signal,
	.conn_init = ccdrl_conn_init,
	.post_recovery = ccdrl_post_recovery,
#ifdef CCDRL_HAS_CC_DATA_SZ
	.cc_data_sz = ccdrl_data_sz,
#endif
#ifdef CCDRL_HAS_RTT_SAMPLES
	.newround = ccdrl_newround,
	.rttsample = ccdrl_rttsample,
#endif
};

static int
subflow_init(struct cc_var *ccv)
{

	ccv->cc_data = ccdrl_subflow_alloc();
	return (ccv->cc_data != NULL ? 0 : ENOMEM);
}

#ifdef CCDRL_HAS_CC_DATA_SZ
/* A record outlives its tcpcb until it is read, so it cannot lie in memory that is the caller's. */
static size_t
ccdrl_data_sz(void)
{

	return (0);
}

static int
ccdrl_cb_init(struct cc_var *ccv, void *memory __unused)
{

	return (subflow_init(ccv));
}
#else
static int
ccdrl_cb_init(struct cc_var *ccv)
{

	return (subflow_init(ccv));
}
#endif

static void
addresses_fill(struct drl_subflow_sample *sample, const struct inpcb *inp)
{

	sample->local_port = ntohs(inp->inp_lport);
	sample->foreign_port = ntohs(inp->inp_fport);
	if (inp->inp_vflag & INP_IPV6) {
		sample->family = AF_INET6;
		memcpy(sample->local_addr, &inp->in6p_laddr, sizeof(inp->in6p_laddr));
		memcpy(sample->foreign_addr, &inp->in6p_faddr, sizeof(inp->in6p_faddr));
	} else {
		sample->family = AF_INET;
		memcpy(sample->local_addr, &inp->inp_laddr, sizeof(inp->inp_laddr));
		memcpy(sample->foreign_addr, &inp->inp_faddr, sizeof(inp->inp_faddr));
	}
}

/* Locks the subflow; its first record is written once the connection is there. */
static struct ccdrl_subflow *
subflow_enter(struct cc_var *ccv, struct tcpcb *tp, bool is_established, uint64_t now_us)
{
	struct ccdrl_subflow *sf = ccv->cc_data;
	struct inpcb *inp = ccdrl_inpcb(tp);

	INP_WLOCK_ASSERT(inp);
	ccdrl_subflow_lock(sf);
	if (sf->has_begun || !is_established)
		return (sf);
	sf->has_begun = true;
	sf->vnet = ccdrl_inpcb_vnet(inp);
	addresses_fill(&sf->sample, inp);
	ccdrl_sample_begin(sf, tp);
	ccdrl_subflow_list(sf);
	ccdrl_sample_write(sf, tp, tp->snd_una, now_us);
	ccdrl_subflow_publish(sf, DRL_EVENT_CREATED);
	return (sf);
}

/* Writes what the callback has made of the subflow, `una` being acknowledged, and unlocks it. */
static void
subflow_leave(struct ccdrl_subflow *sf, struct tcpcb *tp, tcp_seq una, uint64_t now_us)
{
	uint16_t state = sf->sample.state;

	if (sf->has_begun) {
		ccdrl_sample_write(sf, tp, una, now_us);
		ccdrl_connection_publish(sf, tp);
		ccdrl_subflow_publish(sf, sf->sample.state != state ? DRL_EVENT_STATE : DRL_EVENT_SAMPLE);
	}
	ccdrl_subflow_unlock(sf);
}

/* The stack moves snd_una only after the callback. */
static tcp_seq
una_get(const struct cc_var *ccv, const struct tcpcb *tp)
{

	return (SEQ_GT(ccv->curack, tp->snd_una) && SEQ_LEQ(ccv->curack, tp->snd_max) ? ccv->curack : tp->snd_una);
}

static void
ccdrl_conn_init(struct cc_var *ccv)
{
	struct tcpcb *tp = ccdrl_tcpcb(ccv);
	uint64_t now_us = ccdrl_now_us();
	struct ccdrl_subflow *sf;

	ccdrl_window_bound(tp);
	sf = subflow_enter(ccv, tp, true, now_us);
	subflow_leave(sf, tp, tp->snd_una, now_us);
}

static void
ccdrl_ack_received(struct cc_var *ccv, ccdrl_ack_t type)
{
	struct tcpcb *tp = ccdrl_tcpcb(ccv);
	bool is_new = type == CC_ACK && ccv->bytes_this_ack > 0;
	tcp_seq una = is_new ? una_get(ccv, tp) : tp->snd_una;
	uint64_t now_us = ccdrl_now_us();
	struct ccdrl_subflow *sf;
	uint32_t acked_bytes;

	sf = subflow_enter(ccv, tp, true, now_us);
	acked_bytes = ccdrl_sample_acked(sf, tp, is_new ? ccv->bytes_this_ack : 0);
	ccdrl_lease_poll(sf, tp, now_us);
	ccdrl_window_ack(sf, tp, acked_bytes, is_new && (ccv->flags & CCF_CWND_LIMITED) != 0);
	if (SEQ_GEQ(una, sf->loss_end))
		sf->is_in_loss = false;
	subflow_leave(sf, tp, una, now_us);
}

static void
ccdrl_cong_signal(struct cc_var *ccv, ccdrl_signal_t type)
{
	struct tcpcb *tp = ccdrl_tcpcb(ccv);
	uint64_t now_us = ccdrl_now_us();
	struct ccdrl_subflow *sf;

	sf = subflow_enter(ccv, tp, TCPS_HAVEESTABLISHED(tp->t_state), now_us);
	ccdrl_lease_poll(sf, tp, now_us);
	switch (type) {
	case CC_NDUPACK:	/* RFC 5681 section 3.2, RFC 6675 section 5; once for each window of data */
		if (!IN_FASTRECOVERY(tp->t_flags)) {
			if (!IN_CONGRECOVERY(tp->t_flags))
				tp->snd_ssthresh = ccdrl_window_reduced(sf, tp);
			ENTER_RECOVERY(tp->t_flags);
			sf->sample.loss_events++;
			sf->rest_q8 = 0;
		}
		break;
	case CC_ECN:		/* RFC 3168 section 6.1.2 */
		sf->sample.ecn_marks++;
		if (!IN_CONGRECOVERY(tp->t_flags)) {
			tp->snd_ssthresh = ccdrl_window_reduced(sf, tp);
			tp->snd_cwnd = MIN(tp->snd_cwnd, tp->snd_ssthresh);
			ENTER_CONGRECOVERY(tp->t_flags);
			sf->rest_q8 = 0;
		}
		break;
	case CC_RTO:
		ccdrl_window_collapse(sf, tp);
		sf->is_in_loss = true;
		sf->loss_end = tp->snd_max;
		sf->sample.rto_events++;
		sf->rto_seq = sf->sample.seq + 1;	/* the record that is written now */
		break;
	case CC_RTO_ERR:	/* RFC 3522: spurious; the stack has put the window back */
		ccdrl_window_bound(tp);
		sf->is_in_loss = false;
		break;
	default:
		break;
	}
	subflow_leave(sf, tp, tp->snd_una, now_us);
}

static void
ccdrl_post_recovery(struct cc_var *ccv)
{
	struct tcpcb *tp = ccdrl_tcpcb(ccv);
	uint64_t now_us = ccdrl_now_us();
	struct ccdrl_subflow *sf;

	sf = subflow_enter(ccv, tp, true, now_us);
	ccdrl_lease_poll(sf, tp, now_us);
	ccdrl_window_recovered(sf, tp);
	subflow_leave(sf, tp, una_get(ccv, tp), now_us);
}

static void
ccdrl_after_idle(struct cc_var *ccv)
{
	struct tcpcb *tp = ccdrl_tcpcb(ccv);
	uint64_t now_us = ccdrl_now_us();
	struct ccdrl_subflow *sf;

	sf = subflow_enter(ccv, tp, TCPS_HAVEESTABLISHED(tp->t_state), now_us);
	ccdrl_lease_poll(sf, tp, now_us);
	ccdrl_window_restart(sf, tp);
	sf->has_round = false;			/* idle time is no part of a delivery rate */
	subflow_leave(sf, tp, tp->snd_una, now_us);
}

#ifdef CCDRL_HAS_RTT_SAMPLES
static void
ccdrl_newround(struct cc_var *ccv, uint32_t round __unused)
{
	struct ccdrl_subflow *sf = ccv->cc_data;

	INP_WLOCK_ASSERT(ccdrl_inpcb(ccdrl_tcpcb(ccv)));
	sf->is_round_over = true;
}

/* A sample of a segment that was sent more than once is ambiguous (RFC 6298 section 3). */
static void
ccdrl_rttsample(struct cc_var *ccv, uint32_t rtt_us, uint32_t sent_times, uint32_t flight_bytes __unused)
{
	struct ccdrl_subflow *sf = ccv->cc_data;

	INP_WLOCK_ASSERT(ccdrl_inpcb(ccdrl_tcpcb(ccv)));
	if (sent_times > 1 || rtt_us == 0)
		return;
	ccdrl_subflow_lock(sf);
	sf->has_rtt_hook = true;
	ccdrl_sample_rtt(sf, rtt_us, ccdrl_now_us());
	ccdrl_subflow_unlock(sf);
}
#endif

static void
ccdrl_cb_destroy(struct cc_var *ccv)
{
	struct ccdrl_subflow *sf = ccv->cc_data;
	struct tcpcb *tp = ccdrl_tcpcb(ccv);

	if (sf == NULL)				/* cb_init failed */
		return;
	INP_WLOCK_ASSERT(ccdrl_inpcb(tp));
	ccv->cc_data = NULL;
	if (sf->has_begun) {
		ccdrl_subflow_lock(sf);
		ccdrl_sample_write(sf, tp, tp->snd_una, ccdrl_now_us());
		ccdrl_connection_leave(sf);
		ccdrl_subflow_unlock(sf);
	}
	ccdrl_subflow_close(sf);
}

/*
 * kldunload is refused as long as the controller is in use. With -f FreeBSD 13 moves its connections to another one;
 * later releases refuse all the same, and have barred new connections for good by then, so they are not even asked.
 * They want MOD_QUIESCE before MOD_UNLOAD, which -f comes to where we refused the first.
 */
int
ccdrl_unload_check(int type)
{
#ifdef CCDRL_HAS_CC_DATA_SZ
	bool must_be_idle = type == MOD_QUIESCE || type == MOD_UNLOAD;
#else
	bool must_be_idle = type == MOD_QUIESCE;
#endif

	return (must_be_idle && ccdrl_subflows_attached() != 0 ? EBUSY : 0);
}

static int
ccdrl_modevent(module_t mod, int type, void *algo)
{
	int error = ccdrl_unload_check(type);

#ifdef CCDRL_HAS_CC_DATA_SZ
	if (error == 0 && type == MOD_UNLOAD)
		error = cc_modevent(mod, MOD_QUIESCE, algo);
#endif
	return (error != 0 ? error : cc_modevent(mod, type, algo));
}

static moduledata_t ccdrl_mod = {
	.name = "ccdrl",
	.evhand = ccdrl_modevent,
	.priv = &ccdrl_cc_algo,
};

DECLARE_MODULE(ccdrl, ccdrl_mod, SI_SUB_PROTO_IFATTACHDOMAIN, SI_ORDER_ANY);
MODULE_VERSION(ccdrl, 1);

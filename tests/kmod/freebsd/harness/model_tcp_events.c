/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What happens to a connection: segments, ACKs, losses, time-outs, as tcp_input.c, tcp_output.c and tcp_timer.c
 * tell the congestion control of them. Window reductions in fast recovery follow PRR (RFC 6937), which owns
 * snd_cwnd there.
 */
#include "model.h"

#include <sys/sockbuf.h>
#include <sys/socketvar.h>

#include <netinet/in.h>
#include <netinet/in_pcb.h>
#include <netinet/tcp.h>
#include <netinet/tcp_fsm.h>
#include <netinet/tcp_seq.h>
#include <netinet/tcp_timer.h>
#include <netinet/tcp_var.h>
#include <netinet/cc/cc.h>

#include "model_tcp.h"

void model_tcp_establish(struct model_subflow *sf)
{
	struct tcpcb *tp = &sf->tp;

	tp->t_state = TCPS_ESTABLISHED;
	tp->t_starttime = (u_int)ticks;
	tp->snd_cwnd = tcp_compute_initwnd(tcp_maxseg(tp));
	if (tp->t_cc->conn_init != NULL)
		tp->t_cc->conn_init(&tp->t_ccv);
}

/* RFC 6298 in the kernel's units: t_srtt in ticks << TCP_RTT_SHIFT, t_rttvar in ticks << TCP_RTTVAR_SHIFT. */
static void rtt_update(struct tcpcb *tp, int rtt)
{
	int delta;

	tp->t_rttupdated++;
	if (tp->t_srtt == 0) {
		tp->t_srtt = rtt << TCP_RTT_SHIFT;
		tp->t_rttvar = rtt << (TCP_RTTVAR_SHIFT - 1);
	} else {
		delta = ((rtt - 1) << TCP_DELTA_SHIFT) - (tp->t_srtt >> (TCP_RTT_SHIFT - TCP_DELTA_SHIFT));
		tp->t_srtt = tp->t_srtt + delta > 0 ? tp->t_srtt + delta : 1;
		if (delta < 0)
			delta = -delta;
		delta -= tp->t_rttvar >> (TCP_RTTVAR_SHIFT - TCP_DELTA_SHIFT);
		tp->t_rttvar = tp->t_rttvar + delta > 0 ? tp->t_rttvar + delta : 1;
	}
	if (tp->t_rttlow == 0 || rtt < tp->t_rttlow)
		tp->t_rttlow = rtt;
	tp->t_rtttime = 0;
	tp->t_rxtshift = 0;
}

static void ack_tell(struct tcpcb *tp, tcp_seq ack, int bytes, u_int type)
{
	tp->t_ccv.nsegs = (uint16_t)((bytes + tp->t_maxseg - 1) / tp->t_maxseg);
	tp->t_ccv.bytes_this_ack = bytes;
	if (tp->snd_cwnd <= tp->snd_wnd)
		tp->t_ccv.flags |= CCF_CWND_LIMITED;
	else
		tp->t_ccv.flags &= ~CCF_CWND_LIMITED;
	if (type == CC_ACK) {
		if (tp->snd_cwnd > tp->snd_ssthresh) {
			tp->t_bytes_acked += bytes;
			if ((u_int)tp->t_bytes_acked >= tp->snd_cwnd) {
				tp->t_bytes_acked -= tp->snd_cwnd;
				tp->t_ccv.flags |= CCF_ABC_SENTAWND;
			}
		} else {
			tp->t_ccv.flags &= ~CCF_ABC_SENTAWND;
			tp->t_bytes_acked = 0;
		}
	}
	if (tp->t_cc->ack_received != NULL) {
		tp->t_ccv.curack = ack;
		tp->t_cc->ack_received(&tp->t_ccv, type);
	}
}

static void signal_tell(struct tcpcb *tp, u_int type)
{
	switch (type) {
	case CC_NDUPACK:
		if (!IN_FASTRECOVERY(tp->t_flags))
			tp->snd_recover = tp->snd_max;
		break;
	case CC_ECN:
		if (!IN_CONGRECOVERY(tp->t_flags) || SEQ_GEQ(tp->snd_una, tp->snd_recover)) {
			EXIT_CONGRECOVERY(tp->t_flags);
			tp->snd_recover = tp->snd_max + 1;
		}
		break;
	case CC_RTO:
		tp->t_dupacks = 0;
		tp->t_bytes_acked = 0;
		EXIT_RECOVERY(tp->t_flags);
		break;
	case CC_RTO_ERR:
		tp->snd_cwnd = tp->snd_cwnd_prev;
		tp->snd_ssthresh = tp->snd_ssthresh_prev;
		tp->snd_recover = tp->snd_recover_prev;
		tp->snd_nxt = tp->snd_max;
		tp->t_flags &= ~TF_PREVVALID;
		break;
	}
	if (tp->t_cc->cong_signal != NULL) {
		tp->t_ccv.curack = tp->snd_una;
		tp->t_cc->cong_signal(&tp->t_ccv, type);
	}
}

static struct model_subflow *enter(int index, int *error)
{
	struct model_subflow *sf = model_subflow(index);

	*error = sf == NULL ? ENOENT : sf->tp.t_cc == NULL ? EINVAL : 0;
	if (*error == 0)
		model_subflow_enter(sf);
	return sf;
}

int model_send(int index, unsigned bytes, int is_again)
{
	int error;
	struct model_subflow *sf = enter(index, &error);
	struct tcpcb *tp = &sf->tp;

	if (error != 0)
		return error;
	if (is_again) {
		tp->t_sndrexmitpack += (int)((bytes + tp->t_maxseg - 1) / tp->t_maxseg);
		if (IN_FASTRECOVERY(tp->t_flags)) {	/* tcp_output() counts these as new */
			tp->sackhint.sack_bytes_rexmit += (int)bytes;
			tp->t_sndbytes += bytes;
		} else {
			tp->t_snd_rxt_bytes += bytes;
			tp->snd_nxt += bytes;
			if (SEQ_GT(tp->snd_nxt, tp->snd_max))
				tp->snd_nxt = tp->snd_max;
		}
	} else {
		tp->snd_max += bytes;
		tp->snd_nxt = tp->snd_max;
		tp->t_sndbytes += bytes;
	}
	tp->t_sndtime = (u_int)ticks;
	model_subflow_leave(sf);
	return 0;
}

/* The order of tcp_do_segment(): RTT, end of recovery, ack_received, and only then snd_una. */
static void ack_take(struct tcpcb *tp, unsigned bytes, unsigned rtt_us)
{
	tcp_seq ack = tp->snd_una + bytes;
	int is_over = IN_RECOVERY(tp->t_flags) && SEQ_GEQ(ack, tp->snd_recover);

	if (SEQ_GT(ack, tp->snd_max))
		tp->snd_max = tp->snd_nxt = ack;
	tp->t_dupacks = 0;
	tp->sackhint.sacked_bytes = min(tp->sackhint.sacked_bytes, (int)(tp->snd_max - ack));	/* tcp_sack_doack() */
	if (rtt_us > 0)
		rtt_update(tp, (int)(rtt_us * (uint64_t)hz / 1000000) + 1);
	if (is_over && tp->t_cc->post_recovery != NULL) {
		tp->t_ccv.curack = ack;
		tp->t_cc->post_recovery(&tp->t_ccv);
	}
	if (is_over)
		tp->t_bytes_acked = 0;
	ack_tell(tp, ack, (int)bytes, CC_ACK);
	if (is_over)
		EXIT_RECOVERY(tp->t_flags);
	tp->snd_una = ack;
	if (!IN_RECOVERY(tp->t_flags))
		tp->sackhint.sacked_bytes = tp->sackhint.sack_bytes_rexmit = 0;
	if (SEQ_LT(tp->snd_nxt, tp->snd_una))
		tp->snd_nxt = tp->snd_una;
	tp->t_acktime = (u_int)ticks;
}

int model_ack(int index, unsigned bytes, unsigned rtt_us, int is_cwnd_limited)
{
	int error;
	struct model_subflow *sf = enter(index, &error);
	uint32_t wnd;

	if (error != 0)
		return error;
	wnd = sf->tp.snd_wnd;
	if (!is_cwnd_limited)
		sf->tp.snd_wnd = sf->tp.snd_cwnd - 1;
	ack_take(&sf->tp, bytes, rtt_us);
	sf->tp.snd_wnd = wnd;
	model_subflow_leave(sf);
	return 0;
}

int model_dupack(int index, unsigned sacked_bytes)
{
	int error;
	struct model_subflow *sf = enter(index, &error);
	struct tcpcb *tp = &sf->tp;

	if (error != 0)
		return error;
	tp->t_dupacks++;
	tp->sackhint.sacked_bytes += (int)sacked_bytes;
	tp->sackhint.delivered_data = (int)sacked_bytes;
	if (tp->t_dupacks > 3 || IN_FASTRECOVERY(tp->t_flags))
		ack_tell(tp, tp->snd_una, 0, CC_DUPACK);
	if (IN_FASTRECOVERY(tp->t_flags)) {
		uint32_t room = (uint32_t)max(tcp_compute_pipe(tp), 0) + sacked_bytes;

		tp->snd_cwnd = max(min(room, tp->snd_ssthresh), tp->t_maxseg);
	}
	model_subflow_leave(sf);
	return 0;
}

static void timer_fire(struct tcpcb *tp)
{
	if (++tp->t_rxtshift == 1) {
		tp->snd_cwnd_prev = tp->snd_cwnd;
		tp->snd_ssthresh_prev = tp->snd_ssthresh;
		tp->snd_recover_prev = tp->snd_recover;
		tp->t_flags |= TF_PREVVALID;
	}
	tp->snd_nxt = tp->snd_una;
	tp->snd_recover = tp->snd_max;
	tp->t_rtttime = 0;
	signal_tell(tp, CC_RTO);
}

int model_event(int index, const char *event, unsigned argument)
{
	int error;
	struct model_subflow *sf = enter(index, &error);
	struct tcpcb *tp = &sf->tp;

	if (error != 0)
		return error;
	if (strcmp(event, "loss") == 0) {
		signal_tell(tp, CC_NDUPACK);
		tp->snd_cwnd = tp->t_maxseg;		/* PRR lets it grow again, ACK by ACK */
	} else if (strcmp(event, "recovered") == 0) {
		if (SEQ_GT(tp->snd_recover, tp->snd_una))
			ack_take(tp, tp->snd_recover - tp->snd_una, argument);
		else
			ack_take(tp, 0, argument);
	} else if (strcmp(event, "rto") == 0)
		timer_fire(tp);
	else if (strcmp(event, "rto_err") == 0)
		signal_tell(tp, CC_RTO_ERR);
	else if (strcmp(event, "ecn") == 0)
		signal_tell(tp, CC_ECN);
	else if (strcmp(event, "idle") == 0) {
		if (tp->t_cc->after_idle != NULL)
			tp->t_cc->after_idle(&tp->t_ccv);
	} else if (strcmp(event, "newround") == 0) {
		if (tp->t_cc->newround != NULL)
			tp->t_cc->newround(&tp->t_ccv, argument);
	} else if (strcmp(event, "rttsample") == 0) {
		if (tp->t_cc->rttsample != NULL)
			tp->t_cc->rttsample(&tp->t_ccv, argument, 1, tp->snd_max - tp->snd_una);
	} else if (strcmp(event, "ecnpkt") == 0) {
		tp->t_ccv.flags |= CCF_IPHDR_CE;
		if (tp->t_cc->ecnpkt_handler != NULL)
			tp->t_cc->ecnpkt_handler(&tp->t_ccv);
	} else if (strcmp(event, "private") == 0) {	/* signals of other controllers, and acknowledged nothing */
		if (tp->t_cc->cong_signal != NULL)
			tp->t_cc->cong_signal(&tp->t_ccv, 0x01000000U);
		ack_tell(tp, tp->snd_una, 0, CC_PARTIALACK);
	} else
		error = EINVAL;
	model_subflow_leave(sf);
	return error;
}

#define FIELDS \
	FIELD(snd_una) FIELD(snd_nxt) FIELD(snd_max) FIELD(snd_recover) FIELD(snd_cwnd) FIELD(snd_ssthresh) FIELD(snd_wnd) \
	FIELD(snd_scale) FIELD(t_srtt) FIELD(t_rttvar) FIELD(t_rttlow) FIELD(t_maxseg) FIELD(t_flags) FIELD(t_rxtshift) \
	FIELD(t_state) FIELD(t_dupacks) FIELD(t_sndbytes) FIELD(t_snd_rxt_bytes) FIELD(t_sndrexmitpack) FIELD(t_pacing_rate) \
	FIELD(snd_cwnd_prev) FIELD(snd_ssthresh_prev)

int model_subflow_get(int index, const char *field, long *value)
{
	struct model_subflow *sf = model_subflow(index);

	if (sf == NULL)
		return ENOENT;
#define FIELD(name) if (strcmp(field, #name) == 0) { *value = (long)sf->tp.name; return 0; }
	FIELDS
#undef FIELD
	if (strcmp(field, "is_recovering") == 0)
		*value = IN_FASTRECOVERY(sf->tp.t_flags) ? 2 : IN_CONGRECOVERY(sf->tp.t_flags) ? 1 : 0;
	else
		return EINVAL;
	return 0;
}

int model_subflow_set(int index, const char *field, long value)
{
	struct model_subflow *sf = model_subflow(index);

	if (sf == NULL)
		return ENOENT;
#define FIELD(name) if (strcmp(field, #name) == 0) { sf->tp.name = (unsigned long)value; return 0; }
	FIELDS
#undef FIELD
	return EINVAL;
}

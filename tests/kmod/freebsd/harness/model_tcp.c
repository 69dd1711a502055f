/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * TCP around the congestion control: real control blocks, and what tcp_input.c, tcp_output.c and tcp_timer.c do to
 * them before and after each callback. Callbacks run as they do there: under the inpcb's write lock, inside the
 * network epoch.
 */
#include "model.h"

#include <sys/epoch.h>
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

enum { SUBFLOWS_MAX = 1 << 20 };		/* numbers are not used again */

VNET_DEFINE(int, tcp_initcwnd_segments) = 10;
VNET_DEFINE(int, tcp_do_rfc3465) = 1;
VNET_DEFINE(int, tcp_abc_l_var) = 2;
VNET_DEFINE(int, tcp_do_newcwv);
VNET_DEFINE(int, cc_do_abe);
VNET_DEFINE(int, cc_abe_frlossreduce);

static struct model_subflow *subflows[SUBFLOWS_MAX];
static struct inpcbinfo infos[2];
static int subflows_count;

/* Imports of modules. */

u_int tcp_maxseg(const struct tcpcb *tp)
{
	return tp->t_maxseg - (tp->t_flags & TF_RCVD_TSTMP ? TCPOLEN_TSTAMP_APPA : 0);
}

u_int tcp_fixed_maxseg(const struct tcpcb *tp)
{
	return tcp_maxseg(tp);
}

int tcp_compute_pipe(struct tcpcb *tp)
{
	return (int)(tp->snd_max - tp->snd_una) + tp->sackhint.sack_bytes_rexmit - tp->sackhint.sacked_bytes;
}

uint32_t tcp_compute_initwnd(uint32_t maxseg)
{
	return min(V_tcp_initcwnd_segments * maxseg, max(2 * maxseg, (uint32_t)V_tcp_initcwnd_segments * 1460));
}

/* What a kernel with MPTCP answers for the module's weak function of this name. */
uint64_t ccdrl_conn_id(const struct tcpcb *tp);
uint64_t ccdrl_conn_id(const struct tcpcb *tp)
{
	return __containerof(__DECONST(struct tcpcb *, tp), struct model_subflow, tp)->conn_id;
}

/* The table */

struct model_subflow *model_subflow(int index)
{
	return index >= 0 && index < subflows_count ? subflows[index] : NULL;
}

void model_subflow_enter(struct model_subflow *sf)
{
	model_self()->td.td_vnet = sf->so.so_vnet;
	model_self()->epochs++;
	INP_WLOCK(tptoinpcb(&sf->tp));
	host_module_entered(1);
}

void model_subflow_leave(struct model_subflow *sf)
{
	host_module_entered(0);
	if (!model_holds((const void *)(uintptr_t)&tptoinpcb(&sf->tp)->inp_lock.rw_lock, 1))
		model_fault("a callback dropped the inpcb lock");
	else
		INP_WUNLOCK(tptoinpcb(&sf->tp));
	model_self()->epochs--;
	model_assert_nothing_held("a callback");
}

static void address_fill(struct inpcb *inp, const struct model_address *local, const struct model_address *foreign)
{
	inp->inp_lport = htons(local->port);
	inp->inp_fport = htons(foreign->port);
	if (local->is_ipv6) {
		inp->inp_vflag = INP_IPV6;
		inp->inp_inc.inc_flags = INC_ISIPV6;
		memcpy(&inp->in6p_laddr, local->address, 16);
		memcpy(&inp->in6p_faddr, foreign->address, 16);
	} else {
		inp->inp_vflag = INP_IPV4;
		memcpy(&inp->inp_laddr, local->address, 4);
		memcpy(&inp->inp_faddr, foreign->address, 4);
	}
}

static void subflow_free(struct model_subflow *sf)
{
	subflows[sf->index] = NULL;
	host_release(sf);
}

/* tcp_newtcpcb(): the controller's cb_init comes before there are addresses, a segment size or a peer. */
static int subflow_attach(struct model_subflow *sf, struct cc_algo *algo)
{
	int error;

	model_subflow_enter(sf);
	memset(&sf->tp.t_ccv, 0, sizeof(sf->tp.t_ccv));
	MODEL_CCV_BIND(&sf->tp.t_ccv, &sf->tp);
	sf->tp.t_cc = algo;
	cc_refer(algo);
	error = algo->cb_init ? algo->cb_init(&sf->tp.t_ccv, NULL) : 0;
	if (error != 0) {
		sf->tp.t_cc = NULL;
		cc_release(algo);
	}
	model_subflow_leave(sf);
	return error;
}

static void subflow_detach(struct model_subflow *sf)
{
	struct cc_algo *algo = sf->tp.t_cc;

	if (algo == NULL)
		return;
	model_subflow_enter(sf);
	if (algo->cb_destroy != NULL)
		algo->cb_destroy(&sf->tp.t_ccv);
	if (sf->tp.t_ccv.cc_data != NULL)
		sf->tp.t_ccv.cc_data = NULL;
	sf->tp.t_cc = NULL;
	cc_release(algo);
	model_subflow_leave(sf);
}

static struct model_subflow *subflow_new(unsigned mss_bytes)
{
	struct model_subflow *sf = host_calloc(1, sizeof(*sf) + __alignof(struct tcpcb));
	struct tcpcb *tp = &sf->tp;
	int vnet = curvnet != vnet0;

	infos[vnet].ipi_vnet = curvnet;
	sf->so.so_vnet = curvnet;
	sf->so.so_pcb = tptoinpcb(tp);
	tptoinpcb(tp)->inp_socket = &sf->so;
	tptoinpcb(tp)->inp_pcbinfo = &infos[vnet];
	tptoinpcb(tp)->inp_cred = model_self()->td.td_ucred;
	/* not by rw_init(), which counts what the module must destroy */
	tptoinpcb(tp)->inp_lock.lock_object = (struct lock_object){ "tcpinp", LO_INITIALIZED | LO_RECURSABLE | LO_DUPOK, 0,
	    NULL };
	tptoinpcb(tp)->inp_lock.rw_lock = RW_UNLOCKED;
	TAILQ_INIT(&tp->snd_holes);
	tp->t_maxseg = mss_bytes;
	tp->t_flags = TF_SACK_PERMIT;
	tp->snd_cwnd = tp->snd_ssthresh = TCP_MAXWIN << TCP_MAX_WINSHIFT;
	tp->snd_scale = 14;
	tp->snd_wnd = tp->max_sndwnd = 1U << 29;
	tp->t_rttvar = ((3 * hz) << TCP_RTTVAR_SHIFT) >> 1;
	tp->t_rttlow = 0;
	tp->t_rttmin = 30;
	tp->t_rxtcur = 1000;
	tp->iss = tp->snd_una = tp->snd_nxt = tp->snd_max = tp->snd_recover = 1;
	tp->t_state = TCPS_CLOSED;
	return sf;
}

/* *subflow is -1 where cb_init refused the connection, as an allocation failed. */
int model_subflow_create(const struct model_address *local, const struct model_address *foreign, unsigned mss_bytes,
    host_word conn_id, int *subflow)
{
	struct cc_algo *algo = model_cc();
	struct model_subflow *sf;
	int error;

	*subflow = -1;
	if (algo == NULL)
		return ENOENT;
	sf = subflow_new(mss_bytes);
	sf->index = __atomic_fetch_add(&subflows_count, 1, __ATOMIC_RELAXED);
	if (sf->index >= SUBFLOWS_MAX)
		host_die("fault: more connections than the model counts");
	sf->conn_id = conn_id;
	error = subflow_attach(sf, algo);
	if (error != 0) {
		host_release(sf);
		return error;
	}
	subflows[sf->index] = sf;
	*subflow = sf->index;
	if (foreign->port != 0) {		/* without a peer it stays a listener: no conn_init ever comes */
		model_subflow_enter(sf);
		address_fill(tptoinpcb(&sf->tp), local, foreign);
		model_tcp_establish(sf);
		model_subflow_leave(sf);
	}
	return 0;
}

int model_subflow_close(int index)
{
	struct model_subflow *sf = model_subflow(index);

	if (sf == NULL)
		return ENOENT;
	subflow_detach(sf);
	subflow_free(sf);
	return 0;
}

/*
 * tcp_set_cc_mod(): cb_init of the new controller fills a cc_var on the stack, with memory that the kernel brings and
 * cb_destroy frees; only then does the old controller go. Both may be the same.
 */
static int subflow_replace(struct model_subflow *sf, struct cc_algo *algo, void *memory)
{
	struct tcpcb *tp = &sf->tp;
	struct cc_var fresh;
	int error;

	model_subflow_enter(sf);
	memset(&fresh, 0, sizeof(fresh));
	MODEL_CCV_BIND(&fresh, tp);
	error = algo->cb_init ? algo->cb_init(&fresh, memory) : 0;
	if (error != 0) {
		model_subflow_leave(sf);
		free(memory, M_CC_MEM);
		return error;
	}
	if (tp->t_cc != NULL) {
		if (tp->t_cc->cb_destroy != NULL)
			tp->t_cc->cb_destroy(&tp->t_ccv);
		cc_release(tp->t_cc);
	}
	memcpy(&tp->t_ccv, &fresh, sizeof(fresh));
	tp->t_cc = algo;
	cc_refer(algo);
	if (TCPS_HAVEESTABLISHED(tp->t_state) && algo->conn_init != NULL)
		algo->conn_init(&tp->t_ccv);
	model_subflow_leave(sf);
	return 0;
}

int model_subflow_switch(int index, int is_on)
{
	struct model_subflow *sf = model_subflow(index);
	struct cc_algo *algo = model_cc();
	size_t size;
	void *memory = NULL;

	if (sf == NULL || (is_on && algo == NULL))
		return sf == NULL ? ENOENT : EINVAL;
	if (!is_on) {
		subflow_detach(sf);
		return 0;
	}
	size = algo->cc_data_sz ? algo->cc_data_sz() : 0;
	if (size > 0)
		memory = malloc(size, M_CC_MEM, M_WAITOK);
	return subflow_replace(sf, algo, memory);
}

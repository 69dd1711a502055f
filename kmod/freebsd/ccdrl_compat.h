/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What differs between FreeBSD 13, 14 and 15, told apart by the macros that came with each change, not by version
 * numbers: stable branches get changes in an order of their own.
 */
#ifndef CCDRL_COMPAT_H
#define CCDRL_COMPAT_H

/* 14: the caller of cb_init may bring memory, and asks cc_data_sz how much. */
#ifdef CC_MODULE_BEING_REMOVED
#define	CCDRL_HAS_CC_DATA_SZ	1
#endif

/* 14: rounds and RTT samples, for stacks that keep them (RACK). */
#ifdef CCF_HYSTART_ALLOWED
#define	CCDRL_HAS_RTT_SAMPLES	1
#endif

/* 15: one type for ACKs and signals, whose values are enumerators. */
#ifdef CC_ACK
typedef uint16_t ccdrl_ack_t;
typedef uint32_t ccdrl_signal_t;
#else
typedef ccsignal_t ccdrl_ack_t;
typedef ccsignal_t ccdrl_signal_t;
#endif

/* 14: the inpcb is part of the tcpcb; 13 points to it. */
static inline struct inpcb *
ccdrl_inpcb(struct tcpcb *tp)
{
#ifdef tptoinpcb
	return (tptoinpcb(tp));
#else
	return (tp->t_inpcb);
#endif
}

/* The tcpcb of a cc_var, whose pointer to it has two names: CCV() knows the right one. */
static inline struct tcpcb *
ccdrl_tcpcb(struct cc_var *ccv)
{
	return (__containerof(&CCV(ccv, snd_cwnd), struct tcpcb, snd_cwnd));
}

/* 14: srtt and rttvar in ticks, with fractions, or in plain microseconds (RACK, BBR). */
static inline bool
ccdrl_has_usec_timers(const struct tcpcb *tp __unused)
{
#ifdef TCP_TMR_GRANULARITY_USEC
	return (tp->t_tmr_granularity == TCP_TMR_GRANULARITY_USEC);
#else
	return (false);
#endif
}

/*
 * The network stack of a connection and of a caller; NULL where there is but one. inp_vnet and TD_TO_VNET() follow
 * pointers that a tcpcb without a pcbinfo or a thread without credentials, as tests may build them, do not have.
 */
static inline struct vnet *
ccdrl_inpcb_vnet(const struct inpcb *inp __unused)
{
#ifdef VIMAGE
	return (inp->inp_pcbinfo != NULL ? inp->inp_vnet : NULL);
#else
	return (NULL);
#endif
}

static inline struct vnet *
ccdrl_thread_vnet(const struct thread *td __unused)
{
#ifdef VIMAGE
	return (td->td_ucred != NULL ? TD_TO_VNET(td) : NULL);
#else
	return (NULL);
#endif
}

#endif /* CCDRL_COMPAT_H */

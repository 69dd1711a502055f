/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A connection of the model: what the two halves of its TCP share.
 */
#ifndef MODEL_TCP_H
#define MODEL_TCP_H

struct model_subflow {
	struct tcpcb tp;
	struct socket so;
	host_word conn_id;
	int index;
};

/* 15 dropped the indirection over transports, and made the signals' type an enumeration. */
#if __FreeBSD_version >= 1500000
#define MODEL_CCV_BIND(ccv, t) ((ccv)->tp = (t))
#else
#define MODEL_CCV_BIND(ccv, t) ((ccv)->type = IPPROTO_TCP, (ccv)->ccvc.tcp = (t))
#endif

struct model_subflow *model_subflow(int index);
void model_subflow_enter(struct model_subflow *sf);
void model_subflow_leave(struct model_subflow *sf);
void model_tcp_establish(struct model_subflow *sf);	/* cc_conn_init() */

#endif /* MODEL_TCP_H */

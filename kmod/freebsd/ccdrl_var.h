/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What the parts of the FreeBSD module share: the subflow, the table, the bounds.
 *
 *   ccdrl_cc.c          the controller `ccdrl` of mod_cc(9): its callbacks
 *   ccdrl_window.c      leases and the in-kernel fallback: what sets the window
 *   ccdrl_sample.c      from a tcpcb to a record
 *   ccdrl_connection.c  the subflows of one MPTCP connection, for the fallback
 *   ccdrl_table.c       subflows by id, from cb_init to cb_destroy
 *   ccdrl_records.c     records out, actions in
 *   ccdrl_syscall.c     drl_get_buffer and drl_update_cwnd
 *   ccdrl_sysctl.c      net.inet.tcp.cc.ccdrl
 *   ccdrl_mptcp.c       whose subflow a tcpcb is
 *
 * Locks, in the order in which they are taken:
 *   inpcb       held by the stack around every callback
 *   stripe      a share of the subflows: their records, leases and lists
 *   connection  a share of the MPTCP connections
 * No two of a kind are ever held at once, and none is held where the kernel may sleep or touch user memory. The calls
 * never read a tcpcb: callbacks write what they show into the record, under the stripe's lock.
 */
#ifndef CCDRL_VAR_H
#define CCDRL_VAR_H

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/jail.h>
#include <sys/kernel.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/module.h>
#include <sys/mutex.h>
#include <sys/proc.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/socketvar.h>
#include <sys/sysctl.h>
#include <sys/ucred.h>

#include <machine/atomic.h>

#include <net/vnet.h>

#include <netinet/in.h>
#include <netinet/in_pcb.h>
#include <netinet/tcp.h>
#include <netinet/tcp_seq.h>
#include <netinet/tcp_var.h>
#include <netinet/cc/cc.h>
#include <netinet/cc/cc_module.h>

#include "ccdrl.h"
#include "ccdrl_compat.h"

#define	CCDRL_CWND_MAX_BYTES	(1U << 30)	/* highest maximum that may be set */
#define	CCDRL_SUBFLOWS_MAX	(1U << 20)
#define	CCDRL_SSTHRESH_UNSET	(TCP_MAXWIN << TCP_MAX_WINSHIFT)	/* tcp_newtcpcb() */
#define	CCDRL_US_PER_S		1000000ULL

struct ccdrl_connection;

/* One tcpcb under this controller. Locking: (c) constant, (i) inpcb, (s) stripe; (i,s) written under both. */
struct ccdrl_subflow {
	LIST_ENTRY(ccdrl_subflow) hash;		/* (s) by id, while listed */
	TAILQ_ENTRY(ccdrl_subflow) link;	/* (s) changed or closed */
	struct vnet *vnet;			/* (c) since begun */
	struct drl_subflow_sample sample;	/* (i,s) the record */
	uint64_t rto_seq;			/* (i,s) record of the last RTO: older answers are stale */
	uint64_t action_seq;			/* (s) of the newest action taken */
	uint64_t pending_end_us;		/* (s) an action taken, but not applied; 0: none */
	uint64_t lease_end_us;			/* (i,s) 0: no lease */
	uint32_t pending_bytes;			/* (s) its window */
	uint32_t target_bytes;			/* (i,s) the lease's window */
	bool is_listed;				/* (i,s) calls can find it */
	bool is_changed;			/* (s) on the stripe's list of these */
	bool has_begun;				/* (i) established: has a record */

	struct ccdrl_connection *connection;	/* (i) NULL: alone */
	uint32_t member;			/* (i) index there */
	uint32_t rest_q8;			/* (i) what growth lacks to a byte, 1/256 byte */
	bool is_in_loss;			/* (i) from an RTO until what was out then is acknowledged */
	bool has_round;				/* (i) a delivery rate is being measured */
	bool is_round_over;			/* (i) the stack says that a round trip is over */
	bool is_round_app_limited;		/* (i) */
	bool has_rtt_hook;			/* (i) the stack hands us RTT samples */
	tcp_seq loss_end;			/* (i) snd_max at the RTO */
	tcp_seq snd_max;			/* (i) as last seen */
	tcp_seq round_end;			/* (i) snd_max when the round began */
	int srtt_raw;				/* (i) t_srtt as last seen */
	uint64_t new_bytes;			/* (i) payload sent for the first time */
	uint64_t sent_base;			/* (i) the stack's count when the record began */
	uint64_t acked_bytes;			/* (i) acknowledged in order */
	uint64_t round_us;			/* (i) start of the round */
	uint64_t round_delivered;		/* (i) delivered_bytes then */
	uint64_t min_rtt_until_us;		/* (i) end of the present half of min RTT's window */
	uint32_t min_rtt_us[2];			/* (i) lowest of this half and the last; UINT32_MAX: none */
};

TAILQ_HEAD(ccdrl_list, ccdrl_subflow);

/* What an administrator reads and sets (ccdrl_sysctl.c), at any time: each use reads a bound once. */
struct ccdrl_bounds {
	uint32_t cwnd_max_bytes;
	uint32_t lease_max_us;
	uint32_t subflows_max;
	uint32_t closed_max;
};

struct ccdrl_counts {
	struct drl_counters actions;
	uint64_t unlisted;	/* subflows beyond subflows_max: in fallback for life */
	uint64_t no_memory;	/* cb_init refused, or a connection's subflows left uncoupled */
	uint64_t closed_lost;	/* CLOSED records that nobody read in time */
};

extern struct ccdrl_bounds ccdrl_bounds;
extern struct ccdrl_counts ccdrl_counts;
extern struct cc_algo ccdrl_cc_algo;

#define	CCDRL_BOUND_GET(field)	atomic_load_32(&ccdrl_bounds.field)
#define	CCDRL_COUNT(field)	atomic_add_64(&ccdrl_counts.field, 1)

/* ccdrl_cc.c */
int	ccdrl_unload_check(int type);

/* ccdrl_window.c; the caller holds inpcb and stripe */
uint32_t ccdrl_mss(const struct tcpcb *tp);
void	ccdrl_window_bound(struct tcpcb *tp);
void	ccdrl_lease_poll(struct ccdrl_subflow *sf, struct tcpcb *tp, uint64_t now_us);
void	ccdrl_lease_end(struct ccdrl_subflow *sf);
void	ccdrl_window_ack(struct ccdrl_subflow *sf, struct tcpcb *tp, uint32_t acked_bytes, bool may_grow);
void	ccdrl_window_restart(struct ccdrl_subflow *sf, struct tcpcb *tp);
void	ccdrl_window_recovered(struct ccdrl_subflow *sf, struct tcpcb *tp);
uint32_t ccdrl_window_reduced(const struct ccdrl_subflow *sf, const struct tcpcb *tp);
void	ccdrl_window_collapse(struct ccdrl_subflow *sf, struct tcpcb *tp);

/* ccdrl_sample.c; the caller holds inpcb and stripe */
void	ccdrl_sample_begin(struct ccdrl_subflow *sf, struct tcpcb *tp);
uint32_t ccdrl_sample_acked(struct ccdrl_subflow *sf, const struct tcpcb *tp, uint32_t bytes);
void	ccdrl_sample_rtt(struct ccdrl_subflow *sf, uint32_t rtt_us, uint64_t now_us);
void	ccdrl_sample_write(struct ccdrl_subflow *sf, struct tcpcb *tp, tcp_seq una, uint64_t now_us);
uint16_t ccdrl_state(const struct ccdrl_subflow *sf, const struct tcpcb *tp);
uint32_t ccdrl_inflight(const struct ccdrl_subflow *sf, const struct tcpcb *tp, tcp_seq una);
uint64_t ccdrl_now_us(void);

/* ccdrl_connection.c; the caller holds inpcb and stripe */
void	ccdrl_connection_publish(struct ccdrl_subflow *sf, struct tcpcb *tp);
void	ccdrl_connection_leave(struct ccdrl_subflow *sf);
uint64_t ccdrl_connection_increase_q8(const struct ccdrl_subflow *sf, const struct tcpcb *tp, uint32_t acked_bytes);
void	ccdrl_connections_init(void);
void	ccdrl_connections_destroy(void);

/* ccdrl_table.c */
struct ccdrl_subflow *ccdrl_subflow_alloc(void);
void	ccdrl_subflow_free(struct ccdrl_subflow *sf);
void	ccdrl_subflow_lock(const struct ccdrl_subflow *sf);
void	ccdrl_subflow_unlock(const struct ccdrl_subflow *sf);
void	ccdrl_subflow_list(struct ccdrl_subflow *sf);
void	ccdrl_subflow_publish(struct ccdrl_subflow *sf, enum drl_event event);
void	ccdrl_subflow_close(struct ccdrl_subflow *sf);
uint32_t ccdrl_subflows_attached(void);
uint32_t ccdrl_subflows_listed(void);

/* ccdrl_records.c */
uint32_t ccdrl_records_pending(void);
uint32_t ccdrl_records_take(struct vnet *vnet, struct drl_subflow_sample *samples, uint32_t capacity,
	    struct ccdrl_list *closed);
void	ccdrl_records_restore(const struct drl_subflow_sample *samples, uint32_t n, struct ccdrl_list *closed);
void	ccdrl_records_free(struct ccdrl_list *closed);
enum drl_action_result ccdrl_action_take(struct vnet *vnet, const struct drl_cwnd_action *action);

/* ccdrl_mptcp.c */
uint64_t ccdrl_conn_id(const struct tcpcb *tp);

MALLOC_DECLARE(M_CCDRL);

#endif /* CCDRL_VAR_H */

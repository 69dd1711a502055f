/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Whose subflow a tcpcb is. FreeBSD has no MPTCP of its own: every connection is alone, and the fallback is Reno. For a
 * kernel with MPTCP this file knows the 13.1 one (make CCDRL_MPTCP=yes); for another, add a file with a function of the
 * same name to SRCS, which ld(1) takes instead of this weak one. kldload(8) would not: to it, what a module defines is
 * the module's own, weak or not.
 */
#include "ccdrl_var.h"

#ifdef CCDRL_MPTCP
#include <sys/mbuf.h>
#include <sys/protosw.h>
#include <sys/rwlock.h>
#include <sys/taskqueue.h>
#include <netinet/mptcp_pcb.h>
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunused-variable"	/* a table in the header, for its own files */
#include <netinet/mptcp_var.h>
#pragma clang diagnostic pop
#endif

/*
 * A number that the live subflows of a connection share, 0 for none (yet). Called with the inpcb's lock held; asked
 * again with every ACK until it is known, as a token is only agreed on during the handshake.
 */
__weak_symbol uint64_t
ccdrl_conn_id(const struct tcpcb *tp __unused)
{
#ifdef CCDRL_MPTCP
	return (tp->t_mpcb != NULL ? tp->t_mpcb->local_token : 0);
#else
	return (0);
#endif
}

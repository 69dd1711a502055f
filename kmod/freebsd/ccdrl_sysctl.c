/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * net.inet.tcp.cc.ccdrl: the administrator's bounds, and what the module counted. They hold for all network stacks;
 * only the host's administrator may set them.
 */
#include "ccdrl_var.h"

struct ccdrl_bounds ccdrl_bounds = {
	.cwnd_max_bytes = CCDRL_CWND_MAX_BYTES,
	.lease_max_us = DRL_LEASE_MAX_US,
	.subflows_max = 65536,
	.closed_max = 16384,
};
struct ccdrl_counts ccdrl_counts;

/* A bound: arg1 is its place, arg2 the highest value; the lowest is 1. */
static int
bound_handle(SYSCTL_HANDLER_ARGS)
{
	uint32_t value = atomic_load_32((uint32_t *)arg1);
	int error;

	error = sysctl_handle_32(oidp, &value, 0, req);
	if (error != 0 || req->newptr == NULL)
		return (error);
	if (value == 0 || value > (uintmax_t)arg2)
		return (EINVAL);
	atomic_store_32((uint32_t *)arg1, value);
	return (0);
}

static int
subflows_handle(SYSCTL_HANDLER_ARGS)
{
	uint32_t value = ccdrl_subflows_listed();

	return (sysctl_handle_32(oidp, &value, 0, req));
}

static int
pending_handle(SYSCTL_HANDLER_ARGS)
{
	uint32_t value = ccdrl_records_pending();

	return (sysctl_handle_32(oidp, &value, 0, req));
}

SYSCTL_NODE(_net_inet_tcp_cc, OID_AUTO, ccdrl, CTLFLAG_RD | CTLFLAG_MPSAFE, NULL,
    "Congestion control by an agent in user space");

#define	CCDRL_BOUND(name, high, descr)						\
	SYSCTL_PROC(_net_inet_tcp_cc_ccdrl, OID_AUTO, name,			\
	    CTLTYPE_U32 | CTLFLAG_RWTUN | CTLFLAG_MPSAFE, &ccdrl_bounds.name,	\
	    high, bound_handle, "IU", descr)

CCDRL_BOUND(cwnd_max_bytes, CCDRL_CWND_MAX_BYTES, "Highest window of an action and of the fallback (bytes)");
CCDRL_BOUND(lease_max_us, DRL_LEASE_MAX_US, "Longest lease of an action (microseconds)");
CCDRL_BOUND(subflows_max, CCDRL_SUBFLOWS_MAX, "Subflows that agents see; further ones are in fallback for life");
CCDRL_BOUND(closed_max, CCDRL_SUBFLOWS_MAX, "Records of closed subflows kept for a reader");

SYSCTL_UINT(_net_inet_tcp_cc_ccdrl, OID_AUTO, abi, CTLFLAG_RD, SYSCTL_NULL_UINT_PTR, DRL_ABI_VERSION,
    "Version of the interface");
SYSCTL_PROC(_net_inet_tcp_cc_ccdrl, OID_AUTO, subflows, CTLTYPE_U32 | CTLFLAG_RD | CTLFLAG_MPSAFE, NULL, 0,
    subflows_handle, "IU", "Live subflows that agents see");
SYSCTL_PROC(_net_inet_tcp_cc_ccdrl, OID_AUTO, pending, CTLTYPE_U32 | CTLFLAG_RD | CTLFLAG_MPSAFE, NULL, 0,
    pending_handle, "IU", "Records that wait for a reader");

#define	CCDRL_COUNTER(name, field, descr)					\
	SYSCTL_UQUAD(_net_inet_tcp_cc_ccdrl, OID_AUTO, name, CTLFLAG_RD,	\
	    &ccdrl_counts.field, 0, descr)

CCDRL_COUNTER(applied, actions.applied, "Windows taken as asked");
CCDRL_COUNTER(clamped, actions.clamped, "Windows taken after clamping");
CCDRL_COUNTER(stale, actions.stale, "Actions refused: from before a time-out or older than one taken");
CCDRL_COUNTER(unknown, actions.unknown, "Actions refused: no such live subflow");
CCDRL_COUNTER(malformed, actions.malformed, "Actions refused: malformed");
CCDRL_COUNTER(expired, actions.expired, "Leases that ran out");
CCDRL_COUNTER(unlisted, unlisted, "Subflows that agents do not see, being too many");
CCDRL_COUNTER(no_memory, no_memory, "Allocations that failed");
CCDRL_COUNTER(closed_lost, closed_lost, "Records of closed subflows dropped before they were read");

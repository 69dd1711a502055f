/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * Proportional rate reduction (RFC 6937) in segments: the window after an ACK in recovery. Integers and nothing of the
 * kernel's, so that the tests compile the same lines.
 */
#ifndef CCDRL_PRR_H
#define CCDRL_PRR_H

#ifndef CCDRL_CFFI
#include "ccdrl.h"
#endif

enum prr_limits {
	PRR_WINDOW_MAX = 0x7fffffff,	/* saturates: a window of one that became many is divided by one */
};

struct prr_ack {
	uint32_t inflight;		/* RFC 6675 pipe, after the ACK */
	uint32_t ssthresh;
	uint32_t prior_cwnd;		/* RecoverFS, as Linux takes it: the window before the reduction */
	uint32_t prr_delivered;		/* since the reduction began, this ACK included */
	uint32_t prr_out;		/* sent since the reduction began */
	uint32_t delivered;		/* by this ACK */
	uint32_t is_progress;		/* the ACK advances and marks nothing lost */
};

#ifndef CCDRL_CFFI
/*
 * Above ssthresh, in proportion to what was delivered; below, the slow start reduction bound while the ACK makes progress,
 * else packet conservation. Without anything sent yet, at least the fast retransmit itself.
 */
static inline uint32_t prr_window(const struct prr_ack *ack)
{
	int64_t inflight = ack->inflight, ssthresh = ack->ssthresh, room;
	uint32_t prior = ack->prior_cwnd > 0 ? ack->prior_cwnd : 1;

	if (inflight > ssthresh) {
		room = (int64_t)(((uint64_t)ack->ssthresh * ack->prr_delivered + prior - 1) / prior) - ack->prr_out;
	} else {
		room = (int64_t)ack->prr_delivered - ack->prr_out;
		if (room < ack->delivered)
			room = ack->delivered;
		if (ack->is_progress)
			room++;
		if (room > ssthresh - inflight)
			room = ssthresh - inflight;
	}
	if (room < 1)
		room = ack->prr_out == 0;
	inflight += room;
	return inflight < PRR_WINDOW_MAX ? (uint32_t)inflight : PRR_WINDOW_MAX;
}
#endif

#endif /* CCDRL_PRR_H */

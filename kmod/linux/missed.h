/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Callbacks that never came. Some kernels leave BPF programs out in certain contexts (one that was seen does while process 1 is
 * current, which it is now and then when a packet arrives), and take for ssthresh and undo_cwnd whatever stands where the result
 * would. A window of millions of segments came of that, and a socket's end that nobody told. So a controller remembers what it
 * left behind, and puts right what cannot have come of it. Integers and nothing of the kernel's: the tests compile the same lines.
 */
#ifndef CCDRL_MISSED_H
#define CCDRL_MISSED_H

#ifndef CCDRL_CFFI
#include "ccdrl.h"
#endif

enum missed_limits {
	MISSED_SLACK = 10,		/* segments that a window may grow by without an ACK: the initial window, once more */
	MISSED_INFINITE = 0x7fffffff,	/* an ssthresh that no loss has set yet */
};

/* Windows in segments. */
struct missed_window {
	uint32_t cwnd;
	uint32_t ssthresh;
	uint32_t prior_cwnd;		/* before the newest reduction; an undo restores it */
	uint32_t seen_cwnd;		/* what our last callback left; 0: there was none */
	uint32_t delivered;		/* segments delivered since then */
	uint32_t is_entry_missed;	/* the kernel reduces the window, and did not ask how far */
	uint32_t wanted_ssthresh;	/* what it would have been told */
};

#ifndef CCDRL_CFFI
/* The highest window that can have come of what was left: no kernel adds more than was delivered, or restores more than was. */
static inline uint32_t missed_bound(const struct missed_window *window)
{
	uint64_t bound = window->seen_cwnd > window->prior_cwnd ? window->seen_cwnd : window->prior_cwnd;

	bound += (uint64_t)window->delivered + MISSED_SLACK;
	return bound < MISSED_INFINITE ? (uint32_t)bound : MISSED_INFINITE;
}

/* Puts cwnd and ssthresh right; returns whether anything was wrong. */
static inline uint32_t missed_repair(struct missed_window *window)
{
	uint32_t bound = missed_bound(window), is_wrong = 0;

	if (window->seen_cwnd == 0)
		return 0;
	if (window->is_entry_missed && window->ssthresh != window->wanted_ssthresh) {
		window->ssthresh = window->wanted_ssthresh;
		is_wrong = 1;
	}
	if (window->cwnd > bound || window->cwnd == 0) {
		window->cwnd = window->seen_cwnd;
		if (window->ssthresh > bound || window->ssthresh == 0)
			window->ssthresh = window->seen_cwnd;
		is_wrong = 1;
	}
	return is_wrong;
}
#endif

#endif /* CCDRL_MISSED_H */

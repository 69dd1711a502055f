/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The window rules of LIA, OLIA and BALIA in integers, for a kernel: no 128-bit products, bounded loops, no state. The same
 * lines run in BPF and, for tests, in user space.
 *
 *   LIA    RFC 6356 section 3, through the arithmetic that every fallback shares (ccdrl_fallback.h)
 *   OLIA   Khalili, Gast, Popovic, Le Boudec, "MPTCP is not Pareto-Optimal", CoNEXT 2012;
 *          draft-khalili-mptcp-congestion-control-05 section 2
 *   BALIA  Peng, Walid, Hwang, Low, "Multipath TCP: Analysis, Design, and Implementation", IEEE/ACM ToN 2016;
 *          draft-walid-mptcp-congestion-control-04 section 2
 *
 * Each rule sees one row per counted subflow, the caller's first. Windows are in 1/1024 of the caller's segment, so that
 * subflows of another MSS (IPv6 beside IPv4) enter as bytes would. RTTs enter as the ratio q = r_self / r_j in Q16: the
 * rules are homogeneous in time, and products of raw RTTs underflow at large ones. With x_j = w_j q_j:
 *
 *   gain    what the window gains for one segment ACKed, in 2^-32 segments; OLIA's may be negative
 *   share   x_j / sum x, in Q20
 *
 * Resolution: a gain is off by 2^-32 segments and by 2^-20 / share of itself, that of LIA by 2^-18 / share.
 */
#ifndef CCDRL_COUPLING_H
#define CCDRL_COUPLING_H

#ifndef CCDRL_CFFI
#include "ccdrl.h"
#include "ccdrl_fallback.h"
#endif

enum coupling_limits {
	COUPLING_ROWS = 9,			/* the caller, and eight siblings (DRL_SUBFLOWS_MAX) */
	COUPLING_SEGMENT_SHIFT = 10,
	COUPLING_WINDOW_MAX = (1 << 27) - 1,	/* 131072 segments; larger windows count as this */
	COUPLING_ACKED_MAX = 1 << 20,		/* segments credited for one ACK */
};

struct coupling_row {
	uint32_t window;		/* 1/1024 of the caller's segment; in fast recovery ssthresh (RFC 6356 section 3) */
	uint32_t srtt_us;		/* 0: no such subflow, or no sample yet; it does not count */
	uint32_t interval_segments;	/* OLIA's l: the larger of what was ACKed between the last two losses and since */
};

struct coupling_rows {
	struct coupling_row row[COUPLING_ROWS];	/* the caller's first */
};

#ifndef CCDRL_CFFI

/* The steps of a rule that walk over the rows. A BPF program makes them global functions, because the verifier judges each of
   those by itself: inlined, the branches of their loops multiply. It lets in NULL where a pointer goes. */
#ifndef COUPLING_STEP
#define COUPLING_STEP static inline
#endif

CCDRL_STATIC_ASSERT((int)COUPLING_ROWS == (int)DRL_SUBFLOWS_MAX + 1, "a row for the caller and for each sibling");
CCDRL_STATIC_ASSERT((int)COUPLING_WINDOW_MAX < (int)CCDRL_FALLBACK_CWND_MAX, "no cap but this one");

/* A window of `segments` of `mss_bytes` in the unit of a caller whose segments have `own_mss_bytes`; never 0, and the caller's
   own never below one segment, which bounds every gain. */
static inline uint32_t coupling_window(uint32_t segments, uint32_t mss_bytes, uint32_t own_mss_bytes)
{
	uint64_t window = (uint64_t)(segments > 0 ? segments : 1) << COUPLING_SEGMENT_SHIFT;

	if (window > COUPLING_WINDOW_MAX)
		window = COUPLING_WINDOW_MAX;
	if (mss_bytes != own_mss_bytes && own_mss_bytes != 0)
		window = window * (mss_bytes < 65536 ? mss_bytes : 65536) / own_mss_bytes;
	if (window > COUPLING_WINDOW_MAX)
		window = COUPLING_WINDOW_MAX;
	return window > 0 ? (uint32_t)window : 1;
}

/* How many subflows count. The coupled rules are for two or more; one alone, or a caller without an RTT, is Reno. */
COUPLING_STEP uint32_t coupling_count(const struct coupling_rows *rows)
{
	uint32_t n = 0, i;

	for (i = 0; rows && i < COUPLING_ROWS; i++)
		n += rows->row[i].srtt_us != 0;
	return n;
}

/* x of one row in Q16 of a window's unit: at most 2^53. Ratios are kept in [2^-10, 2^10], as the fallback keeps them. */
static inline uint64_t coupling_rate_q16(const struct coupling_row *row, uint32_t own_srtt_us)
{
	uint64_t ratio;

	if (row->srtt_us == 0)
		return 0;
	ratio = ((uint64_t)own_srtt_us << CCDRL_FALLBACK_RATIO_SHIFT) / row->srtt_us;
	if (ratio < CCDRL_FALLBACK_RATIO_MIN)
		ratio = CCDRL_FALLBACK_RATIO_MIN;
	if (ratio > CCDRL_FALLBACK_RATIO_MAX)
		ratio = CCDRL_FALLBACK_RATIO_MAX;
	return row->window * ratio;
}

/* Sum and largest of x. The caller's own x is its window, so that neither is 0. */
static inline uint64_t coupling_rate_sum_q16(const struct coupling_rows *rows, uint64_t *max_q16)
{
	uint64_t sum_q16 = 0, rate_q16;
	uint32_t i;

	*max_q16 = 0;
	for (i = 0; i < COUPLING_ROWS; i++) {
		rate_q16 = coupling_rate_q16(&rows->row[i], rows->row[0].srtt_us);
		sum_q16 += rate_q16;
		*max_q16 = rate_q16 > *max_q16 ? rate_q16 : *max_q16;
	}
	return sum_q16;
}

static inline uint64_t coupling_share_q20(uint64_t rate_q16, uint64_t sum_q16)
{
	/* where the product would not fit, the sum is so large that its low 20 bits say nothing */
	return rate_q16 < (1ULL << 43) ? (rate_q16 << 20) / sum_q16 : rate_q16 / (sum_q16 >> 20);
}

/* RFC 5681 section 3.1: one segment a window. No coupled rule grows faster. */
static inline uint64_t coupling_reno_gain(const struct coupling_rows *rows)
{
	return (1ULL << (32 + COUPLING_SEGMENT_SHIFT)) / rows->row[0].window;
}

/* RFC 6356 section 3: min(max(w q^2) / (sum w q)^2, 1 / w). */
COUPLING_STEP int64_t coupling_lia_gain(const struct coupling_rows *rows)
{
	struct ccdrl_fallback_sibling siblings[COUPLING_ROWS];
	uint32_t i;

	if (!rows)
		return 0;
	for (i = 0; i < COUPLING_ROWS; i++) {
		siblings[i].cwnd_bytes = rows->row[i].window;
		siblings[i].srtt_us = rows->row[i].srtt_us;
	}
	/* The increase is linear in acked times MSS. For the largest product it takes, 2^20 times 2^14, and windows in
	   1/1024 segment, its 1/256 are 2^-32 segments a segment ACKed. */
	return (int64_t)ccdrl_fallback_increase_q8(siblings, COUPLING_ROWS, 0, CCDRL_FALLBACK_ACKED_MAX, 1 << 14);
}

/* l r^2 for cross-multiplication, as high * 2^32 + low: the order of l_a / r_a^2 is exact, and so are its ties. */
static inline uint64_t coupling_product(uint32_t interval, uint32_t srtt_us, uint32_t *low)
{
	uint64_t product = (uint64_t)interval * srtt_us;
	uint64_t bottom = (product & 0xffffffff) * srtt_us;

	*low = (uint32_t)bottom;
	return (product >> 32) * srtt_us + (bottom >> 32);
}

/* The quality of a path, l / r^2 as in Linux's OLIA (the paper has l^2 / r): l in the upper half, r in the lower. */
static inline uint64_t coupling_olia_quality(const struct coupling_row *row)
{
	return (uint64_t)row->interval_segments << 32 | row->srtt_us;
}

static inline uint32_t coupling_olia_is_as_good(uint64_t a, uint64_t b)
{
	uint32_t low_a, low_b;
	uint64_t high_a = coupling_product((uint32_t)(a >> 32), (uint32_t)b, &low_a);
	uint64_t high_b = coupling_product((uint32_t)(b >> 32), (uint32_t)a, &low_b);

	return high_a > high_b || (high_a == high_b && low_a >= low_b);
}

COUPLING_STEP uint64_t coupling_olia_best(const struct coupling_rows *rows)
{
	uint64_t best = 1, quality;
	uint32_t i;

	for (i = 0; rows && i < COUPLING_ROWS; i++) {
		quality = coupling_olia_quality(&rows->row[i]);
		if (rows->row[i].srtt_us != 0 && coupling_olia_is_as_good(quality, best))
			best = quality;
	}
	return best;
}

/* Windows of the same whole number of segments tie for the largest. */
COUPLING_STEP uint32_t coupling_olia_largest(const struct coupling_rows *rows)
{
	uint32_t largest = 0, segments, i;

	for (i = 0; rows && i < COUPLING_ROWS; i++) {
		segments = rows->row[i].window >> COUPLING_SEGMENT_SHIFT;
		if (rows->row[i].srtt_us != 0 && segments > largest)
			largest = segments;
	}
	return largest;
}

/* Sizes of the draft's sets: M, the largest windows, in the lower 16 bits, and B \ M, the best of the others, in the upper. */
COUPLING_STEP uint32_t coupling_olia_sets(const struct coupling_rows *rows, uint64_t best, uint32_t largest)
{
	uint32_t sizes = 0, i;

	for (i = 0; rows && i < COUPLING_ROWS; i++) {
		if (rows->row[i].srtt_us == 0)
			continue;
		if (rows->row[i].window >> COUPLING_SEGMENT_SHIFT >= largest)
			sizes += 1;
		else if (coupling_olia_is_as_good(coupling_olia_quality(&rows->row[i]), best))
			sizes += 1 << 16;
	}
	return sizes;
}

/* draft-khalili section 2: w / (sum w q)^2 + epsilon / w. While B \ M is not empty, epsilon moves window from M, -1 / (n |M|),
   to B \ M, 1 / (n |B \ M|). */
COUPLING_STEP int64_t coupling_olia_gain(const struct coupling_rows *rows)
{
	uint64_t max_q16, sum_q16, reno, gain, best;
	uint32_t largest, sizes, n;

	if (!rows)
		return 0;
	sum_q16 = coupling_rate_sum_q16(rows, &max_q16);
	reno = coupling_reno_gain(rows);
	gain = (coupling_share_q20((uint64_t)rows->row[0].window << 16, sum_q16) << 38) / sum_q16;
	gain = gain < reno ? gain : reno;
	n = coupling_count(rows);
	best = coupling_olia_best(rows);
	largest = coupling_olia_largest(rows);
	sizes = coupling_olia_sets(rows, best, largest);
	if (sizes >> 16 == 0)
		return (int64_t)gain;
	if (rows->row[0].window >> COUPLING_SEGMENT_SHIFT >= largest)
		return (int64_t)gain - (int64_t)(reno / (n * (sizes & 0xffff)));
	if (coupling_olia_is_as_good(coupling_olia_quality(&rows->row[0]), best))
		gain += reno / (n * (sizes >> 16));
	return (int64_t)gain;
}

/* draft-walid section 2: x / (r (sum x)^2) (1 + alpha)/2 (4 + alpha)/5 with alpha = max x / x. In shares a = x / sum and
   m = max / sum that is (a + m)(4 a + m) / (10 w): alpha, which has no bound, cancels. */
COUPLING_STEP int64_t coupling_balia_gain(const struct coupling_rows *rows)
{
	uint64_t max_q16, sum_q16, own, best, reno, gain;

	if (!rows)
		return 0;
	sum_q16 = coupling_rate_sum_q16(rows, &max_q16);
	own = coupling_share_q20((uint64_t)rows->row[0].window << 16, sum_q16);
	best = coupling_share_q20(max_q16, sum_q16);
	/* Q40 to Q32 and the window's unit of 2^-10: 2^2 in all */
	gain = ((own + best) * (4 * own + best) << 2) / (10 * (uint64_t)rows->row[0].window);
	reno = coupling_reno_gain(rows);
	return (int64_t)(gain < reno ? gain : reno);
}

/* RFC 5681 section 3.1, equation 4; LIA's decrease and OLIA's. */
static inline uint32_t coupling_half(uint32_t cwnd_segments)
{
	return cwnd_segments / 2 > 2 ? cwnd_segments / 2 : 2;
}

/* draft-walid section 2: a loss takes w/2 * min(alpha, 1.5). Half where nobody else counts. */
COUPLING_STEP uint32_t coupling_balia_ssthresh(const struct coupling_rows *rows, uint32_t cwnd_segments)
{
	uint64_t max_q16, own, alpha_q16 = 3 << 15, left;

	if (!rows || coupling_count(rows) < 2 || rows->row[0].srtt_us == 0)
		return coupling_half(cwnd_segments);
	(void)coupling_rate_sum_q16(rows, &max_q16);
	own = rows->row[0].window;
	if (max_q16 < own * (3 << 15))
		alpha_q16 = max_q16 / own;
	left = cwnd_segments * ((2ULL << 16) - alpha_q16) >> 17;
	return left > 2 ? (uint32_t)left : 2;
}

/* Adds gain times acked to a window of whole segments; what is left over stays in `fraction`, in 2^-32 segments, so that small
   gains are exact over time. The window stays in [1, clamp]. */
static inline uint32_t coupling_grow(uint32_t cwnd_segments, uint32_t *fraction, int64_t gain, uint32_t acked_segments,
    uint32_t clamp_segments)
{
	uint32_t acked = acked_segments < COUPLING_ACKED_MAX ? acked_segments : COUPLING_ACKED_MAX;
	int64_t change = gain * acked + *fraction;
	int64_t cwnd = cwnd_segments + (change >> 32);	/* rounds down, so that what is left over is not negative */

	*fraction = (uint32_t)change;
	if (cwnd >= 1 && cwnd <= clamp_segments)
		return (uint32_t)cwnd;
	*fraction = 0;
	return cwnd < 1 ? 1 : clamp_segments;
}

#endif /* !CCDRL_CFFI */

#endif /* CCDRL_COUPLING_H */

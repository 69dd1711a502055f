/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The fallback's arithmetic: what sets the window of a subflow without a valid lease. LIA (RFC 6356 section 3) over the live
 * subflows of the connection, Reno (RFC 5681 section 3.1) when there is one. Integers only, no 128-bit products, bounded
 * loops: the same lines run in the simulator, in BPF and in the FreeBSD kernel.
 *
 * Fixed point: an increase is in 1/256 byte (Q8), so that small increases at large windows are not lost. RTTs enter as the
 * ratio own / sibling in Q16, kept in [2^-10, 2^10]: ratios, because products of raw RTTs underflow at large RTTs.
 */
#ifndef CCDRL_FALLBACK_H
#define CCDRL_FALLBACK_H

/*
 * The verifier of BPF programs walks every path whose outcome it can predict from a value's bounds: with nine siblings that
 * takes for ever. Two byte swaps keep a value and lose what is known of it.
 */
#ifdef __bpf__
#define CCDRL_FALLBACK_FORGET(value) asm volatile("%0 = be64 %0\n%0 = be64 %0" : "+r"(value))
#else
#define CCDRL_FALLBACK_FORGET(value) ((void)0)
#endif

enum ccdrl_fallback_limits {
	CCDRL_FALLBACK_ACKED_MAX = 1 << 20,	/* bytes credited for one ACK */
	CCDRL_FALLBACK_CWND_MAX = 1 << 27,	/* bytes; larger windows count as this in the coupling */
	CCDRL_FALLBACK_RATIO_SHIFT = 16,
	CCDRL_FALLBACK_RATIO_MIN = 1 << 6,
	CCDRL_FALLBACK_RATIO_MAX = 1 << 26,
};

struct ccdrl_fallback_sibling {
	uint32_t cwnd_bytes;	/* in fast recovery: ssthresh, RFC 6356 section 3 */
	uint32_t srtt_us;	/* 0: no sample, not counted */
};

/* Window of one subflow after a congestion signal: half, at least two segments. */
static inline uint32_t ccdrl_fallback_ssthresh(uint32_t cwnd_bytes, uint32_t mss_bytes)
{
	uint32_t half = cwnd_bytes / 2;

	return half > 2 * mss_bytes ? half : 2 * mss_bytes;
}

/*
 * Congestion avoidance: by how much subflow `self` grows when `acked_bytes` are acknowledged, in 1/256 byte.
 * min(alpha * acked * mss / cwnd_total, acked * mss / cwnd_self) with alpha = cwnd_total * max(w / r^2) / (sum w / r)^2;
 * cwnd_total cancels, and with q_j = r_self / r_j the first term is acked * mss * max(w_j q_j^2) / (sum w_j q_j)^2.
 */
static inline uint64_t ccdrl_fallback_increase_q8(const struct ccdrl_fallback_sibling *siblings, uint32_t n, uint32_t self,
    uint32_t acked_bytes, uint32_t mss_bytes)
{
	uint64_t acked = acked_bytes < CCDRL_FALLBACK_ACKED_MAX ? acked_bytes : CCDRL_FALLBACK_ACKED_MAX;
	uint64_t product = acked * (mss_bytes < 16384 ? mss_bytes : 16384);
	uint64_t own_cwnd = siblings[self].cwnd_bytes ? siblings[self].cwnd_bytes : 1;
	uint64_t own_srtt = siblings[self].srtt_us;
	uint64_t reno_q8 = product * 256 / own_cwnd;
	uint64_t best_q16 = 0, sum_q16 = 0, share_q18, lia_q8;
	uint32_t i;

	if (n < 2 || own_srtt == 0)
		return reno_q8;
	for (i = 0; i < n; i++) {
		uint64_t cwnd = siblings[i].cwnd_bytes, ratio, term;

		if (siblings[i].srtt_us == 0)
			continue;
		if (cwnd > CCDRL_FALLBACK_CWND_MAX)
			cwnd = CCDRL_FALLBACK_CWND_MAX;
		ratio = (own_srtt << CCDRL_FALLBACK_RATIO_SHIFT) / siblings[i].srtt_us;
		if (ratio < CCDRL_FALLBACK_RATIO_MIN)
			ratio = CCDRL_FALLBACK_RATIO_MIN;
		if (ratio > CCDRL_FALLBACK_RATIO_MAX)
			ratio = CCDRL_FALLBACK_RATIO_MAX;
		/* bounds in Q16: w q <= 2^53, its sum <= 2^56, w q^2 <= 2^63 */
		term = cwnd * ratio;
		CCDRL_FALLBACK_FORGET(term);
		sum_q16 += term;
		term = term < (1ULL << 37) ? term * ratio >> CCDRL_FALLBACK_RATIO_SHIFT
		    : (term >> CCDRL_FALLBACK_RATIO_SHIFT) * ratio;
		CCDRL_FALLBACK_FORGET(term);
		CCDRL_FALLBACK_FORGET(sum_q16);
		if (term > best_q16)
			best_q16 = term;
	}
	/* the own term has q = 1, so sum >= own cwnd * 2^16 and neither shift below loses what matters */
	if (sum_q16 >> 18 == 0)
		return reno_q8;
	share_q18 = best_q16 < (1ULL << 45) ? (best_q16 << 18) / sum_q16 : best_q16 / (sum_q16 >> 18);	/* <= 2^28 */
	lia_q8 = product * share_q18 / (sum_q16 >> 6);
	return lia_q8 < reno_q8 ? lia_q8 : reno_q8;
}

#endif /* CCDRL_FALLBACK_H */

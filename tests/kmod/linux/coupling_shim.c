/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * See coupling_shim.h.
 */
#include "coupling.h"
#include "coupling_shim.h"

uint32_t shim_window(uint32_t segments, uint32_t mss_bytes, uint32_t own_mss_bytes)
{
	return coupling_window(segments, mss_bytes, own_mss_bytes);
}

uint32_t shim_count(const struct coupling_rows *rows)
{
	return coupling_count(rows);
}

int64_t shim_reno_gain(const struct coupling_rows *rows)
{
	return (int64_t)coupling_reno_gain(rows);
}

int64_t shim_gain(enum shim_rule rule, const struct coupling_rows *rows)
{
	if (rule == SHIM_LIA)
		return coupling_lia_gain(rows);
	return rule == SHIM_OLIA ? coupling_olia_gain(rows) : coupling_balia_gain(rows);
}

uint32_t shim_ssthresh(enum shim_rule rule, const struct coupling_rows *rows, uint32_t cwnd_segments)
{
	return rule == SHIM_BALIA ? coupling_balia_ssthresh(rows, cwnd_segments) : coupling_half(cwnd_segments);
}

uint32_t shim_grow(uint32_t cwnd_segments, uint32_t *fraction, int64_t gain, uint32_t acked_segments, uint32_t clamp_segments)
{
	return coupling_grow(cwnd_segments, fraction, gain, acked_segments, clamp_segments);
}

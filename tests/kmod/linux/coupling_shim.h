/* SPDX-License-Identifier: BSD-2-Clause */
/* kmod/linux/coupling.h as a library: its functions are inline, and cffi calls none of those. Declarations only, which cffi
   reads as they stand. */
enum shim_rule { SHIM_LIA, SHIM_OLIA, SHIM_BALIA };

uint32_t shim_window(uint32_t segments, uint32_t mss_bytes, uint32_t own_mss_bytes);
uint32_t shim_count(const struct coupling_rows *rows);
int64_t shim_reno_gain(const struct coupling_rows *rows);
int64_t shim_gain(enum shim_rule rule, const struct coupling_rows *rows);
uint32_t shim_ssthresh(enum shim_rule rule, const struct coupling_rows *rows, uint32_t cwnd_segments);
uint32_t shim_grow(uint32_t cwnd_segments, uint32_t *fraction, int64_t gain, uint32_t acked_segments, uint32_t clamp_segments);

/* SPDX-License-Identifier: BSD-2-Clause */
/* Beside fallback.h: the same events without their callbacks. Declarations only, which cffi reads as they stand. */
struct left_out_counters {
	uint64_t created, closed, repaired;
};
void left_out_init(struct fallback *fallback, uint32_t subflow);
void left_out_signal(struct fallback *fallback, uint32_t subflow, uint32_t ssthresh_segments);
void left_out_recovered(struct fallback *fallback, uint32_t subflow);
void left_out_undo(struct fallback *fallback, uint32_t subflow, uint32_t cwnd_segments);
struct left_out_counters left_out_count(void);

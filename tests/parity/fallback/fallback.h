/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection under a kernel's fallback, without its kernel: events in, windows out. Declarations only, which cffi reads
   as they stand; sim_fallback.c and linux_fallback.c define them. */
struct fallback;
struct fallback *fallback_new(uint32_t n_subflows, uint32_t mss_bytes);
void fallback_free(struct fallback *fallback);
void fallback_ack(struct fallback *fallback, uint32_t subflow, uint32_t acked_segments, uint32_t srtt_us);
void fallback_signal(struct fallback *fallback, uint32_t subflow);	/* fast recovery begins */
void fallback_recovered(struct fallback *fallback, uint32_t subflow);	/* and ends */
void fallback_timeout(struct fallback *fallback, uint32_t subflow, int is_first);
double fallback_cwnd_bytes(const struct fallback *fallback, uint32_t subflow);

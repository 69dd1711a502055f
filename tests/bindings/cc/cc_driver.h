/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection without a network: its subflows' states are set by hand and the controller's operations called. cffi
   reads this file as it stands, so it holds declarations only. */
struct driver_view {
	double cwnd, ssthresh, pacing_bytes_per_s;
	int64_t srtt_ns, min_rtt_ns;
	uint64_t delivered_segments, app_limited_until;
	uint32_t snd_una, snd_nxt, lost, state;
	uint32_t is_established, is_closed, is_failed;
};

struct driver;
struct driver *driver_new(const char *controller, uint32_t n_subflows, uint64_t seed);
void driver_free(struct driver *driver);
void driver_read(struct driver *driver, uint32_t subflow, struct driver_view *view);
void driver_write(struct driver *driver, uint32_t subflow, const struct driver_view *view);
void *driver_private(struct driver *driver, uint32_t subflow);	/* the controller's state */
void driver_init(struct driver *driver, uint32_t subflow, int64_t now_ns);
void driver_on_ack(struct driver *driver, uint32_t subflow, const struct ack_info *ack);
double driver_ssthresh(struct driver *driver, uint32_t subflow);
void driver_set_state(struct driver *driver, uint32_t subflow, uint32_t state);
void driver_undo(struct driver *driver, uint32_t subflow);
double driver_time_acks(struct driver *driver, uint32_t n);	/* seconds for n ACKs, subflows in turn */

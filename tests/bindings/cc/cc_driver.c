/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The test bench of the congestion controllers; see cc_driver.h.
 */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include "internal.h"

#include "cc_driver.h"

struct driver {
	struct ccdrl_sim sim;
	struct conn conn;
	struct subflow subflows[DRL_SUBFLOWS_MAX];
};

static const struct cc_ops *const controllers[] = {
	&cc_reno, &cc_cubic, &cc_bbr, &cc_lia, &cc_olia, &cc_balia, &cc_wvegas, &cc_ewtcp, &cc_fixed,
};

struct driver *driver_new(const char *controller, uint32_t n_subflows, uint64_t seed)
{
	const struct cc_ops *ops = NULL;
	struct driver *driver;

	for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++) {
		if (strcmp(controllers[i]->name, controller) == 0)
			ops = controllers[i];
	}
	if (ops == NULL || n_subflows > DRL_SUBFLOWS_MAX || (driver = calloc(1, sizeof(*driver))) == NULL)
		return NULL;
	driver->sim.seed = seed;
	driver->conn.sim = &driver->sim;
	driver->conn.n_subflows = n_subflows;
	driver->conn.subflows = driver->subflows;
	driver->conn.config.fixed_cwnd_segments = 20.0;
	for (uint32_t i = 0; i < n_subflows; i++) {
		struct subflow *sf = &driver->subflows[i];

		sf->sim = &driver->sim;
		sf->conn = &driver->conn;
		sf->cc = ops;
		sf->index = i;
		sf->mss_bytes = 1448;
		sf->cwnd = 10.0;
		sf->ssthresh = INFINITY;
		sf->is_established = true;
	}
	return driver;
}

void driver_free(struct driver *driver)
{
	free(driver);
}

void driver_read(struct driver *driver, uint32_t subflow, struct driver_view *view)
{
	const struct subflow *sf = &driver->subflows[subflow];

	*view = (struct driver_view){ sf->cwnd, sf->ssthresh, sf->pacing_bytes_per_s, sf->srtt_ns, sf->min_rtt_ns,
	    sf->delivered_segments, sf->app_limited_until, sf->snd_una, sf->snd_nxt, sf->lost, sf->state,
	    sf->is_established, sf->is_closed, sf->is_failed };
}

void driver_write(struct driver *driver, uint32_t subflow, const struct driver_view *view)
{
	struct subflow *sf = &driver->subflows[subflow];

	sf->cwnd = view->cwnd;
	sf->ssthresh = view->ssthresh;
	sf->pacing_bytes_per_s = view->pacing_bytes_per_s;
	sf->srtt_ns = view->srtt_ns;
	sf->min_rtt_ns = view->min_rtt_ns;
	sf->delivered_segments = view->delivered_segments;
	sf->app_limited_until = view->app_limited_until;
	sf->snd_una = view->snd_una;
	sf->snd_nxt = view->snd_nxt;
	sf->lost = view->lost;
	sf->state = (enum drl_state)view->state;
	sf->is_established = view->is_established != 0;
	sf->is_closed = view->is_closed != 0;
	sf->is_failed = view->is_failed != 0;
}

void *driver_private(struct driver *driver, uint32_t subflow)
{
	return &driver->subflows[subflow].u;
}

void driver_init(struct driver *driver, uint32_t subflow, int64_t now_ns)
{
	struct subflow *sf = &driver->subflows[subflow];

	driver->sim.now_ns = now_ns;
	memset(&sf->u, 0, sizeof(sf->u));
	if (sf->cc->init != NULL)
		sf->cc->init(sf);
}

void driver_on_ack(struct driver *driver, uint32_t subflow, const struct ack_info *ack)
{
	struct subflow *sf = &driver->subflows[subflow];

	driver->sim.now_ns = ack->now_ns;
	sf->cc->on_ack(sf, ack);
}

double driver_ssthresh(struct driver *driver, uint32_t subflow)
{
	struct subflow *sf = &driver->subflows[subflow];

	return sf->cc->ssthresh(sf);
}

void driver_set_state(struct driver *driver, uint32_t subflow, uint32_t state)
{
	struct subflow *sf = &driver->subflows[subflow];
	enum drl_state old = sf->state;

	sf->state = (enum drl_state)state;
	if (sf->cc->on_state != NULL)
		sf->cc->on_state(sf, old);
}

void driver_undo(struct driver *driver, uint32_t subflow)
{
	struct subflow *sf = &driver->subflows[subflow];

	if (sf->cc->on_undo != NULL)
		sf->cc->on_undo(sf);
}

double driver_time_acks(struct driver *driver, uint32_t n)
{
	struct ack_info ack = {
		.now_ns = 1, .delivered_segments = 1, .acked_segments = 1, .rtt_ns = -1, .is_cwnd_limited = true,
	};
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint32_t i = 0; i < n; i++) {
		struct subflow *sf = &driver->subflows[i % driver->conn.n_subflows];

		ack.now_ns += NS_PER_US;
		sf->cc->on_ack(sf, &ack);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / NS_PER_S;
}

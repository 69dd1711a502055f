/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Senders and receivers: real sockets, all in one thread with one epoll, whatever namespaces they are in.
 *
 * Flows with several routes are MPTCP connections, the others plain TCP. A flow that stops, like every flow at the end, is
 * disconnected, which sends a reset and falls silent at once; a finite one is shut down when all is written.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "traffic.h"

#define WAKE_BYTES_MAX (1024 * 1024)	/* then it is another socket's turn */
#define PRIORITY 5			/* real-time, below the emulator's */
#define APP_TICK_NS (2 * NS_PER_MS)	/* applications with a rate write so often */

static int64_t clock_ns(const struct testbed_traffic *traffic) { return testbed_now_ns() - traffic->begin_ns; }

static void flow_end(struct flow *flow, int error)
{
	flow->error = error;
	flow->state = FLOW_OVER;
	traffic_abort(&flow->sender);
}

static void flow_sample(const struct testbed_traffic *traffic, struct flow *flow, int64_t now_ns)
{
	if (flow_is_connected(flow))
		samplers_update(flow->samplers, flow->config.n_routes, flow->sender, flow_is_mptcp(flow), flow->config.first_route,
		    traffic->emulator, now_ns);
}

/* --- writing and reading --- */

static uint64_t flow_writable_bytes(const struct flow *flow, int64_t now_ns)
{
	const struct testbed_flow_config *config = &flow->config;
	uint64_t limit = config->size_bytes > 0 ? config->size_bytes : UINT64_MAX;

	if (config->app_rate_bps > 0) {
		const uint64_t due_bytes = (uint64_t)(config->app_rate_bps / 8 * (double)(now_ns - flow->started_ns) / NS_PER_S);
		const uint64_t whole = due_bytes - due_bytes % flow_payload_bytes(flow);

		limit = whole < limit ? whole : limit;
	}
	return limit > flow->written_bytes ? limit - flow->written_bytes : 0;
}

static void sender_write(struct testbed_traffic *traffic, struct flow *flow, uint32_t index)
{
	const uint64_t until = flow->written_bytes + WAKE_BYTES_MAX;

	while (flow->state == FLOW_OPEN && flow->written_bytes < until) {
		const uint64_t left = flow_writable_bytes(flow, clock_ns(traffic));
		const ssize_t n = left == 0 ? 0 :
		    send(flow->sender, traffic->chunk, left < CHUNK_BYTES ? left : CHUNK_BYTES, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			flow_end(flow, errno);
		if (n <= 0)
			return;
		flow->written_bytes += (uint64_t)n;
		if (flow->config.size_bytes > 0 && flow->written_bytes == flow->config.size_bytes) {
			flow->state = FLOW_WRITTEN;
			(void)shutdown(flow->sender, SHUT_WR);
			(void)traffic_watch(traffic, EPOLL_CTL_MOD, flow->sender, 0, SOCKET_SENDER, index);
		}
	}
}

static void sender_wake(struct testbed_traffic *traffic, uint32_t index, uint32_t events)
{
	struct flow *flow = traffic->flows[index];
	int error = 0;
	socklen_t bytes = sizeof(error);

	if (flow->sender < 0)
		return;
	if (events & (EPOLLERR | EPOLLHUP)) {
		(void)getsockopt(flow->sender, SOL_SOCKET, SO_ERROR, &error, &bytes);
		flow_sample(traffic, flow, clock_ns(traffic));
		/* A finite flow that has been acknowledged altogether hangs up in peace. */
		flow_end(flow, error != 0 || flow->state == FLOW_WRITTEN ? error : ECONNRESET);
		return;
	}
	if (flow->state == FLOW_CONNECTING) {
		flow->state = FLOW_OPEN;
		if (flow->config.app_rate_bps > 0)	/* written by the clock */
			(void)traffic_watch(traffic, EPOLL_CTL_MOD, flow->sender, 0, SOCKET_SENDER, index);
	}
	sender_write(traffic, flow, index);
}

static void listener_wake(struct testbed_traffic *traffic, uint32_t index)
{
	struct sockaddr_in peer;

	for (;;) {
		socklen_t bytes = sizeof(peer);
		const int fd = accept4(traffic->listeners[index], (struct sockaddr *)&peer, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
		uint32_t flow;

		if (fd < 0)
			return;
		flow = ntohs(peer.sin_port) - FIRST_PORT;
		if (flow >= traffic->n_flows || traffic->flows[flow]->receiver >= 0) {
			close(fd);
			continue;
		}
		traffic->flows[flow]->receiver = fd;
		(void)traffic_watch(traffic, EPOLL_CTL_ADD, fd, EPOLLIN, SOCKET_RECEIVER, flow);
	}
}

static void receiver_wake(struct testbed_traffic *traffic, uint32_t index)
{
	struct flow *flow = traffic->flows[index];
	const uint64_t until = flow->received_bytes + WAKE_BYTES_MAX;

	while (flow->receiver >= 0 && flow->received_bytes < until) {
		const ssize_t n = recv(flow->receiver, traffic->chunk + CHUNK_BYTES, CHUNK_BYTES, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close(flow->receiver);
			flow->receiver = -1;
			return;
		}
		flow->received_bytes += (uint64_t)n;
		if (flow->config.size_bytes > 0 && flow->received_bytes == flow->config.size_bytes)
			flow->completion_ns = clock_ns(traffic) - flow->started_ns;
	}
}

/* --- time --- */

static void flow_tick(struct testbed_traffic *traffic, uint32_t index, int64_t now_ns)
{
	struct flow *flow = traffic->flows[index];
	const struct testbed_flow_config *config = &flow->config;

	if (flow->state == FLOW_WAITING && now_ns >= config->start_ns) {
		int error;

		flow->started_ns = now_ns;
		flow->state = FLOW_CONNECTING;
		error = traffic_connect(traffic, index);
		if (error != 0)
			flow_end(flow, -error);
	}
	if (config->stop_ns >= 0 && now_ns >= config->stop_ns && flow->state != FLOW_OVER) {
		flow_sample(traffic, flow, now_ns);
		flow_end(flow, 0);
	}
	if (flow->state == FLOW_OPEN && config->app_rate_bps > 0)
		sender_write(traffic, flow, index);
}

/* When something is to be done next without a socket asking for it. */
static int64_t next_tick_ns(const struct testbed_traffic *traffic, int64_t now_ns, int64_t sample_ns)
{
	int64_t next_ns = sample_ns;

	for (uint32_t i = 0; i < traffic->n_flows; i++) {
		const struct flow *flow = traffic->flows[i];
		int64_t due_ns = TIME_NEVER;

		if (flow->state == FLOW_WAITING)
			due_ns = flow->config.start_ns;
		else if (flow->state != FLOW_OVER && flow->config.stop_ns >= 0)
			due_ns = flow->config.stop_ns;
		if (due_ns < next_ns)
			next_ns = due_ns;
	}
	if (traffic->has_app_rates && now_ns + APP_TICK_NS < next_ns)
		next_ns = now_ns + APP_TICK_NS;
	return next_ns;
}

static void sockets_wait(struct testbed_traffic *traffic, int64_t wait_ns)
{
	const struct timespec timeout = { .tv_nsec = wait_ns > 0 ? wait_ns : 0 };
	struct epoll_event ready[64];
	const int n = epoll_pwait2(traffic->epoll, ready, 64, &timeout, NULL);

	for (int i = 0; i < n; i++) {
		const uint32_t index = (uint32_t)ready[i].data.u64;

		switch ((enum socket_kind)(ready[i].data.u64 >> 32)) {
		case SOCKET_LISTENER:
			listener_wake(traffic, index);
			break;
		case SOCKET_SENDER:
			sender_wake(traffic, index, ready[i].events);
			break;
		case SOCKET_RECEIVER:
			receiver_wake(traffic, index);
			break;
		}
	}
}

static void flows_sample(struct testbed_traffic *traffic, int64_t now_ns)
{
	for (uint32_t i = 0; i < traffic->n_flows; i++)
		flow_sample(traffic, traffic->flows[i], now_ns);
}

static void flows_reset(struct testbed_traffic *traffic)
{
	for (uint32_t i = 0; i < traffic->n_flows; i++) {
		struct flow *flow = traffic->flows[i];

		flow->warmup_bytes = flow->received_bytes;
		for (uint32_t path = 0; path < flow->config.n_routes; path++)
			subflow_sampler_reset(&flow->samplers[path]);
	}
}

/* TESTBED_SAMPLE_NS is below a second, so one timespec's nanoseconds hold every wait. */
static void run_until(struct testbed_traffic *traffic, int64_t until_ns)
{
	int64_t now_ns = clock_ns(traffic), sample_ns = now_ns < 0 ? 0 : now_ns;

	while (now_ns < until_ns && !__atomic_load_n(&traffic->is_stopped, __ATOMIC_RELAXED)) {
		int64_t next_ns;

		for (uint32_t i = 0; i < traffic->n_flows; i++)
			flow_tick(traffic, i, now_ns);
		if (now_ns >= sample_ns) {
			flows_sample(traffic, now_ns);
			sample_ns += TESTBED_SAMPLE_NS * ((now_ns - sample_ns) / TESTBED_SAMPLE_NS + 1);
		}
		next_ns = next_tick_ns(traffic, now_ns, sample_ns);
		sockets_wait(traffic, (next_ns < until_ns ? next_ns : until_ns) - clock_ns(traffic));
		now_ns = clock_ns(traffic);
	}
	flows_sample(traffic, now_ns);
}

struct traffic_run { struct testbed_traffic *traffic; int64_t warmup_ns, until_ns; };

static void *traffic_thread(void *argument)
{
	const struct traffic_run *run = argument;
	const struct sched_param parameter = { .sched_priority = PRIORITY };

	/* As far as permitted; data must be there when windows open. */
	(void)sched_setscheduler(0, SCHED_RR, &parameter);
	run_until(run->traffic, run->warmup_ns);
	flows_reset(run->traffic);
	run_until(run->traffic, run->until_ns);
	return NULL;
}

/* In a thread of its own, because sockets are opened in other namespaces than the caller's. */
int testbed_traffic_run(struct testbed_traffic *traffic, int64_t begin_ns, int64_t warmup_ns, int64_t until_ns)
{
	struct traffic_run run = { traffic, warmup_ns, until_ns };
	pthread_t thread;
	int error;

	traffic->begin_ns = begin_ns;
	error = pthread_create(&thread, NULL, traffic_thread, &run);
	if (error != 0)
		return -error;
	pthread_join(thread, NULL);
	for (uint32_t i = 0; i < traffic->n_flows; i++)
		if (traffic->flows[i]->state != FLOW_OVER)
			flow_end(traffic->flows[i], 0);
	return 0;
}

void testbed_traffic_stop(struct testbed_traffic *traffic)
{
	__atomic_store_n(&traffic->is_stopped, 1, __ATOMIC_RELAXED);
}

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The link emulator: real packets through the simulator's links in real time.
 *
 * A port is a TUN device: port 0 belongs to the receiver, the others to senders. A packet from a sender goes through the
 * links of the route that its source address names, waits out the route's extra delay and is written to port 0; a packet
 * from the receiver goes back after the same propagation delays, uncongested. Packets keep the time they should have:
 * an event that is carried out late (the thread was not running) does not delay the packet's next link.
 *
 * The thread sleeps in epoll_pwait2 until a packet comes in or an event is due. Everything is allocated before the run.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "emulator.h"

#define READ_BATCH 32		/* packets taken from a port at once */
#define SPIN_NS 15000		/* a sleep shorter than this would end late */
#define PRIORITY 10
#define TCP_PROTOCOL 6
#define IP_HEADER_BYTES 20
#define TCP_HEADER_BYTES 20
#define TCP_OFFSET_BYTE 12	/* the data offset, in the upper half */

static struct testbed_emulator *emulator_of(struct ccdrl_sim *sim) { return (struct testbed_emulator *)sim; }

/* link.c carries routes where the simulator has subflows; it never looks inside. */
static struct route *route_of(const struct packet *packet) { return (struct route *)packet->subflow; }

static uint8_t *buffer(const struct testbed_emulator *emulator, uint32_t index)
{
	return emulator->buffers + (size_t)index * emulator->mtu_bytes;
}

static void buffer_free(struct testbed_emulator *emulator, uint32_t index)
{
	emulator->free_buffers[emulator->n_free++] = index;
}

static int64_t clock_ns(const struct testbed_emulator *emulator) { return testbed_now_ns() - emulator->begin_ns; }

/* Hands a packet over to the kernel, and tells how much later than planned (sim.now_ns) that was. */
static void packet_write(struct testbed_emulator *emulator, uint32_t port, const struct packet *packet)
{
	const int64_t late_ns = clock_ns(emulator) - emulator->sim.now_ns;

	histogram_add(&emulator->late, late_ns);
	if (late_ns > emulator->late_max_ns)
		emulator->late_max_ns = late_ns;
	if (write(emulator->ports[port], buffer(emulator, packet->seq), packet->wire_bytes) < 0)
		emulator->figures.write_errors++;
	buffer_free(emulator, packet->seq);
}

static void ring_push(struct testbed_emulator *emulator, struct packet_ring *ring, uint32_t source,
    const struct packet *packet, int64_t arrival_ns)
{
	struct packet *slot;

	if (!ring_reserve(&emulator->sim, ring)) {
		buffer_free(emulator, packet->seq);
		return;
	}
	/* Order is kept where a delay has fallen. */
	if (ring->tail != ring->head && ring->slots[(ring->tail - 1) & ring->mask].arrival_ns > arrival_ns)
		arrival_ns = ring->slots[(ring->tail - 1) & ring->mask].arrival_ns;
	slot = &ring->slots[ring->tail & ring->mask];
	*slot = *packet;
	slot->arrival_ns = arrival_ns;
	if (ring->tail++ == ring->head)
		source_set(&emulator->sim, source, arrival_ns);
}

static void ring_fire(struct testbed_emulator *emulator, struct packet_ring *ring, uint32_t source, uint32_t port)
{
	while (ring->head != ring->tail && ring->slots[ring->head & ring->mask].arrival_ns <= emulator->sim.now_ns)
		packet_write(emulator, port, &ring->slots[ring->head++ & ring->mask]);
	source_set(&emulator->sim, source,
	    ring->head == ring->tail ? TIME_NEVER : ring->slots[ring->head & ring->mask].arrival_ns);
}

/* --- what link.c calls --- */

void subflow_packet_forward(struct ccdrl_sim *sim, const struct packet *packet)
{
	struct testbed_emulator *emulator = emulator_of(sim);
	struct route *route = route_of(packet);
	struct packet next = *packet;

	if (++next.hop < route->n_links)
		link_send(sim, route->links[next.hop], &next);
	else if (route->extra_delay_ns > 0)
		ring_push(emulator, &route->tail, route->tail_source, &next, sim->now_ns + route->extra_delay_ns);
	else
		packet_write(emulator, 0, &next);
}

void subflow_packet_dropped(struct ccdrl_sim *sim, const struct packet *packet)
{
	buffer_free(emulator_of(sim), packet->seq);
}

/* --- packets in --- */

/* The route that a packet's address names, NULL for anything that does not belong here; whether it carries payload. */
static struct route *packet_route(const struct testbed_emulator *emulator, uint32_t port, const uint8_t *bytes, size_t n,
    bool *has_payload)
{
	struct iphdr header;
	uint32_t address, header_bytes;

	if (n < IP_HEADER_BYTES + TCP_HEADER_BYTES)
		return NULL;
	memcpy(&header, bytes, sizeof(header));
	header_bytes = header.ihl * 4u;
	if (header.version != 4 || header.protocol != TCP_PROTOCOL || n < header_bytes + TCP_HEADER_BYTES)
		return NULL;
	*has_payload = n > header_bytes + (bytes[header_bytes + TCP_OFFSET_BYTE] >> 4) * 4u;
	address = ntohl(port == 0 ? header.daddr : header.saddr) - TESTBED_ADDRESS_SENDERS;
	if (address >= emulator->n_routes || (port != 0 && emulator->routes[address]->port != port))
		return NULL;
	return emulator->routes[address];
}

static bool route_is_cut(const struct route *route)
{
	for (uint32_t i = 0; i < route->n_links; i++)
		if (link_is_down(route->links[i]))
			return true;
	return false;
}

static void packet_enter(struct testbed_emulator *emulator, uint32_t port, uint32_t index, size_t n)
{
	struct ccdrl_sim *sim = &emulator->sim;
	bool has_payload = false;
	struct route *route = packet_route(emulator, port, buffer(emulator, index), n, &has_payload);
	const struct packet packet = {
		.sent_ns = sim->now_ns, .subflow = (struct subflow *)route, .seq = index, .wire_bytes = (uint16_t)n,
	};

	if (route == NULL) {
		emulator->figures.foreign_packets++;
		buffer_free(emulator, index);
	} else if (port != 0) {
		emulator->figures.data_packets += has_payload;
		link_send(sim, route->links[0], &packet);
	} else if (route_is_cut(route)) {
		buffer_free(emulator, index);	/* the way back is cut too, as in the simulator */
	} else {
		ring_push(emulator, &route->acks, route->acks_source, &packet, sim->now_ns + route->base_rtt_ns / 2);
	}
}

/* --- time --- */

static void events_fire(struct testbed_emulator *emulator)
{
	struct ccdrl_sim *sim = &emulator->sim;

	while (sim->next_event < sim->n_events && sim->events[sim->next_event].at_ns <= sim->now_ns) {
		const struct ccdrl_event_config *event = &sim->events[sim->next_event++];

		link_event(sim, sim->links[event->link], event);
		if (event->kind == CCDRL_EVENT_DELAY)
			emulator_base_rtts_refresh(emulator);
	}
	source_set(sim, sim->events_source,
	    sim->next_event < sim->n_events ? sim->events[sim->next_event].at_ns : TIME_NEVER);
}

static int64_t next_event_ns(const struct testbed_emulator *emulator)
{
	return (int64_t)(emulator->sim.tree[1] >> 64);
}

/* Carries out everything that is due, in its order, and sets the clock. */
static void events_run(struct testbed_emulator *emulator, int64_t until_ns)
{
	struct ccdrl_sim *sim = &emulator->sim;

	while (next_event_ns(emulator) <= until_ns) {
		const struct source *source = &sim->sources[(uint32_t)sim->tree[1]];
		struct route *route = source->object;

		sim->now_ns = next_event_ns(emulator);
		switch (source->kind) {
		case SOURCE_LINK:
			link_fire(sim, source->object);
			break;
		case SOURCE_ACKS:
			ring_fire(emulator, &route->acks, route->acks_source, route->port);
			break;
		case SOURCE_TAIL:
			ring_fire(emulator, &route->tail, route->tail_source, 0);
			break;
		default:
			events_fire(emulator);
			break;
		}
	}
	sim->now_ns = until_ns;
}

static int64_t min_ns(int64_t a, int64_t b) { return a < b ? a : b; }

/* Takes what a port has, a batch at most. False: the device has gone. */
static bool port_read(struct testbed_emulator *emulator, uint32_t port, int64_t until_ns)
{
	uint8_t spare;

	for (int i = 0; i < READ_BATCH; i++) {
		const bool is_full = emulator->n_free == 0;
		const uint32_t index = is_full ? 0 : emulator->free_buffers[emulator->n_free - 1];
		const ssize_t n = read(emulator->ports[port], is_full ? &spare : buffer(emulator, index),
		    is_full ? 1 : emulator->mtu_bytes);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (is_full) {
			emulator->figures.overflow_packets++;
			continue;
		}
		emulator->n_free--;
		/* The clock after the read: a thread that was held back before it would make an RTT shorter than the path's. */
		events_run(emulator, min_ns(clock_ns(emulator), until_ns));
		packet_enter(emulator, port, index, (size_t)n);
	}
	return true;
}

static int run_until(struct testbed_emulator *emulator, int64_t until_ns)
{
	while (!__atomic_load_n(&emulator->is_stopped, __ATOMIC_RELAXED)) {
		struct epoll_event ready[16];
		const int64_t now_ns = clock_ns(emulator);
		int64_t wait_ns;
		struct timespec timeout;
		int n;

		events_run(emulator, min_ns(now_ns, until_ns));
		if (now_ns >= until_ns)
			break;
		wait_ns = min_ns(next_event_ns(emulator), until_ns) - clock_ns(emulator);
		/* The stop flag is looked at 20 times a second. */
		wait_ns = wait_ns < SPIN_NS ? 0 : min_ns(wait_ns, NS_PER_S / 20);
		timeout = (struct timespec){ .tv_nsec = wait_ns };
		n = epoll_pwait2(emulator->epoll, ready, 16, &timeout, NULL);
		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++)
			if (!port_read(emulator, ready[i].data.u32, until_ns))
				return -EIO;
	}
	return emulator->sim.is_out_of_memory ? -ENOMEM : 0;
}

/* The least timer slack and a real-time priority for this thread, as far as permitted; undone at the end. */
static void realtime_set(struct testbed_emulator *emulator, bool is_on)
{
	const struct sched_param parameter = { .sched_priority = is_on ? PRIORITY : 0 };
	const bool is_set = sched_setscheduler(0, is_on ? SCHED_FIFO : SCHED_OTHER, &parameter) == 0;

	(void)prctl(PR_SET_TIMERSLACK, is_on ? 1ul : 0ul, 0ul, 0ul, 0ul);
	if (is_on)
		emulator->figures.is_realtime = is_set;
}

int testbed_emulator_run(struct testbed_emulator *emulator, int64_t begin_ns, int64_t warmup_ns, int64_t until_ns)
{
	const struct timespec begin = { .tv_sec = begin_ns / NS_PER_S, .tv_nsec = begin_ns % NS_PER_S };
	struct ccdrl_sim *sim = &emulator->sim;
	int error;

	if (emulator->n_ports == 0 || sim->n_links == 0 || emulator->n_routes == 0)
		return -EINVAL;
	emulator->begin_ns = begin_ns;
	realtime_set(emulator, true);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &begin, NULL) == EINTR)
		;
	error = run_until(emulator, warmup_ns);
	for (uint32_t i = 0; i < sim->n_links; i++)
		link_stats_reset(sim, sim->links[i]);
	if (error == 0)
		error = run_until(emulator, until_ns);
	realtime_set(emulator, false);
	return error;
}

void testbed_emulator_stop(struct testbed_emulator *emulator)
{
	__atomic_store_n(&emulator->is_stopped, 1, __ATOMIC_RELAXED);
}

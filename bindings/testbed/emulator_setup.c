/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Building an emulator, and its figures after a run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emulator.h"

void emulator_base_rtts_refresh(struct testbed_emulator *emulator)
{
	for (uint32_t i = 0; i < emulator->n_routes; i++) {
		struct route *route = emulator->routes[i];
		int64_t delay_ns = route->extra_delay_ns;

		for (uint32_t j = 0; j < route->n_links; j++)
			delay_ns += link_delay_ns(route->links[j]);
		__atomic_store_n(&route->base_rtt_ns, 2 * delay_ns, __ATOMIC_RELAXED);
	}
}

struct testbed_emulator *testbed_emulator_new(uint64_t seed, uint32_t mtu_bytes, uint32_t pool_packets)
{
	struct testbed_emulator *emulator = calloc(1, sizeof(*emulator));

	if (emulator == NULL)
		return NULL;
	emulator->sim.seed = seed;
	emulator->mtu_bytes = mtu_bytes;
	emulator->pool_packets = pool_packets;
	emulator->epoll = epoll_create1(EPOLL_CLOEXEC);
	/* Not reserved: the free list is a stack, so only as many buffers are touched as were ever in use at once. */
	emulator->buffers = mmap(NULL, (size_t)pool_packets * mtu_bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	emulator->free_buffers = malloc(pool_packets * sizeof(*emulator->free_buffers));
	emulator->sim.events_source = source_add(&emulator->sim, SOURCE_EVENTS, NULL);
	if (emulator->epoll < 0 || emulator->buffers == MAP_FAILED || emulator->free_buffers == NULL ||
	    emulator->sim.events_source == UINT32_MAX || !histogram_init(&emulator->late)) {
		testbed_emulator_free(emulator);
		return NULL;
	}
	for (uint32_t i = 0; i < pool_packets; i++)
		emulator->free_buffers[emulator->n_free++] = pool_packets - 1 - i;
	return emulator;
}

void testbed_emulator_free(struct testbed_emulator *emulator)
{
	if (emulator == NULL)
		return;
	for (uint32_t i = 0; i < emulator->n_routes; i++) {
		free(emulator->routes[i]->tail.slots);
		free(emulator->routes[i]->acks.slots);
		free(emulator->routes[i]);
	}
	for (uint32_t i = 0; i < emulator->sim.n_links; i++)
		link_free(emulator->sim.links[i]);
	free(emulator->sim.links);
	free(emulator->sim.events);
	free(emulator->sim.sources);
	free(emulator->sim.tree);
	free(emulator->late.counts);
	free(emulator->free_buffers);
	if (emulator->buffers != NULL && emulator->buffers != MAP_FAILED)
		munmap(emulator->buffers, (size_t)emulator->pool_packets * emulator->mtu_bytes);
	if (emulator->epoll >= 0)
		close(emulator->epoll);
	free(emulator);
}

const char *testbed_emulator_error(const struct testbed_emulator *emulator) { return emulator->sim.error; }

int testbed_emulator_port_add(struct testbed_emulator *emulator, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = emulator->n_ports };

	if (emulator->n_ports == PORTS_MAX)
		return -ENOSPC;
	if (epoll_ctl(emulator->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		return -errno;
	emulator->ports[emulator->n_ports] = fd;
	return (int)emulator->n_ports++;
}

int testbed_emulator_link_add(struct testbed_emulator *emulator, const struct ccdrl_link_config *config)
{
	struct ccdrl_sim *sim = &emulator->sim;
	struct link **links = realloc(sim->links, (sim->n_links + 1) * sizeof(*links));

	if (links == NULL)
		return -ENOMEM;
	sim->links = links;
	links[sim->n_links] = link_new(sim, config, sim->n_links);
	if (links[sim->n_links] == NULL)
		return -EINVAL;
	return (int)sim->n_links++;
}

int testbed_emulator_route_add(struct testbed_emulator *emulator, const struct testbed_route *config)
{
	struct route *route;

	if (emulator->n_routes == TESTBED_ROUTES_MAX || config->n_links < 1 || config->n_links > CCDRL_PATH_LINKS_MAX ||
	    config->port < 1 || config->port >= emulator->n_ports)
		return -EINVAL;
	route = calloc(1, sizeof(*route));
	if (route == NULL)
		return -ENOMEM;
	route->n_links = config->n_links;
	route->port = config->port;
	route->extra_delay_ns = config->extra_delay_ns;
	route->tail_source = source_add(&emulator->sim, SOURCE_TAIL, route);
	route->acks_source = source_add(&emulator->sim, SOURCE_ACKS, route);
	emulator->routes[emulator->n_routes++] = route;
	for (uint32_t i = 0; i < config->n_links; i++) {
		if (config->links[i] >= emulator->sim.n_links)
			return -EINVAL;
		route->links[i] = emulator->sim.links[config->links[i]];
	}
	if (route->tail_source == UINT32_MAX || route->acks_source == UINT32_MAX)
		return -ENOMEM;
	emulator_base_rtts_refresh(emulator);
	return (int)emulator->n_routes - 1;
}

int testbed_emulator_event_add(struct testbed_emulator *emulator, const struct ccdrl_event_config *config)
{
	struct ccdrl_sim *sim = &emulator->sim;
	struct ccdrl_event_config *events = realloc(sim->events, (sim->n_events + 1) * sizeof(*events));

	if (events == NULL)
		return -ENOMEM;
	sim->events = events;
	if (config->link >= sim->n_links || (sim->n_events > 0 && config->at_ns < events[sim->n_events - 1].at_ns))
		return -EINVAL;
	events[sim->n_events++] = *config;
	source_set(sim, sim->events_source, events[0].at_ns);
	return 0;
}

int64_t testbed_emulator_base_rtt_ns(const struct testbed_emulator *emulator, uint32_t route)
{
	return __atomic_load_n(&emulator->routes[route]->base_rtt_ns, __ATOMIC_RELAXED);
}

void testbed_emulator_figures(const struct testbed_emulator *emulator, struct testbed_emulator_figures *out)
{
	const struct histogram *late = &emulator->late;

	*out = emulator->figures;
	out->late_packets = late->n;
	out->late_mean_us = histogram_mean_ms(&late, 1) * 1e3;
	out->late_p99_us = histogram_quantile_ms(&late, 1, 0.99) * 1e3;
	out->late_max_us = (double)emulator->late_max_ns / 1e3;
}

int testbed_emulator_link_stats(struct testbed_emulator *emulator, uint32_t link, struct ccdrl_link_stats *out)
{
	if (link >= emulator->sim.n_links)
		return -EINVAL;
	link_stats_read(&emulator->sim, emulator->sim.links[link], out);
	return 0;
}

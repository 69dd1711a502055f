/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One link alone, for tests: packets go in at given times, and everything that comes out is recorded. Built together with
 * the simulator's link*.c, aqm_*.c, trace.c, loss.c and ring.c; with one source, no event queue is needed.
 */
#include "link.h"

#define DRIVER_SUBFLOWS 2

struct record {
	int64_t time_ns;
	int64_t sent_ns;
	int64_t departure_ns;
	uint32_t seq;
	uint32_t flags;
	uint32_t is_dropped;
	uint32_t subflow;
};

struct driver {
	struct ccdrl_sim sim;		/* first: callbacks get back to the driver from it */
	struct link *link;
	int64_t due_ns;			/* of the link's source */
	struct record *records;
	uint32_t n, capacity;
	uint32_t loops;			/* a packet that arrives enters the link again so many times */
	struct subflow subflows[DRIVER_SUBFLOWS];
};

uint32_t source_add(struct ccdrl_sim *sim, enum source_kind kind, void *object)
{
	(void)kind;
	(void)object;
	((struct driver *)sim)->due_ns = TIME_NEVER;
	return 0;
}

void source_set(struct ccdrl_sim *sim, uint32_t source, int64_t time_ns)
{
	(void)source;
	((struct driver *)sim)->due_ns = time_ns;
}

static void driver_record(struct ccdrl_sim *sim, const struct packet *packet, uint32_t is_dropped)
{
	struct driver *driver = (struct driver *)sim;

	if (driver->n == driver->capacity) {
		driver->capacity = driver->capacity == 0 ? 1024 : 2 * driver->capacity;
		driver->records = realloc(driver->records, driver->capacity * sizeof(*driver->records));
		if (driver->records == NULL)
			abort();
	}
	driver->records[driver->n++] = (struct record){
		.time_ns = sim->now_ns, .sent_ns = packet->sent_ns, .departure_ns = packet->departure_ns, .seq = packet->seq,
		.flags = packet->flags, .is_dropped = is_dropped, .subflow = (uint32_t)(packet->subflow - driver->subflows),
	};
}

void subflow_packet_forward(struct ccdrl_sim *sim, const struct packet *packet)
{
	struct driver *driver = (struct driver *)sim;
	struct packet again = *packet;

	driver_record(sim, packet, 0);
	if (again.hop++ < driver->loops)
		link_send(sim, driver->link, &again);
}

void subflow_packet_dropped(struct ccdrl_sim *sim, const struct packet *packet) { driver_record(sim, packet, 1); }

struct driver *driver_new(uint64_t seed, uint32_t index, const struct ccdrl_link_config *config)
{
	struct driver *driver = calloc(1, sizeof(*driver));

	if (driver == NULL)
		abort();
	driver->sim.seed = seed;
	driver->link = link_new(&driver->sim, config, index);
	return driver;
}

void driver_free(struct driver *driver)
{
	link_free(driver->link);
	free(driver->records);
	free(driver);
}

const char *driver_error(const struct driver *driver) { return driver->sim.error; }

void driver_run(struct driver *driver, int64_t until_ns)
{
	struct ccdrl_sim *sim = &driver->sim;

	while (driver->due_ns <= until_ns) {
		if (driver->due_ns < sim->now_ns)
			abort();	/* time runs backwards */
		sim->now_ns = driver->due_ns;
		link_fire(sim, driver->link);
	}
	sim->now_ns = until_ns;
}

void driver_send(struct driver *driver, int64_t time_ns, uint32_t wire_bytes, uint32_t seq, uint32_t subflow)
{
	const struct packet packet = {
		.sent_ns = time_ns, .subflow = &driver->subflows[subflow], .seq = seq, .wire_bytes = (uint16_t)wire_bytes,
	};

	driver_run(driver, time_ns);
	link_send(&driver->sim, driver->link, &packet);
}

void driver_event(struct driver *driver, const struct ccdrl_event_config *event)
{
	driver_run(driver, event->at_ns);
	link_event(&driver->sim, driver->link, event);
}

void driver_stats(struct driver *driver, struct ccdrl_link_stats *out) { link_stats_read(&driver->sim, driver->link, out); }

void driver_stats_reset(struct driver *driver) { link_stats_reset(&driver->sim, driver->link); }

const struct record *driver_records(const struct driver *driver) { return driver->records; }

uint32_t driver_record_count(const struct driver *driver) { return driver->n; }

uint32_t driver_packets_of(const struct driver *driver, uint32_t subflow)
{
	return link_packets_of(driver->link, &driver->subflows[subflow]);
}

int64_t driver_backlog_ns(struct driver *driver) { return link_backlog_ns(&driver->sim, driver->link); }

uint32_t driver_loss_draw(struct driver *driver) { return link_loss_draw(driver->link); }

void driver_loops_set(struct driver *driver, uint32_t loops) { driver->loops = loops; }

void driver_red_average_set(struct driver *driver, double bytes) { driver->link->aqm.red.average_bytes = bytes; }

double driver_red_average(const struct driver *driver) { return driver->link->aqm.red.average_bytes; }

double driver_pie_probability(const struct driver *driver) { return driver->link->aqm.pie.drop_probability; }

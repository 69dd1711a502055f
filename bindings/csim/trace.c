/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Capacity that varies with time and repeats.
 *
 * OPPORTUNITIES is mahimahi's mm-link: at each opportunity up to 1500 wire bytes of the packets that arrived before it leave;
 * what a packet leaves over serves those behind it, a packet may need several, and an opportunity with nothing to serve is
 * lost. RATE integrates a piecewise constant rate. Either way a cursor remembers where the last promised byte was served.
 */
#include "link.h"

/* The first entry later than a time within the period. */
static uint64_t trace_upper_bound(const struct trace *trace, int64_t time_ns)
{
	uint64_t low = 0, high = trace->n;

	while (low < high) {
		const uint64_t middle = low + (high - low) / 2;

		if (trace->time_ns[middle] <= time_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct trace *trace_new(const struct ccdrl_trace_config *config)
{
	struct trace *trace = calloc(1, sizeof(*trace));
	const bool is_rate = config->kind == CCDRL_TRACE_RATE;

	if (trace == NULL)
		return NULL;
	trace->kind = config->kind;
	trace->n = config->n;
	trace->period_ns = config->period_ns;
	trace->time_ns = malloc(config->n * sizeof(*trace->time_ns));
	trace->bytes_per_ns = is_rate ? malloc(config->n * sizeof(*trace->bytes_per_ns)) : NULL;
	trace->bytes_before = is_rate ? malloc(config->n * sizeof(*trace->bytes_before)) : NULL;
	if (trace->time_ns == NULL || (is_rate && (trace->bytes_per_ns == NULL || trace->bytes_before == NULL))) {
		trace_free(trace);
		return NULL;
	}
	memcpy(trace->time_ns, config->time_ns, config->n * sizeof(*trace->time_ns));
	if (!is_rate) {
		trace->period_bytes = (double)config->n * OPPORTUNITY_BYTES;
		return trace;
	}
	for (uint64_t i = 0; i < config->n; i++) {
		const int64_t end_ns = i + 1 < config->n ? config->time_ns[i + 1] : config->period_ns;

		trace->bytes_per_ns[i] = config->rate_bps[i] / 8e9;
		trace->bytes_before[i] = trace->period_bytes;
		trace->period_bytes += trace->bytes_per_ns[i] * (double)(end_ns - config->time_ns[i]);
	}
	return trace;
}

void trace_free(struct trace *trace)
{
	if (trace == NULL)
		return;
	free(trace->time_ns);
	free(trace->bytes_per_ns);
	free(trace->bytes_before);
	free(trace);
}

/* RATE: capacity of one period before a time within it. */
static double rate_bytes_before(const struct trace *trace, int64_t time_ns)
{
	const uint64_t i = trace_upper_bound(trace, time_ns) - 1;

	return trace->bytes_before[i] + trace->bytes_per_ns[i] * (double)(time_ns - trace->time_ns[i]);
}

/* OPPORTUNITIES: how many there are up to and including a time. */
static int64_t opportunities_until(const struct trace *trace, int64_t time_ns)
{
	return time_ns / trace->period_ns * (int64_t)trace->n +
	    (int64_t)trace_upper_bound(trace, time_ns % trace->period_ns);
}

double trace_capacity(const struct trace *trace, int64_t from_ns, int64_t to_ns)
{
	const int64_t period_ns = trace->period_ns;

	if (trace->kind == CCDRL_TRACE_OPPORTUNITIES)
		return (double)(opportunities_until(trace, to_ns) - opportunities_until(trace, from_ns)) * OPPORTUNITY_BYTES;
	return (double)(to_ns / period_ns - from_ns / period_ns) * trace->period_bytes +
	    rate_bytes_before(trace, to_ns % period_ns) - rate_bytes_before(trace, from_ns % period_ns);
}

static void server_advance(struct server *server)
{
	if (++server->index == server->trace->n) {
		server->index = 0;
		server->base_ns += server->trace->period_ns;
	}
}

/* The cursor goes to the first entry after a time. */
static void server_seek(struct server *server, int64_t now_ns)
{
	const struct trace *trace = server->trace;

	server->base_ns = now_ns - now_ns % trace->period_ns;
	server->index = trace_upper_bound(trace, now_ns % trace->period_ns);
	if (server->index == trace->n) {
		server->index = 0;
		server->base_ns += trace->period_ns;
	}
}

static int64_t opportunities_depart(struct server *server, int64_t now_ns, bool is_busy, int64_t bytes)
{
	const int64_t *time_ns = server->trace->time_ns;

	if (!is_busy) {
		const bool was_past = server->base_ns + time_ns[server->index] <= now_ns;

		server->credit_bytes = OPPORTUNITY_BYTES;
		server_advance(server);		/* mostly the next one is right */
		if (!was_past || server->base_ns + time_ns[server->index] <= now_ns)
			server_seek(server, now_ns);
	}
	while (bytes > server->credit_bytes) {
		bytes -= server->credit_bytes;
		server->credit_bytes = OPPORTUNITY_BYTES;
		server_advance(server);
	}
	server->credit_bytes -= bytes;
	return server->free_ns = server->base_ns + time_ns[server->index];
}

static int64_t rate_end_ns(const struct server *server)
{
	const struct trace *trace = server->trace;

	return server->base_ns + (server->index + 1 < trace->n ? trace->time_ns[server->index + 1] : trace->period_ns);
}

static int64_t rate_depart(struct server *server, int64_t now_ns, bool is_busy, double bytes)
{
	const struct trace *trace = server->trace;

	if (!is_busy) {
		server->free_ns = now_ns;
		server->remainder_ns = 0;
		if (server->base_ns + trace->time_ns[server->index] > now_ns || rate_end_ns(server) <= now_ns) {
			server->base_ns = now_ns - now_ns % trace->period_ns;
			server->index = trace_upper_bound(trace, now_ns % trace->period_ns) - 1;
		}
	}
	if (unlikely(bytes > trace->period_bytes)) {
		/* Whole periods at once; something is left, so that the last byte finds a rate above 0. */
		const double periods = trace->period_bytes > 0 ? ceil(bytes / trace->period_bytes) - 1 : INFINITY;

		if (server->free_ns >= TIME_HORIZON_NS || !(periods * (double)trace->period_ns < (double)TIME_HORIZON_NS)) {
			server->free_ns = TIME_HORIZON_NS;
			return TIME_NEVER;
		}
		bytes -= periods * trace->period_bytes;
		server->base_ns += (int64_t)periods * trace->period_ns;
		server->free_ns += (int64_t)periods * trace->period_ns;
	}
	for (;;) {
		const double bytes_per_ns = trace->bytes_per_ns[server->index];
		const int64_t end_ns = rate_end_ns(server);
		const double left_ns = (double)(end_ns - server->free_ns) - server->remainder_ns;

		if (bytes_per_ns > 0 && bytes <= left_ns * bytes_per_ns) {
			const double time_ns = server->remainder_ns + bytes / bytes_per_ns;
			const int64_t whole_ns = (int64_t)floor(time_ns + 0.5);

			server->remainder_ns = time_ns - (double)whole_ns;
			return server->free_ns += whole_ns;
		}
		bytes -= left_ns * bytes_per_ns;
		server->free_ns = end_ns;
		server->remainder_ns = 0;
		server_advance(server);
	}
}

int64_t trace_depart(struct server *server, int64_t now_ns, bool is_busy, double bytes)
{
	if (server->trace->kind == CCDRL_TRACE_OPPORTUNITIES)
		return opportunities_depart(server, now_ns, is_busy, (int64_t)bytes);
	return rate_depart(server, now_ns, is_busy, bytes);
}

double trace_backlog(const struct server *server, int64_t now_ns)
{
	const struct trace *trace = server->trace;

	if (trace->kind == CCDRL_TRACE_OPPORTUNITIES) {
		const int64_t promised = server->base_ns / trace->period_ns * (int64_t)trace->n + (int64_t)server->index + 1;

		return (double)(promised - opportunities_until(trace, now_ns)) * OPPORTUNITY_BYTES -
		    (double)server->credit_bytes;
	}
	return trace_capacity(trace, now_ns, server->free_ns) +
	    server->remainder_ns * trace->bytes_per_ns[server->index];
}

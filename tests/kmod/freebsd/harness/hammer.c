/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Threads that use the module at the same time: two are network threads, each with its own connections, which come
 * and go; one is an agent that reads every record and answers with windows, some of them wrong on purpose; one
 * reads sysctls. The agent checks what must hold whatever the interleaving: a reader gets no more records than it has
 * room for, a subflow's numbers never go back, and after CLOSED nothing comes.
 */
#include "host.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ccdrl.h"

enum { SAMPLES = 512, IDS = 1 << 16, MSS = 1448, OWN_MAX = 4096, ENOUGH = 100, AHEAD_MAX = 2000 };
#define SAMPLES_AT ((host_word)HOST_USER_BASE + 0x800000)
#define COUNT_AT (SAMPLES_AT + 0x100000)
#define ACTIONS_AT (SAMPLES_AT + 0x200000)
#define RESULTS_AT (SAMPLES_AT + 0x300000)

struct worker {
	pthread_t thread;
	int cpu;
	unsigned subflows;
	uint64_t random, events, created, refused;
};

struct seen {
	uint64_t id, seq, delivered_bytes;
	int is_closed;
};

static volatile int is_over;
static struct seen seen[IDS];
static volatile uint64_t reads, records, actions_taken, actions_other, overfull, went_back, after_closed;

static unsigned draw(struct worker *worker, unsigned below)
{
	worker->random ^= worker->random << 13;
	worker->random ^= worker->random >> 7;
	worker->random ^= worker->random << 17;
	return (unsigned)(worker->random >> 33) % below;
}

static int connection_open(struct worker *worker)
{
	struct model_address local = { .port = (unsigned short)(1024 + worker->cpu), .address = { 10, 0, 0, 1 } };
	struct model_address foreign = { .port = (unsigned short)(1 + draw(worker, 60000)), .address = { 10, 0, 0, 2 } };
	int subflow, error;

	error = model_subflow_create(&local, &foreign, MSS, 0, &subflow);
	worker->created += error == 0;
	worker->refused += error != 0;
	return error ? -1 : subflow;
}

static void connection_step(struct worker *worker, int *subflow)
{
	unsigned what = draw(worker, 100);

	worker->events++;
	if (*subflow < 0) {
		*subflow = connection_open(worker);
		return;
	}
	if (what < 80) {
		model_send(*subflow, MSS * 2, 0);
		model_ack(*subflow, MSS * 2, 1000 + draw(worker, 50000), 1);
	} else if (what < 86)
		model_event(*subflow, "loss", 0);
	else if (what < 92)
		model_event(*subflow, "recovered", 20000);
	else if (what < 94)
		model_event(*subflow, "rto", 0);
	else if (what < 96)
		model_event(*subflow, "idle", 0);
	else if (what < 98)
		model_event(*subflow, "ecn", 0);
	else {
		model_subflow_close(*subflow);
		*subflow = -1;
	}
}

static void *network_run(void *argument)
{
	struct worker *worker = argument;
	static _Thread_local int own[OWN_MAX];
	const struct timespec pause = { 0, 50000 };
	uint64_t reads_before = 0;
	int ahead = 0;

	host_thread_enter(worker->cpu);
	for (unsigned i = 0; i < worker->subflows; i++)
		own[i] = -1;
	while (!is_over) {
		connection_step(worker, &own[draw(worker, worker->subflows)]);
		ahead = reads == reads_before ? ahead + 1 : 0;
		reads_before = reads;
		if (ahead > AHEAD_MAX)		/* an agent that hardly runs would see nothing but ends */
			nanosleep(&pause, NULL);
	}
	for (unsigned i = 0; i < worker->subflows; i++) {
		if (own[i] >= 0)
			model_subflow_close(own[i]);
	}
	return NULL;
}

static void record_check(const struct drl_subflow_sample *sample)
{
	struct seen *entry = &seen[(sample->subflow_id * 0x9e3779b97f4a7c15UL) >> 48];

	if (entry->id == sample->subflow_id) {
		went_back += sample->seq < entry->seq || sample->delivered_bytes < entry->delivered_bytes;
		after_closed += entry->is_closed;
	}
	*entry = (struct seen){ sample->subflow_id, sample->seq, sample->delivered_bytes, sample->event == DRL_EVENT_CLOSED };
}

static int call(const char *name, host_word r0, host_word r1, host_word r2)
{
	host_word registers[8] = { r0, r1, r2 }, value;

	return model_syscall(model_syscall_number(name), 1, registers, &value);
}

static void agent_step(struct worker *worker)
{
	static struct drl_subflow_sample samples[SAMPLES];
	static struct drl_cwnd_action actions[SAMPLES];
	static int32_t results[SAMPLES];
	/* Every other time room for a few, right after most were read: when how many wait matters, and changes. */
	uint32_t room = 1 + draw(worker, reads % 2 ? 4 : SAMPLES), count = room;

	model_user_write(COUNT_AT, &count, sizeof(count));
	if (call("sys/drl_get_buffer", SAMPLES_AT, COUNT_AT, 0) != 0)
		return;
	model_user_read(COUNT_AT, &count, sizeof(count));
	if (count > room) {
		overfull++;
		count = room;
	}
	model_user_read(SAMPLES_AT, samples, count * sizeof(samples[0]));
	reads++;
	records += count;
	for (uint32_t i = 0; i < count; i++) {
		record_check(&samples[i]);
		actions[i] = (struct drl_cwnd_action){ DRL_ABI_VERSION, MSS * (1 + draw(worker, 200)), samples[i].subflow_id,
		    samples[i].seq - (draw(worker, 8) == 0), 0, 1 + draw(worker, 100000), draw(worker, 16) == 0 };
	}
	model_user_write(ACTIONS_AT, actions, count * sizeof(actions[0]));
	if (count == 0 || call("sys/drl_update_cwnd", ACTIONS_AT, count, RESULTS_AT) != 0)
		return;
	model_user_read(RESULTS_AT, results, count * sizeof(results[0]));
	for (uint32_t i = 0; i < count; i++) {
		actions_taken += results[i] < DRL_RESULT_STALE;
		actions_other += results[i] >= DRL_RESULT_STALE;
	}
}

static void *agent_run(void *argument)
{
	struct worker *worker = argument;

	host_thread_enter(worker->cpu);
	while (!is_over) {
		agent_step(worker);
		model_advance(draw(worker, 3000));
	}
	return NULL;
}

static void *administrator_run(void *argument)
{
	struct worker *worker = argument;
	static char names[1 << 14];
	char value[HOST_TEXT_MAX], *rest;

	host_thread_enter(worker->cpu);
	while (!is_over) {
		const struct timespec pause = { 0, 1000000 };

		model_sysctl_list(names, sizeof(names));
		for (char *name = strtok_r(names, " ", &rest); name != NULL; name = strtok_r(NULL, " ", &rest))
			model_sysctl(name, 1, NULL, value);
		worker->events++;
		nanosleep(&pause, NULL);
	}
	return NULL;
}

void hammer(unsigned ms, unsigned subflows, unsigned seed, char *summary)
{
	static void *(*const jobs[])(void *) = { network_run, network_run, agent_run, administrator_run };
	struct worker workers[4] = { 0 };
	const struct timespec duration = { ms / 1000, ms % 1000 * 1000000L };

	model_user_map(SAMPLES_AT, 0x400000, 1);
	is_over = 0;
	for (int i = 0; i < 4; i++) {
		workers[i] = (struct worker){ .cpu = i + 1, .subflows = subflows / 2 < OWN_MAX ? subflows / 2 : OWN_MAX,
		    .random = (seed + 1) * 0x9e3779b97f4a7c15UL + (uint64_t)i };
		pthread_create(&workers[i].thread, NULL, jobs[i], &workers[i]);
	}
	/* On a machine with other work the agent may hardly run: then longer, but not for ever. */
	for (int i = 0; i < 60 && (i == 0 || reads < ENOUGH || actions_taken < ENOUGH || actions_other < ENOUGH); i++)
		nanosleep(&duration, NULL);
	is_over = 1;
	for (int i = 0; i < 4; i++)
		pthread_join(workers[i].thread, NULL);
	sprintf(summary,
	    "events=%lu created=%lu refused=%lu reads=%lu records=%lu taken=%lu other=%lu overfull=%lu went_back=%lu "
	    "after_closed=%lu", workers[0].events + workers[1].events, workers[0].created + workers[1].created,
	    workers[0].refused + workers[1].refused, reads, records, actions_taken, actions_other, overfull, went_back,
	    after_closed);
}

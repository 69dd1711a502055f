/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * N simulators in one call on a pool of threads. Simulators share nothing, so which thread runs which changes no result.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "internal.h"

struct batch {
	struct ccdrl_sim **sims;
	uint32_t n;
	const int64_t *until_ns;
	const uint32_t *first_row;
	const struct drl_cwnd_action *actions;
	struct drl_subflow_sample *samples;
};

struct ccdrl_pool {
	pthread_mutex_t mutex;
	pthread_cond_t start, done;
	pthread_t *threads;
	uint32_t n_threads;		/* besides the caller */
	uint64_t generation;
	uint32_t n_busy;
	bool is_closing;
	struct batch batch;
	atomic_uint next;
	atomic_int error;
};

static int step_one(const struct batch *batch, uint32_t index)
{
	struct ccdrl_sim *sim = batch->sims[index];
	uint32_t first = batch->first_row[index], rows = batch->first_row[index + 1] - first;
	int error;

	for (uint32_t i = first; i < first + rows; i++) {
		int32_t result;

		if (batch->actions[i].subflow_id != 0)
			drl_sim_update_cwnd(sim, &batch->actions[i], 1, &result);
	}
	error = ccdrl_sim_run(sim, batch->until_ns[index]);
	if (error == CCDRL_OK && drl_sim_peek(sim, &batch->samples[first], rows) != (int)rows)
		error = CCDRL_ERR_ARGUMENT;
	return error;
}

static void work(struct ccdrl_pool *pool)
{
	uint32_t index;

	while ((index = atomic_fetch_add(&pool->next, 1)) < pool->batch.n) {
		int error = step_one(&pool->batch, index), none = CCDRL_OK;

		if (error != CCDRL_OK)
			atomic_compare_exchange_strong(&pool->error, &none, error);
	}
}

static void *worker(void *argument)
{
	struct ccdrl_pool *pool = argument;
	uint64_t seen = 0;

	pthread_mutex_lock(&pool->mutex);
	for (;;) {
		while (pool->generation == seen && !pool->is_closing)
			pthread_cond_wait(&pool->start, &pool->mutex);
		if (pool->is_closing)
			break;
		seen = pool->generation;
		pthread_mutex_unlock(&pool->mutex);
		work(pool);
		pthread_mutex_lock(&pool->mutex);
		if (--pool->n_busy == 0)
			pthread_cond_signal(&pool->done);
	}
	pthread_mutex_unlock(&pool->mutex);
	return NULL;
}

struct ccdrl_pool *ccdrl_pool_new(uint32_t n_threads)
{
	struct ccdrl_pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return NULL;
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->start, NULL);
	pthread_cond_init(&pool->done, NULL);
	pool->threads = calloc(n_threads ? n_threads : 1, sizeof(*pool->threads));
	if (pool->threads == NULL) {
		free(pool);
		return NULL;
	}
	for (; pool->n_threads + 1 < n_threads; pool->n_threads++)
		if (pthread_create(&pool->threads[pool->n_threads], NULL, worker, pool) != 0)
			break;			/* fewer threads give the same results */
	return pool;
}

void ccdrl_pool_free(struct ccdrl_pool *pool)
{
	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->mutex);
	pool->is_closing = true;
	pthread_cond_broadcast(&pool->start);
	pthread_mutex_unlock(&pool->mutex);
	for (uint32_t i = 0; i < pool->n_threads; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->start);
	pthread_cond_destroy(&pool->done);
	pthread_mutex_destroy(&pool->mutex);
	free(pool->threads);
	free(pool);
}

int ccdrl_batch_step(struct ccdrl_pool *pool, struct ccdrl_sim **sims, uint32_t n, const int64_t *until_ns,
    const uint32_t *first_row, const struct drl_cwnd_action *actions, struct drl_subflow_sample *samples)
{
	pool->batch = (struct batch){ sims, n, until_ns, first_row, actions, samples };
	atomic_store(&pool->next, 0);
	atomic_store(&pool->error, CCDRL_OK);
	pthread_mutex_lock(&pool->mutex);
	pool->n_busy = pool->n_threads;
	pool->generation++;
	pthread_cond_broadcast(&pool->start);
	pthread_mutex_unlock(&pool->mutex);
	work(pool);
	pthread_mutex_lock(&pool->mutex);
	while (pool->n_busy > 0)
		pthread_cond_wait(&pool->done, &pool->mutex);
	pthread_mutex_unlock(&pool->mutex);
	return atomic_load(&pool->error);
}

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Event sources in a winner tree ordered by (time, order): leaf i is source i's next event, each inner node the smaller of
 * its two, the root the next event of all. A source moves by replaying one path of log2(n) comparisons; unlike a heap it
 * needs no position table and no branch that depends on the data.
 */
#include "internal.h"

static inline event_key key_min(event_key a, event_key b)
{
	return a < b ? a : b;
}

void source_set(struct ccdrl_sim *sim, uint32_t source, int64_t time_ns)
{
	event_key *tree = sim->tree;
	uint32_t node = sim->tree_leaves + source;
	event_key winner = (event_key)(uint64_t)time_ns << 64 | (uint64_t)++sim->order << 32 | source;

#ifdef CCDRL_DEBUG
	if (time_ns < sim->now_ns)
		abort();		/* time does not run backwards */
#endif
	/* Always to the root: the rivals' addresses do not depend on the outcome, so their loads overlap, and the trip count is
	   predictable; stopping where nothing changes would save comparisons and cost mispredictions. */
	tree[node] = winner;
	while (node > 1) {
		winner = key_min(winner, tree[node ^ 1]);
		node /= 2;
		tree[node] = winner;
	}
}

static bool grow_tree(struct ccdrl_sim *sim)
{
	uint32_t leaves = sim->tree_leaves ? 2 * sim->tree_leaves : 8;
	struct source *sources = realloc(sim->sources, leaves * sizeof(*sources));
	event_key *tree;

	if (sources == NULL)
		return false;
	sim->sources = sources;
	tree = aligned_alloc(64, 2 * leaves * sizeof(*tree));
	if (tree == NULL)
		return false;
	for (uint32_t i = 0; i < leaves; i++)
		tree[leaves + i] = i < sim->n_sources ? sim->tree[sim->tree_leaves + i] : (event_key)TIME_NEVER << 64;
	for (uint32_t node = leaves - 1; node > 0; node--)
		tree[node] = key_min(tree[2 * node], tree[2 * node + 1]);
	free(sim->tree);
	sim->tree = tree;
	sim->tree_leaves = leaves;
	return true;
}

uint32_t source_add(struct ccdrl_sim *sim, enum source_kind kind, void *object)
{
	if (sim->n_sources == sim->tree_leaves && !grow_tree(sim))
		return UINT32_MAX;
	sim->sources[sim->n_sources] = (struct source){ kind, object };
	return sim->n_sources++;
}

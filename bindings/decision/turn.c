/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The parts of a turn in their order. Rows come from the table, so that an observer of its capacity knows all of them.
 */
#include <math.h>

#include "sample.h"

static void turn_count_records(struct ccdrl_turn *turn, const struct ccdrl_intake *intake, size_t n)
{
	turn->counts->samples += n;
	turn->counts->samples_foreign += intake->foreign;
	turn->counts->samples_future += intake->future;
	turn->counts->samples_stale += intake->stale;
	turn->refused += intake->refused;
}

size_t ccdrl_turn_begin(struct ccdrl_turn *turn, const void *samples, size_t n, uint64_t clock_us)
{
	struct ccdrl_table *table = turn->table;
	struct ccdrl_intake intake = ccdrl_table_absorb(table, samples, n, clock_us);
	uint64_t now_us = clock_us == UINT64_MAX ? intake.newest_us : clock_us;
	size_t n_due;

	turn_count_records(turn, &intake, n);
	ccdrl_observer_reset(turn->observer, table->opened_rows, table->opened_connections, intake.opened);
	if (now_us > turn->now_us)
		turn->now_us = now_us;
	if ((double)turn->now_us < table->wake_us)
		return 0;
	n_due = ccdrl_table_select(table, turn->now_us, &turn->due);
	if (n_due > 0)
		ccdrl_observer_update(turn->observer, turn->due.rows, turn->due.records, n_due, turn->observations);
	return n_due;
}

static double turn_find_lowest(const struct ccdrl_turn *turn, size_t n)
{
	double lowest = INFINITY;

	for (size_t i = 0; i < n; i++)	/* an action is never for a subflow without a segment size */
		if (turn->cwnd_actions[i].subflow_id != 0)
			lowest = at_most((double)turn->cwnd_actions[i].cwnd_bytes / turn->due.records[i].mss_bytes, lowest);
	return lowest;
}

double ccdrl_turn_finish(struct ccdrl_turn *turn, const float *actions, size_t n)
{
	struct ccdrl_limited limited = ccdrl_actions_limit(actions, n, turn->actions);

	ccdrl_observer_remember(turn->observer, turn->due.rows, turn->actions, n);
	ccdrl_observer_read_steps(turn->observer, turn->due.rows, n, turn->steps);
	ccdrl_actions_map(turn->rule, turn->actions, turn->steps, turn->due.records, turn->due.intervals_us, 0, n,
	    turn->cwnd_actions);
	turn->counts->windows_bounded += ccdrl_windows_limit(turn->cwnd_actions, n, turn->cwnd_max_bytes);
	turn->counts->actions += n;
	turn->counts->actions_not_finite += limited.not_finite;
	turn->counts->actions_clipped += limited.clipped;
	return turn_find_lowest(turn, n);
}

size_t ccdrl_turn_gather(const struct ccdrl_turn *turn, size_t n)
{
	size_t n_gathered = 0;

	for (size_t i = 0; i < n; i++)
		n_gathered += turn->cwnd_actions[i].subflow_id != 0;
	if (n_gathered == n)
		return n;
	n_gathered = 0;
	for (size_t i = 0; i < n; i++)
		if (turn->cwnd_actions[i].subflow_id != 0)
			turn->gathered[n_gathered++] = turn->cwnd_actions[i];
	return n_gathered;
}

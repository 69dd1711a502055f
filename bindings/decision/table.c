/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The table of subflows. Its keys come from a datapath that other programs write too, so nothing in a record is believed
 * but for what map and counters can bear: an id twice in one read, an id of a row just freed, any times.
 */
#include <math.h>

#include "map.h"
#include "sample.h"

void ccdrl_table_begin(struct ccdrl_table *table)
{
	for (uint32_t i = 0; i < table->capacity; i++)
		table->free_rows[i] = table->free_connections[i] = table->capacity - 1 - i;
}

static uint32_t connection_join(struct ccdrl_table *table, const struct drl_subflow_sample *record)
{
	uint64_t subflow_id = record->conn_id ? 0 : record->subflow_id;
	struct ccdrl_entry *entry = map_find(&table->by_connection, record->conn_id, subflow_id);

	if (!entry->is_used) {
		uint32_t number = table->free_connections[table->capacity - ++table->n_connections];

		*entry = (struct ccdrl_entry){ record->conn_id, subflow_id, number, 1 };
		table->connections[number] = (struct ccdrl_connection){ .conn_id = record->conn_id, .subflow_id = subflow_id };
	}
	table->connections[entry->value].members++;
	return entry->value;
}

static void connection_leave(struct ccdrl_table *table, uint32_t number)
{
	struct ccdrl_connection *connection = &table->connections[number];

	if (--connection->members > 0)
		return;
	map_remove(&table->by_connection, map_find(&table->by_connection, connection->conn_id, connection->subflow_id));
	table->free_connections[table->capacity - table->n_connections--] = number;
}

static uint32_t subflow_open(struct ccdrl_table *table, struct ccdrl_entry *entry,
    const struct drl_subflow_sample *record, struct ccdrl_intake *intake)
{
	uint32_t row = table->free_rows[table->capacity - ++table->n_subflows];
	struct ccdrl_subflow *subflow = &table->subflows[row];

	*entry = (struct ccdrl_entry){ record->subflow_id, 0, row, 1 };
	*subflow = (struct ccdrl_subflow){ .connection = connection_join(table, record), .is_open = 1 };
	table->opened_rows[intake->opened] = row;
	table->opened_connections[intake->opened++] = subflow->connection;
	if (row >= table->rows_used)
		table->rows_used = row + 1;
	table->wake_us = 0.0;
	return row;
}

static void subflow_close(struct ccdrl_table *table, uint32_t row)
{
	struct ccdrl_subflow *subflow = &table->subflows[row];

	map_remove(&table->by_subflow, map_find(&table->by_subflow, subflow->record.subflow_id, 0));
	connection_leave(table, subflow->connection);
	subflow->is_open = subflow->is_live = 0;
	table->free_rows[table->capacity - table->n_subflows--] = row;
}

static void record_take(struct ccdrl_table *table, const struct drl_subflow_sample *record, struct ccdrl_intake *intake)
{
	struct ccdrl_entry *entry = map_find(&table->by_subflow, record->subflow_id, 0);
	struct ccdrl_subflow *subflow;
	uint8_t was_live;

	if (!entry->is_used && record->event == DRL_EVENT_CLOSED)
		return;
	if (!entry->is_used && table->n_subflows == table->capacity) {
		intake->refused++;
		return;
	}
	subflow = &table->subflows[entry->is_used ? entry->value : subflow_open(table, entry, record, intake)];
	if (record->seq < subflow->record.seq) {
		intake->stale++;
		return;
	}
	was_live = subflow->is_live;
	subflow->record = *record;
	subflow->is_live = (uint8_t)sample_is_live(record);
	subflow->is_closing |= record->event == DRL_EVENT_CLOSED;
	if (subflow->is_live && !was_live)
		table->wake_us = 0.0;
}

/* Rows are given back after the last record, so that none is opened twice in a call. */
struct ccdrl_intake ccdrl_table_absorb(struct ccdrl_table *table, const void *samples, size_t n, uint64_t now_us)
{
	uint64_t latest_us = now_us > UINT64_MAX - CCDRL_FUTURE_MAX_US ? UINT64_MAX : now_us + CCDRL_FUTURE_MAX_US;
	struct ccdrl_intake intake = { 0 };
	int is_closing = 0;

	for (size_t i = 0; i < n; i++) {
		struct drl_subflow_sample record = sample_get(samples, i);

		if (record.abi != DRL_ABI_VERSION || record.subflow_id == 0) {
			intake.foreign++;
			continue;
		}
		if (record.timestamp_us > latest_us) {
			intake.future++;
			continue;
		}
		if (record.timestamp_us > intake.newest_us)
			intake.newest_us = record.timestamp_us;
		is_closing |= record.event == DRL_EVENT_CLOSED;
		record_take(table, &record, &intake);
	}
	for (uint32_t row = 0; is_closing && row < table->rows_used; row++)
		if (table->subflows[row].is_open && table->subflows[row].is_closing)
			subflow_close(table, row);
	return intake;
}

/* Drops the silent, and notes what decides when a connection is due. */
static void table_survey(struct ccdrl_table *table, uint64_t now_us)
{
	for (uint32_t row = 0; row < table->rows_used; row++)
		table->connections[table->subflows[row].connection].srtt_min_us = UINT32_MAX;
	for (uint32_t row = 0; row < table->rows_used; row++) {
		struct ccdrl_subflow *subflow = &table->subflows[row];
		struct ccdrl_connection *connection = &table->connections[subflow->connection];

		if (!subflow->is_open)
			continue;
		if (now_us > table->idle_us && subflow->record.timestamp_us < now_us - table->idle_us)
			subflow_close(table, row);
		else if (subflow->is_live && subflow->record.srtt_us < connection->srtt_min_us)
			connection->srtt_min_us = subflow->record.srtt_us;
	}
}

/* Once a call for each connection, so that siblings are decided for together. */
static void connection_judge(const struct ccdrl_table *table, struct ccdrl_connection *connection, uint64_t now_us)
{
	double interval_us = at_most(at_least(connection->srtt_min_us, table->interval_min_us), table->interval_max_us);

	connection->round = table->round;
	connection->interval_us = interval_us;
	connection->is_due = connection->decided_us == 0 ||
	    (double)now_us - (double)connection->decided_us >= interval_us;
	if (connection->is_due)
		connection->decided_us = now_us;
	connection->next_us = (double)connection->decided_us + interval_us;
}

size_t ccdrl_table_select(struct ccdrl_table *table, uint64_t now_us, const struct ccdrl_due *out)
{
	size_t n = 0;

	table_survey(table, now_us);
	table->round++;
	table->wake_us = INFINITY;
	for (uint32_t row = 0; row < table->rows_used; row++) {
		const struct ccdrl_subflow *subflow = &table->subflows[row];
		struct ccdrl_connection *connection = &table->connections[subflow->connection];

		if (!subflow->is_live)
			continue;
		if (connection->round != table->round)
			connection_judge(table, connection, now_us);
		table->wake_us = at_most(table->wake_us, connection->next_us);
		if (!connection->is_due)
			continue;
		out->rows[n] = row;
		out->records[n] = subflow->record;
		out->records[n].timestamp_us = now_us;
		out->intervals_us[n] = connection->interval_us;
		out->ages_us[n++] = (double)now_us - (double)subflow->record.timestamp_us;
	}
	if (isinf(table->wake_us))	/* nobody lives: the silent have still to be dropped in time */
		table->wake_us = 0.0;
	return n;
}

void ccdrl_table_copy(const struct ccdrl_table *table, struct drl_subflow_sample *records)
{
	for (uint32_t row = 0; row < table->rows_used; row++)
		if (table->subflows[row].is_open)
			*records++ = table->subflows[row].record;
}

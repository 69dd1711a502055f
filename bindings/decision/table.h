/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The subflows that an agent decides for: their newest records, their connections, and when each is due. Subflows are
 * known by id; a new one gets the row that was freed last, and one that closed, or was silent for too long, gives it back.
 */
#ifndef CCDRL_TABLE_H
#define CCDRL_TABLE_H

#ifndef CCDRL_CFFI
#include <stddef.h>
#include <stdint.h>

#include "ccdrl.h"
#endif

enum ccdrl_table_limits {
	CCDRL_FUTURE_MAX_US = 1000000,	/* a record may be this much newer than the clock, which stands on a grid */
};

struct ccdrl_entry {
	uint64_t first, second;		/* key */
	uint32_t value;
	uint32_t is_used;
};

struct ccdrl_map {
	struct ccdrl_entry *entries;
	uint32_t mask;			/* entries: a power of two, at least twice what is ever stored, less one */
};

struct ccdrl_subflow {
	struct drl_subflow_sample record; /* the newest */
	uint32_t connection;
	uint8_t is_open, is_live, is_closing;
};

/* By number; numbers are reused, and lie below the table's capacity. */
struct ccdrl_connection {
	uint64_t conn_id, subflow_id;	/* conn_id 0 is a connection of its own, named by its subflow */
	uint64_t decided_us;		/* newest decision for one of its subflows; 0: never */
	uint64_t round;			/* call of select that has judged it */
	double interval_us, next_us;	/* the latter: when it is due next */
	uint32_t is_due;
	uint32_t members;
	uint32_t srtt_min_us;		/* of its live subflows */
};

struct ccdrl_table {
	uint32_t capacity;		/* subflows */
	uint32_t n_subflows, n_connections;
	uint32_t rows_used;		/* rows beyond were never open */
	uint64_t round;
	uint64_t idle_us;		/* silence after which a subflow is dropped */
	double interval_min_us, interval_max_us; /* a connection is due after its lowest srtt, within these */
	double wake_us;			/* before this time nobody is due */
	struct ccdrl_subflow *subflows;	/* by row */
	struct ccdrl_connection *connections;
	uint32_t *free_rows, *free_connections; /* stacks; capacity - n_subflows and capacity - n_connections deep */
	int64_t *opened_rows, *opened_connections; /* what the last call of absorb opened, `capacity` places */
	struct ccdrl_map by_subflow, by_connection;
};

/* What became of the records of one read. */
struct ccdrl_intake {
	uint64_t newest_us;		/* latest time of those believed; 0: none */
	uint32_t foreign;		/* another ABI version, or no subflow id */
	uint32_t future;		/* taken later than now: would make every honest record of the subflow look old */
	uint32_t stale;			/* older than one already seen of the same subflow */
	uint32_t refused;		/* of a subflow for which there is no row */
	uint32_t opened;		/* entries of opened_rows and opened_connections */
};

/* The rows that are due, in ascending order. Times of records become `now_us`. */
struct ccdrl_due {
	int64_t *rows;
	struct drl_subflow_sample *records;
	double *intervals_us;		/* until the next decision */
	double *ages_us;		/* of the records; negative where their time lies ahead */
};

/* Sets up the stacks; everything else of the table is zero or has been filled in. */
void ccdrl_table_begin(struct ccdrl_table *table);
/* `now_us`: the datapath's clock, UINT64_MAX where it is unknown. */
struct ccdrl_intake ccdrl_table_absorb(struct ccdrl_table *table, const void *samples, size_t n, uint64_t now_us);
/* Drops silent subflows, returns how many rows are due, and takes them as decided now; `out` has n_subflows places. */
size_t ccdrl_table_select(struct ccdrl_table *table, uint64_t now_us, const struct ccdrl_due *out);
/* Copies the newest record of every subflow, n_subflows of them. */
void ccdrl_table_copy(const struct ccdrl_table *table, struct drl_subflow_sample *records);

#endif /* CCDRL_TABLE_H */

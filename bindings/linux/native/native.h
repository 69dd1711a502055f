/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What Python calls of the Linux binding. Parsed by cffi, together with ccdrl.h and ccdrl_linux.h.
 *
 * records.c   samples out of the mapped states, actions into the mapped controls: memory only, no system call
 * syscalls.c  bpf(2) on pinned maps
 * objects.c   loading compiled programs through libbpf.so.1, which is opened at run time and only by the loader
 *
 * Functions that can fail return a negative errno.
 */
#ifndef CCDRL_LINUX_NATIVE_H
#define CCDRL_LINUX_NATIVE_H

#ifndef CCDRL_CFFI
#include <stddef.h>
#include <stdint.h>

#include "ccdrl_linux.h"
#endif

/* The maps as mapped; controls and tally are NULL for those who may only read. */
struct ccdrl_maps {
	const struct ccdrl_state_slot *states;
	const uint64_t *changes;
	const struct ccdrl_linux_info *info;
	struct ccdrl_control_slot *controls;
	struct drl_counters *tally;
};

/* What a reader remembers of a slot. */
struct ccdrl_seen {
	uint64_t subflow_id;		/* 0: nothing returned yet */
	uint64_t conn_id;
	uint64_t seq;
	uint32_t state_changes;
	uint32_t cwnd_limited_acks;
	uint32_t rwnd_limited_acks;
	uint32_t is_open;		/* its CLOSED record has not been returned */
};

struct ccdrl_reader {
	struct ccdrl_maps maps;
	struct ccdrl_seen *seen;	/* one for each slot */
	uint64_t *seen_changes;		/* one for each slot: what it read last in the map of changes */
	uint32_t slots;
	uint32_t cursor;		/* slot that the next call looks at first */
	struct drl_counters counters;	/* of this reader's actions; expired stays 0 */
};

struct ccdrl_slot_use {
	uint32_t used;
	uint32_t in_lease;
};

/* records.c */
uint64_t ccdrl_clock_us(void);		/* CLOCK_MONOTONIC, the clock of records and leases */
/* Subflows that closed before the reader came are not news to it. */
void ccdrl_reader_begin(struct ccdrl_reader *reader);
/* Fills at most `capacity` records of slots that changed; returns how many. */
uint32_t ccdrl_reader_read(struct ccdrl_reader *reader, struct drl_subflow_sample *samples, uint32_t capacity);
/* Gives one enum drl_action_result for each action; the controls must be mapped. */
void ccdrl_reader_write(struct ccdrl_reader *reader, const struct drl_cwnd_action *actions, uint32_t n,
    int32_t *results);
struct ccdrl_slot_use ccdrl_slots_count(const struct ccdrl_maps *maps, uint32_t slots);

struct ccdrl_map_shape {
	uint32_t type;			/* enum bpf_map_type */
	uint32_t key_bytes;
	uint32_t value_bytes;
	uint32_t entries;
};

/* syscalls.c: the first one returns a file descriptor */
int ccdrl_bpf_open(const char *path);
int ccdrl_bpf_pin(int fd, const char *path);
int ccdrl_bpf_freeze(int fd);		/* no process can write the map from now on */
int ccdrl_bpf_shape(int fd, struct ccdrl_map_shape *out);
int ccdrl_bpf_update(int fd, const void *key, const void *value);
int ccdrl_bpf_delete(int fd, const void *key);

enum ccdrl_object_limits {
	CCDRL_OBJECT_MAPS_MAX = 64,
	CCDRL_MAP_NAME_SIZE = 64,
	CCDRL_MAP_STRUCT_OPS = 26,	/* BPF_MAP_TYPE_STRUCT_OPS */
};

struct ccdrl_object_map {
	char name[CCDRL_MAP_NAME_SIZE];
	int fd;
	uint32_t type;
};

struct ccdrl_object;

/* objects.c: `log` gets what libbpf and the verifier said */
struct ccdrl_object *ccdrl_object_load(const char *path, uint32_t slots, char *log, size_t log_size, int *error);
int ccdrl_object_maps(const struct ccdrl_object *object, struct ccdrl_object_map *out, uint32_t capacity);
int ccdrl_object_register(struct ccdrl_object *object, const char *name, char *log, size_t log_size);
void ccdrl_object_close(struct ccdrl_object *object);

#endif /* CCDRL_LINUX_NATIVE_H */

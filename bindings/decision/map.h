/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Pairs of numbers to small numbers: open addressing with linear probing. A removal moves later entries of the same run
 * back, so that no marks of dead entries pile up (Knuth, TAOCP 3, section 6.4, algorithm R).
 */
#ifndef CCDRL_MAP_H
#define CCDRL_MAP_H

#include "table.h"

static inline uint32_t map_hash(uint64_t first, uint64_t second)
{
	uint64_t z = first * 0x9e3779b97f4a7c15u + second;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	return (uint32_t)(z >> 32);
}

/* The entry of a key, or the free one where it would stand: there is always one, as the map is never full. */
static inline struct ccdrl_entry *map_find(const struct ccdrl_map *map, uint64_t first, uint64_t second)
{
	uint32_t at = map_hash(first, second) & map->mask;

	for (;; at = (at + 1) & map->mask) {
		struct ccdrl_entry *entry = &map->entries[at];

		if (!entry->is_used || (entry->first == first && entry->second == second))
			return entry;
	}
}

static inline void map_remove(struct ccdrl_map *map, struct ccdrl_entry *entry)
{
	uint32_t hole = (uint32_t)(entry - map->entries), at = hole;

	for (;;) {
		const struct ccdrl_entry *next;

		at = (at + 1) & map->mask;
		next = &map->entries[at];
		if (!next->is_used)
			break;
		/* it may move into the hole unless it would then stand before its own start */
		if (((at - map_hash(next->first, next->second)) & map->mask) >= ((at - hole) & map->mask)) {
			map->entries[hole] = *next;
			hole = at;
		}
	}
	map->entries[hole].is_used = 0;
}

#endif /* CCDRL_MAP_H */

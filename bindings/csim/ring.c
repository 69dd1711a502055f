/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Growth of the packet rings. Indices run freely and are masked on access, so they stay valid when a ring grows.
 */
#include "internal.h"

#define RING_SLOTS_MIN 16

bool packet_ring_reserve(struct ccdrl_sim *sim, struct packet_ring *ring)
{
	const uint32_t old_slots = ring->slots == NULL ? 0 : ring->mask + 1;
	const uint32_t new_slots = old_slots == 0 ? RING_SLOTS_MIN : old_slots * 2;
	struct packet *slots;

	if (ring->tail - ring->head < old_slots)
		return true;
	slots = old_slots >= UINT32_C(1) << 30 ? NULL : malloc((size_t)new_slots * sizeof(*slots));
	if (slots == NULL) {
		sim->is_out_of_memory = true;
		return false;
	}
	for (uint32_t i = ring->head; i != ring->tail; i++)
		slots[i & (new_slots - 1)] = ring->slots[i & ring->mask];
	free(ring->slots);
	ring->slots = slots;
	ring->mask = new_slots - 1;
	return true;
}

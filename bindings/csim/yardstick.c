/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The machine's yardstick for simulator speed: pop-min and push on a 4096-entry binary heap of 16-byte events.
 */
#define _POSIX_C_SOURCE 200809L

#include <time.h>

#include "internal.h"

#define YARDSTICK_ENTRIES 4096

struct event { int64_t time; uint64_t id; };

static void yardstick_push(struct event *heap, uint32_t n, struct event event)
{
	while (n > 0 && event.time < heap[(n - 1) / 2].time) {
		heap[n] = heap[(n - 1) / 2];
		n = (n - 1) / 2;
	}
	heap[n] = event;
}

/* Bottom-up, as in the C++ standard libraries: the hole goes to a leaf without a branch on the data, then the last entry up. */
static struct event yardstick_pop(struct event *heap, uint32_t n)
{
	struct event top = heap[0], last = heap[n - 1];
	uint32_t position = 0, child;

	while ((child = 2 * position + 2) < n) {
		child -= heap[child - 1].time < heap[child].time;
		heap[position] = heap[child];
		position = child;
	}
	if (child == n) {
		heap[position] = heap[child - 1];
		position = child - 1;
	}
	if (position < n - 1)
		yardstick_push(heap, position, last);
	return top;
}

double ccdrl_bench_heap(uint64_t n)
{
	struct event heap[YARDSTICK_ENTRIES];
	struct timespec start, end;
	uint64_t state = 88172645463325252ULL;

	for (uint32_t i = 0; i < YARDSTICK_ENTRIES; i++) {
		state ^= state << 13, state ^= state >> 7, state ^= state << 17;
		yardstick_push(heap, i, (struct event){ (int64_t)(state >> 40), i });
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint64_t i = 0; i < n; i++) {
		struct event event = yardstick_pop(heap, YARDSTICK_ENTRIES);

		state ^= state << 13, state ^= state >> 7, state ^= state << 17;
		event.time += (int64_t)(state >> 40);
		yardstick_push(heap, YARDSTICK_ENTRIES - 1, event);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
}

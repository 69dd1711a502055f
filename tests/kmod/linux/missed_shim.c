/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * kmod/linux/missed.h as a library: its functions are inline, and cffi calls none of those.
 */
#include "missed.h"

uint32_t shim_missed_repair(struct missed_window *window);

uint32_t shim_missed_repair(struct missed_window *window)
{
	return missed_repair(window);
}

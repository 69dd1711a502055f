/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * kmod/linux/prr.h as a library: its function is inline, and cffi calls none of those.
 */
#include "prr.h"

uint32_t shim_prr_window(const struct prr_ack *ack);

uint32_t shim_prr_window(const struct prr_ack *ack)
{
	return prr_window(ack);
}

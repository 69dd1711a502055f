/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Bounds are few, so they are tried one after the other.
 */
#include "tally.h"

void ccdrl_tally_add(struct ccdrl_tally *tally, double value)
{
	size_t place = 0;

	while (place < tally->n_bounds && tally->bounds[place] < value)
		place++;
	tally->counts[place]++;
	tally->total += value;
}

void ccdrl_tally_add_all(struct ccdrl_tally *tally, const double *values, size_t n, double scale)
{
	for (size_t i = 0; i < n; i++)
		ccdrl_tally_add(tally, values[i] * scale);
}

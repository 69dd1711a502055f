/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Counts of values by upper bounds, for figures that are taken at every decision and read now and then.
 */
#ifndef CCDRL_TALLY_H
#define CCDRL_TALLY_H

#ifndef CCDRL_CFFI
#include <stddef.h>
#include <stdint.h>
#endif

enum ccdrl_tally_limits {
	CCDRL_TALLY_BOUNDS_MAX = 15,
};

struct ccdrl_tally {
	double total;			/* of all values */
	size_t n_bounds;
	double bounds[CCDRL_TALLY_BOUNDS_MAX];	/* ascending; a value counts for the first that is not below it */
	uint64_t counts[CCDRL_TALLY_BOUNDS_MAX + 1];	/* the last, of `n_bounds` + 1, is of what is above all of them */
};

void ccdrl_tally_add(struct ccdrl_tally *tally, double value);
/* Adds n values, each times `scale`. */
void ccdrl_tally_add_all(struct ccdrl_tally *tally, const double *values, size_t n, double scale);

#endif /* CCDRL_TALLY_H */

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Questions about samples, for callers in Python.
 */
#include "sample.h"

void ccdrl_samples_select(const void *samples, size_t n, uint8_t *is_live)
{
	for (size_t i = 0; i < n; i++) {
		struct drl_subflow_sample sample = sample_get(samples, i);

		is_live[i] = (uint8_t)sample_is_live(&sample);
	}
}

void ccdrl_samples_window(const void *samples, size_t n, double *windows)
{
	for (size_t i = 0; i < n; i++) {
		struct drl_subflow_sample sample = sample_get(samples, i);

		windows[i] = sample_window(&sample);
	}
}

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Log-linear histogram of durations: 128 bins an octave over units of 1024 ns, linear below 128 units. A bin's midpoint is
 * within 0.4 % of every value in it.
 */
#include "internal.h"

#define BINS_PER_OCTAVE 128
#define UNIT_SHIFT 10

static uint32_t bin_of(int64_t value_ns)
{
	uint64_t units = value_ns > 0 ? (uint64_t)value_ns >> UNIT_SHIFT : 0;
	uint32_t octave;

	if (units < BINS_PER_OCTAVE)
		return (uint32_t)units;
	octave = 63 - (uint32_t)__builtin_clzll(units) - 7;
	if (octave >= HISTOGRAM_BINS / BINS_PER_OCTAVE - 1)
		return HISTOGRAM_BINS - 1;
	return (octave + 1) * BINS_PER_OCTAVE + (uint32_t)(units >> octave) - BINS_PER_OCTAVE;
}

static double bin_middle_ns(uint32_t bin)
{
	uint32_t octave = bin / BINS_PER_OCTAVE;
	double low, width;

	if (octave == 0)
		return (bin + 0.5) * (1 << UNIT_SHIFT);
	width = ldexp(1.0, (int)octave - 1 + UNIT_SHIFT);
	low = (bin % BINS_PER_OCTAVE + BINS_PER_OCTAVE) * width;
	return low + width / 2;
}

bool histogram_init(struct histogram *histogram)
{
	histogram->counts = calloc(HISTOGRAM_BINS, sizeof(*histogram->counts));
	return histogram->counts != NULL;
}

void histogram_add(struct histogram *histogram, int64_t value_ns)
{
	histogram->counts[bin_of(value_ns)]++;
	histogram->n++;
	histogram->sum_ns += (double)value_ns;
}

void histogram_reset(struct histogram *histogram)
{
	if (histogram->counts != NULL && histogram->n > 0)
		memset(histogram->counts, 0, HISTOGRAM_BINS * sizeof(*histogram->counts));
	histogram->n = 0;
	histogram->sum_ns = 0;
}

double histogram_mean_ms(const struct histogram *const *histograms, uint32_t n)
{
	uint64_t samples = 0;
	double sum_ns = 0;

	for (uint32_t i = 0; i < n; i++) {
		samples += histograms[i]->n;
		sum_ns += histograms[i]->sum_ns;
	}
	return samples > 0 ? sum_ns / (double)samples / NS_PER_MS : NAN;
}

double histogram_quantile_ms(const struct histogram *const *histograms, uint32_t n, double quantile)
{
	uint64_t samples = 0, below = 0;

	for (uint32_t i = 0; i < n; i++)
		samples += histograms[i]->n;
	if (samples == 0)
		return NAN;
	for (uint32_t bin = 0; bin < HISTOGRAM_BINS; bin++) {
		for (uint32_t i = 0; i < n; i++)
			below += histograms[i]->n > 0 ? histograms[i]->counts[bin] : 0;
		if ((double)below >= quantile * (double)samples)
			return bin_middle_ns(bin) / NS_PER_MS;
	}
	return bin_middle_ns(HISTOGRAM_BINS - 1) / NS_PER_MS;
}

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Written so that compilers make vector instructions of the inner loops: no branches, no calls, no aliases.
 */
#include "layers.h"

/* From here on tanh is 1 in single precision. */
#define TANH_LIMIT 9.0f

static inline float bound(float value, float low, float high)
{
	value = value < low ? low : value;
	return value > high ? high : value;
}

static inline float clip(float value, float limit) { return bound(value, -limit, limit); }

/*
 * x * N(x^2) / D(x^2), fitted to tanh over [-9, 9] for the least relative error (2e-8 before rounding). All coefficients
 * are positive, so that nothing cancels. tests/bindings/decision/test_layers.py measures it over the whole range.
 */
static inline float tanh_within_limit(float x)
{
	float t = x * x;
	float n = (((1.3355841e-8f * t + 2.0610007e-5f) * t + 3.4956473e-3f) * t + 0.13381076f) * t + 1.0f;
	float d = (((7.7770631e-7f * t + 3.2857296e-4f) * t + 2.5877210e-2f) * t + 0.46714392f) * t + 1.0f;

	return x * n / d;
}

void ccdrl_rows_normalise(const float *restrict in, size_t n, size_t width, const float *restrict shift,
    const float *restrict scale, float limit, float *restrict out)
{
	for (size_t i = 0; i < n; i++, in += width, out += width)
		for (size_t j = 0; j < width; j++)
			out[j] = clip((in[j] - shift[j]) * scale[j], limit);
}

void ccdrl_rows_activate(float *restrict rows, size_t n, size_t width, const float *restrict bias)
{
	for (size_t i = 0; i < n; i++, rows += width) {
		for (size_t j = 0; j < width; j++)
			rows[j] = clip(rows[j] + bias[j], TANH_LIMIT);
		for (size_t j = 0; j < width; j++)
			rows[j] = tanh_within_limit(rows[j]);
	}
}

void ccdrl_rows_bound(float *restrict rows, size_t n, size_t width, const float *restrict bias, float low, float high)
{
	for (size_t i = 0; i < n; i++, rows += width)
		for (size_t j = 0; j < width; j++)
			rows[j] = bound(rows[j] + bias[j], low, high);
}

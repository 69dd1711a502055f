/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What a policy does to its rows between two matrix products, in one pass over memory each. Rows lie one after the
 * other, `width` floats each. A NaN stays one: whoever uses the result judges it.
 */
#ifndef CCDRL_LAYERS_H
#define CCDRL_LAYERS_H

#ifndef CCDRL_CFFI
#include <stddef.h>
#endif

/* out = (in - shift) * scale, clipped to [-limit, limit]; one shift and scale for each column */
void ccdrl_rows_normalise(const float *in, size_t n, size_t width, const float *shift, const float *scale, float limit,
    float *out);
/* rows = tanh(rows + bias), within 4e-7 */
void ccdrl_rows_activate(float *rows, size_t n, size_t width, const float *bias);
/* rows = rows + bias, clipped to [low, high] */
void ccdrl_rows_bound(float *rows, size_t n, size_t width, const float *bias, float low, float high);

#endif /* CCDRL_LAYERS_H */

/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * xoshiro256** (Blackman and Vigna, ACM TOMS 47, 2021) seeded by splitmix64. Each user has a stream of its own, so that a
 * draw in one place changes no draw in another.
 */
#ifndef CCDRL_RNG_H
#define CCDRL_RNG_H

#include "internal.h"

static inline uint64_t splitmix64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline void rng_seed(struct rng *rng, uint64_t seed, uint64_t stream)
{
	uint64_t state = seed;

	/* The seed is mixed before the stream goes in: (seed, stream) and (seed + 1, stream - 1) have nothing in common. */
	state = splitmix64(&state) ^ (stream * 0xd1342543de82ef95u);
	for (int i = 0; i < 4; i++)
		rng->s[i] = splitmix64(&state);
}

static inline uint64_t rng_rotate(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

static inline uint64_t rng_u64(struct rng *rng)
{
	uint64_t *s = rng->s;
	const uint64_t result = rng_rotate(s[1] * 5, 7) * 9;
	const uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rng_rotate(s[3], 45);
	return result;
}

/* Uniform in [0, 1), 53 bits. */
static inline double rng_double(struct rng *rng) { return (double)(rng_u64(rng) >> 11) * 0x1.0p-53; }

#endif /* CCDRL_RNG_H */

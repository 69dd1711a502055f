# SPDX-License-Identifier: BSD-2-Clause
"""Generated capacity traces: LTE-like rates, and Poisson delivery opportunities.

The LTE-like trace is a Markov chain of four regimes (good, mid, bad, outage) with exponential dwell times; inside a
regime the logarithm of the rate, in steps of 100 ms, is an AR(1) process around the regime's level.

The parameters come from five LTE traces recorded in New York in 2019 (taxi, home, bus, two of walking; 4 to 17 Mbit/s,
1103 s in all; Soheil-ab/DeepCC.v1.0), each divided by its mean and cut at 1.15 and 0.5 of a running median over 5.1 s,
with steps below 0.05 as outages:

| regime | share of time | mean dwell | log level | log deviation | AR(1), 100 ms | goes to good, mid, bad, outage |
|---|---|---|---|---|---|---|
| good | 0.37 | 5.7 s | +0.31 | 0.43 | 0.54 | 0, .89, 0, .11 |
| mid | 0.45 | 3.7 s | -0.28 | 0.65 | 0.48 | .45, 0, .21, .34 |
| bad | 0.15 | 1.1 s | -1.22 | 0.80 | 0.44 | 0, .17, 0, .83 |
| outage | 0.03 | 0.2 s | -4 (0.018 of the mean) | - | - | .06, .25, .69, 0 |

Their coefficient of variation over 100 ms is 0.38 to 0.79 and the correlation of rates 1 s apart 0.18 to 0.69.

Usage: python -m ccdrl.envs.trace_generator --mean-mbps 12 --duration-s 300 --seed 1 --format mahimahi > FILE
"""

import argparse
import sys
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.errors import InputError
from ccdrl.envs.traces import MBPS_MAX, OPPORTUNITY_BYTES, Trace

STEP_S = 0.1
_STEP_NS = 100_000_000
_DWELL_S = (5.7, 3.7, 1.1, 0.2)
_LOG_LEVEL = (0.31, -0.28, -1.22, -4.0)
_LOG_DEVIATION = (0.43, 0.65, 0.80, 0.3)
_CORRELATION = (0.54, 0.48, 0.44, 0.0)
_NEXT = ((0, 0.89, 0, 0.11), (0.45, 0, 0.21, 0.34), (0, 0.17, 0, 0.83), (0.06, 0.25, 0.69, 0))
_PEAK = 3.5
"""Highest rate as a multiple of the mean; 99 % of the recorded steps are below 1.6 to 3.4 times their trace's mean."""
OPPORTUNITIES_MAX = 5_000_000


def lte_rates(mean_mbps: float, duration_s: float, seed: int) -> NDArray[np.float64]:
    """Return an LTE-like rate in Mbit/s for every 100 ms, float64 of shape (ceil(duration_s / 0.1),), mean exact."""
    # RandomState, because its streams are frozen: the same seed gives the same trace with every version of numpy
    random = np.random.RandomState(seed)
    n = max(1, int(np.ceil(duration_s / STEP_S - 1e-9)))
    log_rate = np.empty(n)
    regime, i, deviation = 1, 0, 0.0
    while i < n:
        # a dwell of whole steps, geometric with the exponential's mean
        steps = min(n - i, int(random.geometric(min(1.0, STEP_S / _DWELL_S[regime]))))
        rho = _CORRELATION[regime]
        noise = random.standard_normal(steps)
        for k in range(steps):
            deviation = rho * deviation + np.sqrt(1 - rho * rho) * noise[k]
            log_rate[i + k] = _LOG_LEVEL[regime] + _LOG_DEVIATION[regime] * deviation
        i += steps
        regime = int(random.choice(4, p=_NEXT[regime]))
    return _scale(np.exp(log_rate), mean_mbps)


def _scale(rate: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """Scale to the mean with peaks cut at _PEAK means; what a cut takes away is scaled back in until it settles."""
    for _ in range(50):
        rate = np.minimum(rate * (mean / float(rate.mean())), _PEAK * mean)
    return np.asarray(rate * (mean / float(rate.mean())), dtype=np.float64)


@lru_cache(maxsize=32)
def lte_trace(mean_mbps: float, duration_s: float, seed: int) -> Trace:
    """Return an LTE-like trace of kind "rate" and a period of duration_s, rounded up to 100 ms."""
    rate_bps = lte_rates(mean_mbps, duration_s, seed) * 1e6
    time_ns = np.arange(len(rate_bps), dtype=np.int64) * _STEP_NS
    for array in (rate_bps, time_ns):
        array.flags.writeable = False
    return Trace("rate", time_ns, len(rate_bps) * _STEP_NS, rate_bps)


@lru_cache(maxsize=32)
def poisson_trace(mean_mbps: float, duration_s: float, seed: int) -> Trace:
    """Return a trace of kind "opportunities" of this mean at the times of a Poisson process. Raises InputError."""
    period_ns = max(1, round(duration_s * 1e9))
    n = max(1, round(mean_mbps * 1e6 * duration_s / (8 * OPPORTUNITY_BYTES)))
    if n > OPPORTUNITIES_MAX:
        raise InputError(f"a poisson trace of {n} opportunities: accepted: at most {OPPORTUNITIES_MAX}")
    # given their number, the points of a Poisson process are independent and uniform
    times = np.random.RandomState(seed).random_sample(n) * period_ns
    time_ns = np.sort(times).astype(np.int64)
    time_ns.flags.writeable = False
    return Trace("opportunities", time_ns, period_ns)


def mahimahi_lines(rate_mbps: NDArray[np.float64]) -> list[str]:
    """Return the delivery opportunities (ms) of rates of 100 ms each; the last line closes the period.

    The mean is kept to one packet in a period. A period that ends between two opportunities gets one more at its end.
    """
    packets = np.concatenate(([0.0], np.cumsum(rate_mbps * 1e6 * STEP_S / (8 * OPPORTUNITY_BYTES))))
    edges_ms = np.arange(len(packets)) * (STEP_S * 1000)
    wanted = np.arange(1, int(packets[-1]) + 1)
    times = np.ceil(np.interp(wanted, packets, edges_ms) - 1e-6).astype(np.int64)
    end = int(round(edges_ms[-1]))
    if not len(times) or times[-1] < end:
        times = np.append(times, end)
    return [str(time) for time in times]


def main(arguments: list[str] | None = None) -> int:
    """Write a generated LTE-like trace to the standard output; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="trace_generator", description="Write an LTE-like capacity trace to the standard output."
    )
    parser.add_argument("--mean-mbps", type=float, default=12.0, help="mean capacity (12)")
    parser.add_argument("--duration-s", type=float, default=300.0, help="length before it repeats (300)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same trace (1)")
    parser.add_argument("--format", choices=("mahimahi", "rate"), default="mahimahi", help="file format (mahimahi)")
    options = parser.parse_args(arguments)
    if not 0.01 <= options.mean_mbps <= MBPS_MAX:
        parser.error(f"--mean-mbps {options.mean_mbps}: accepted: 0.01 to {MBPS_MAX:g}")
    if not 1 <= options.duration_s <= 86400:
        parser.error(f"--duration-s {options.duration_s}: accepted: 1 to 86400")
    if not 0 <= options.seed < 2**32:
        parser.error(f"--seed {options.seed}: accepted: 0 to {2**32 - 1}")
    if options.format == "mahimahi" and options.mean_mbps * options.duration_s * 83.4 > OPPORTUNITIES_MAX:
        parser.error(f"--mean-mbps × --duration-s: accepted with mahimahi: up to {OPPORTUNITIES_MAX} opportunities")
    rates = lte_rates(options.mean_mbps, options.duration_s, options.seed)
    if options.format == "mahimahi":
        lines = mahimahi_lines(rates)
    else:
        lines = [f"{i * STEP_S:.1f}\t{rate:.6f}" for i, rate in enumerate(rates)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

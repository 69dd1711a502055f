# SPDX-License-Identifier: BSD-2-Clause
"""Statistics of a comparison: means with confidence intervals, fairness, harm and confidence ellipses."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and the half width of its 95 % confidence interval; None where there is no value."""

    mean: float | None
    ci95: float | None

    @property
    def low(self) -> float | None:
        """Lower end of the interval; the mean itself where there is one seed only."""
        return None if self.mean is None else self.mean - (self.ci95 or 0.0)

    @property
    def high(self) -> float | None:
        """Upper end of the interval; the mean itself where there is one seed only."""
        return None if self.mean is None else self.mean + (self.ci95 or 0.0)


@dataclass(frozen=True)
class Ellipse:
    """A confidence ellipse: centre, full axis lengths in data units and the angle of the first axis in degrees."""

    x: float
    y: float
    width: float
    height: float
    angle_deg: float


def student_cdf(t: float, freedom: int) -> float:
    """Return P(T <= t) of Student's t with a whole number of degrees of freedom.

    The finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4: exact, and no need for scipy.
    """
    if freedom < 1:
        raise ValueError(f"degrees of freedom: {freedom}, accepted: 1 and above")
    theta = math.atan2(abs(t), math.sqrt(freedom))
    sine, cosine = math.sin(theta), math.cos(theta)
    term, total = (cosine, 0.0) if freedom % 2 else (1.0, 0.0)
    for k in range(2 if freedom % 2 else 1, freedom, 2):
        total += term
        term *= cosine * cosine * k / (k + 1)
    inside = 2 / math.pi * (theta + sine * total) if freedom % 2 else sine * total
    return 0.5 + math.copysign(inside / 2, t)


def student_quantile(probability: float, freedom: int) -> float:
    """Return the t with P(T <= t) = probability, for probability in (0.5, 1)."""
    if not 0.5 < probability < 1:
        raise ValueError(f"probability: {probability}, accepted: above 0.5 and below 1")
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def present(values: Iterable[float | None]) -> list[float]:
    """Return the values that exist: None and NaN left out."""
    return [value for value in values if value is not None and math.isfinite(value)]


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that exist, None without any."""
    kept = present(values)
    return math.fsum(kept) / len(kept) if kept else None


def estimate(values: Iterable[float | None]) -> Estimate:
    """Return mean and 95 % confidence half width (Student's t, n - 1 degrees); no interval below two values."""
    kept = present(values)
    if len(kept) < 2:
        return Estimate(mean(kept), None)
    centre = math.fsum(kept) / len(kept)
    variance = math.fsum((value - centre) ** 2 for value in kept) / (len(kept) - 1)
    return Estimate(centre, student_quantile(0.975, len(kept) - 1) * math.sqrt(variance / len(kept)))


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Return the geometric mean of the values that exist; None without any or with one that is not positive."""
    kept = present(values)
    if not kept or min(kept) <= 0:
        return None
    return math.exp(math.fsum(math.log(value) for value in kept) / len(kept))


def jain(rates: Sequence[float]) -> float | None:
    """Return Jain's fairness index (sum x)^2 / (n sum x^2), 1 when all are equal (Jain, Chiu and Hawe, 1984).

    None without flows, or when nobody gets anything.
    """
    squares = math.fsum(rate * rate for rate in rates)
    return None if squares <= 0 else math.fsum(rates) ** 2 / (len(rates) * squares)


def ratio(value: float | None, reference: float | None) -> float | None:
    """Return value / reference, None where either is missing or the reference is not positive."""
    if value is None or reference is None or not reference > 0:
        return None
    return value / reference


def harm(measured: float | None, baseline: float | None) -> float | None:
    """Return the harm done to a competitor: the share of its baseline goodput that it loses.

    (baseline - measured) / baseline for a more-is-better figure (Ware et al., HotNets 2019); negative: it gains.
    """
    kept = ratio(measured, baseline)
    return None if kept is None else 1 - kept


def confidence_ellipse(xs: Sequence[float], ys: Sequence[float], sigmas: float = 1.0) -> Ellipse | None:
    """Return the covariance ellipse of the points at so many standard deviations; None below three points."""
    if len(xs) < 3:
        return None
    values, vectors = np.linalg.eigh(np.cov(np.asarray(xs, float), np.asarray(ys, float)))
    lengths = 2 * sigmas * np.sqrt(np.maximum(values, 0.0))
    angle = math.degrees(math.atan2(float(vectors[1, 1]), float(vectors[0, 1])))
    return Ellipse(float(np.mean(xs)), float(np.mean(ys)), float(lengths[1]), float(lengths[0]), angle)

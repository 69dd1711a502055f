# SPDX-License-Identifier: BSD-2-Clause
"""The integer rules against the formulas, and what must hold for any input.

Tolerance of a gain, relative: an RTT ratio q is cut to 2^-16, which moves a rate by 2^-16 / q of itself, and a share to
2^-20 (LIA: best / sum to 2^-18); absolute: 2^-32 segments a segment ACKed. `slack` below adds up exactly these.
"""

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RULES = ("lia", "olia", "balia")
MS = 1000
WINDOW_MAX = 131071
"""Segments; larger windows count as this."""

windows = st.integers(1, 100_000)
rtts = st.integers(1 * MS, 800 * MS)
intervals = st.integers(0, 2**32 - 1)
subflows = st.lists(st.tuples(windows, rtts, intervals), min_size=1, max_size=8)
anything = st.integers(0, 2**32 - 1)
relaxed = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def columns(connection: list[tuple[int, int, int]]) -> tuple[list[int], list[int], list[int]]:
    first, second, third = zip(*connection, strict=True)
    return list(first), list(second), list(third)


def ratios(r: list[int], own: int) -> list[float]:
    return [r[own] / each for each in r]


def rate_sum(w: list[int], r: list[int], own: int) -> float:
    return sum(a * b for a, b in zip(w, ratios(r, own), strict=True))


def lia(w: list[int], r: list[int], own: int) -> float:
    """RFC 6356 section 3."""
    best = max(a * b * b for a, b in zip(w, ratios(r, own), strict=True))
    return min(best / rate_sum(w, r, own) ** 2, 1 / w[own])


def olia(w: list[int], r: list[int], interval: list[int], own: int) -> float:
    """draft-khalili section 2 with the quality l / r^2; ties are exact."""
    n = len(w)
    quality = [Fraction(length, rtt * rtt) for length, rtt in zip(interval, r, strict=True)]
    largest = {i for i in range(n) if w[i] == max(w)}
    best = {i for i in range(n) if quality[i] == max(quality)} - largest
    epsilon = 0.0
    if best:
        epsilon = 1 / (n * len(best)) if own in best else -1 / (n * len(largest)) if own in largest else 0.0
    return w[own] / rate_sum(w, r, own) ** 2 + epsilon / w[own]


def balia(w: list[int], r: list[int], own: int) -> float:
    """draft-walid section 2."""
    x = [a / b for a, b in zip(w, r, strict=True)]
    alpha = max(x) / x[own]
    return x[own] / (r[own] * sum(x) ** 2) * (1 + alpha) / 2 * (4 + alpha) / 5


def slack(rule: str, w: list[int], r: list[int], own: int) -> float:
    """The relative error that the fixed point may make."""
    q = ratios(r, own)
    rate = [a * b for a, b in zip(w, q, strict=True)]
    of_sum = 2 * sum(w) * 2**-16 / sum(rate)
    if rule == "lia":
        best = max(range(len(w)), key=lambda i: rate[i] * q[i])
        return of_sum + 2 * 2**-16 / q[best] + 2**-18 * sum(rate) / (rate[best] * q[best]) + 2**-16
    if rule == "olia":
        return of_sum + 2**-20 * sum(rate) / w[own] + 2**-16
    best = max(range(len(w)), key=lambda i: rate[i])
    return of_sum + 2 * 2**-16 / q[best] + 2 * 2**-20 * len(w) + 2**-16


@pytest.mark.parametrize("rule", RULES)
@relaxed
@given(connection=subflows)
def test_gain_is_the_formula(coupling: Any, rule: str, connection: list[tuple[int, int, int]]) -> None:
    w, r, interval = columns(connection)
    for own in range(len(w)):
        if rule == "olia":
            want, term = olia(w, r, interval, own), w[own] / rate_sum(w, r, own) ** 2
        else:
            want = term = lia(w, r, own) if rule == "lia" else balia(w, r, own)
        error = abs(coupling.gain(rule, coupling.rows(w, r, interval, own)) - want)
        # OLIA's epsilon is exact but for its rounding, so that the slack is that of the first term.
        assert error <= slack(rule, w, r, own) * term + 3 * 2**-32


@pytest.mark.parametrize("rule", RULES)
@relaxed
@given(connection=subflows)
def test_no_rule_grows_faster_than_reno(coupling: Any, rule: str, connection: list[tuple[int, int, int]]) -> None:
    """OLIA's epsilon comes on top, by at most 1 / (n w)."""
    w, r, interval = columns(connection)
    for own in range(len(w)):
        rows = coupling.rows(w, r, interval, own)
        gain = coupling.gain(rule, rows)
        assert gain <= coupling.reno_gain(rows) * (1 + (rule == "olia"))
        assert coupling.reno_gain(rows) == pytest.approx(1 / w[own], abs=2**-32)
        if rule == "olia":
            assert gain >= -1 / (len(w) * w[own]) - 2**-32
        else:
            assert gain >= 0


@relaxed
@given(connection=subflows)
def test_balia_decreases_by_half_to_three_quarters(coupling: Any, connection: list[tuple[int, int, int]]) -> None:
    w, r, _ = columns(connection)
    x = [a / b for a, b in zip(w, r, strict=True)]
    for own, cwnd in enumerate(w):
        left = coupling.ssthresh("balia", coupling.rows(w, r, own=own), cwnd)
        want = max(cwnd - cwnd / 2 * min(max(x) / x[own], 1.5), 2.0)
        # Whole segments, rounded down; alpha is off by what its RTT ratio is.
        ratio = r[own] / r[max(range(len(w)), key=x.__getitem__)]
        assert want * (1 - 2**-20) - 1 <= left <= want + cwnd * 2**-15 / min(ratio, 1.0) + 1
        assert left >= max(2, cwnd // 4)


@pytest.mark.parametrize("rule", ["lia", "olia"])
@given(cwnd=anything)
def test_the_others_halve(coupling: Any, rule: str, cwnd: int) -> None:
    assert coupling.ssthresh(rule, coupling.rows([10], [MS]), cwnd) == max(cwnd // 2, 2)


@pytest.mark.parametrize("rule", RULES)
@relaxed
@given(
    connection=st.lists(st.tuples(anything, anything, anything), min_size=9, max_size=9),
    mss=st.lists(st.integers(1, 65535), min_size=9, max_size=9),
    acked=anything,
    clamp=st.integers(1, 2**32 - 1),
    fraction=anything,
)
def test_hostile_input_neither_overflows_nor_escapes_its_bounds(
    coupling: Any,
    rule: str,
    connection: list[tuple[int, int, int]],
    mss: list[int],
    acked: int,
    clamp: int,
    fraction: int,
) -> None:
    """The sanitizers end the test at an overflow. The caller's own RTT is never 0 where a rule is asked."""
    w, r, interval = columns(connection)
    r[0] = max(r[0], 1)
    rows = coupling.rows(w, r, interval, mss_bytes=mss)
    gain = coupling.gain_q32(rule, rows)
    assert -coupling.ONE <= gain <= 2 * coupling.ONE
    cwnd, left = coupling.grow(w[0], fraction, gain, acked, clamp)
    assert 1 <= cwnd <= clamp
    assert 0 <= left < coupling.ONE
    assert 2 <= coupling.ssthresh(rule, rows, w[0]) <= max(w[0], 2)


@given(segments=windows, mss=st.sampled_from([536, 1208, 1428, 1448, 8948]), own=st.sampled_from([536, 1428, 1448]))
def test_windows_of_another_mss_enter_as_bytes(coupling: Any, segments: int, mss: int, own: int) -> None:
    exact = min(segments * 1024 * mss / own, 2**27 - 1)
    assert coupling.window(segments, mss, own) == pytest.approx(exact, abs=1)


@pytest.mark.parametrize("rule", RULES)
def test_rows_without_an_rtt_do_not_count(coupling: Any, rule: str) -> None:
    with_dead = coupling.rows([50, 300, 40], [40 * MS, 0, 60 * MS], [10, 10**6, 10])
    without = coupling.rows([50, 40], [40 * MS, 60 * MS], [10, 10])
    assert coupling.count(with_dead) == coupling.count(without) == 2
    assert coupling.gain_q32(rule, with_dead) == coupling.gain_q32(rule, without)
    assert coupling.ssthresh(rule, with_dead, 50) == coupling.ssthresh(rule, without, 50)


@relaxed
@given(
    gains=st.lists(st.tuples(st.integers(-(2**32), 2**33), st.integers(1, 1000)), max_size=60),
    cwnd=st.integers(10**6, 10**7),
)
def test_small_gains_are_exact_over_time(coupling: Any, gains: list[tuple[int, int]], cwnd: int) -> None:
    window, fraction, total = cwnd, 0, cwnd * coupling.ONE
    for gain, acked in gains:
        window, fraction = coupling.grow(window, fraction, gain, acked)
        total += gain * acked
        assert window * coupling.ONE + fraction == total


def test_a_window_stays_between_one_segment_and_the_clamp(coupling: Any) -> None:
    half = coupling.ONE // 2
    assert coupling.grow(1, half, -half - 1, 1) == (1, 0)
    assert coupling.grow(1, half, -half, 1) == (1, 0)
    assert coupling.grow(99, half, half, 5, clamp=100) == (100, 0)


def test_equal_paths_share_a_window_of_reno(coupling: Any) -> None:
    """RFC 6356 section 2: n equal subflows together grow as one TCP: each by 1 / (n^2 w) a segment."""
    for n in range(2, 9):
        rows = coupling.rows([100] * n, [50 * MS] * n)
        assert coupling.gain("lia", rows) == pytest.approx(1 / (n * n * 100), rel=n * n * 2**-18)
        assert coupling.gain("olia", rows) == pytest.approx(1 / (n * n * 100), rel=n * 2**-18)
        assert coupling.gain("balia", rows) == pytest.approx(1 / (n * n * 100), rel=n * 2**-18)


def test_olia_moves_window_to_the_better_path(coupling: Any) -> None:
    w, r, interval = [60, 50], [40 * MS, 40 * MS], [100, 10**6]
    first, second = (coupling.gain("olia", coupling.rows(w, r, interval, own)) for own in range(2))
    assert first == pytest.approx(60 / 110**2 - 1 / (2 * 60), rel=1e-4)
    assert second == pytest.approx(50 / 110**2 + 1 / (2 * 50), rel=1e-4)
    assert math.copysign(1, first) == -1


@pytest.mark.parametrize("rule", RULES)
@relaxed
@given(connection=st.lists(st.tuples(windows, rtts, intervals), min_size=2, max_size=8), seed=st.randoms())
def test_the_order_of_siblings_does_not_matter(
    coupling: Any, rule: str, connection: list[tuple[int, int, int]], seed: Any
) -> None:
    w, r, interval = columns(connection)
    shuffled = connection[1:]
    seed.shuffle(shuffled)
    again = columns([connection[0], *shuffled])
    assert coupling.gain_q32(rule, coupling.rows(w, r, interval)) == coupling.gain_q32(rule, coupling.rows(*again))

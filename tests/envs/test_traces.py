# SPDX-License-Identifier: BSD-2-Clause
"""Trace files and generated traces: formats, faults, statistics."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccdrl.bindings.errors import InputError
from ccdrl.envs import trace_generator, traces
from ccdrl.envs.trace_generator import lte_rates, lte_trace, mahimahi_lines, poisson_trace
from ccdrl.envs.traces import Trace, load_mahimahi, load_rates, load_trace

NS_PER_S = 10**9
FIRST_RATES = [6.74440237144957, 6.623403975944264, 4.514297645269668, 2.7467624330408413]


def test_mahimahi(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("0\n5\n5\n\n20\r\n")
    trace = load_trace(tmp_path, "t")
    assert trace.kind == "opportunities" and trace.rate_bps is None
    assert trace.time_ns.dtype == np.int64 and trace.time_ns.tolist() == [0, 5_000_000, 5_000_000, 20_000_000]
    assert trace.period_ns == 20_000_000
    assert trace.mean_bps == pytest.approx(4 * 12000 / 0.02)


def test_rates_hold_the_last_value_for_the_median_step(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("1.0\t2.0\n2.0\t4\n5.0 0\n6.0\t1e0\n")
    trace = load_trace(tmp_path, "t")
    assert trace.kind == "rate" and trace.rate_bps is not None
    assert trace.time_ns.tolist() == [0, NS_PER_S, 4 * NS_PER_S, 5 * NS_PER_S]
    assert trace.rate_bps.tolist() == [2e6, 4e6, 0.0, 1e6]
    assert trace.period_ns == 6 * NS_PER_S
    assert trace.mean_bps == pytest.approx((2e6 + 3 * 4e6 + 0 + 1e6) / 6)


def test_one_rate_is_a_constant() -> None:
    trace = load_rates("0 7.5", "t")
    assert trace.mean_bps == 7.5e6 and trace.period_ns == NS_PER_S


def test_arrays_are_read_only(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("1\n2\n")
    trace = load_trace(tmp_path, "t")
    assert load_trace(tmp_path, "t") is trace
    with pytest.raises(ValueError, match="read-only"):
        trace.time_ns[0] = 5
    # a changed file is read anew
    (tmp_path / "t").write_text("1\n2\n3\n")
    assert len(load_trace(tmp_path, "t").time_ns) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5\n3\n", ("row 2 = 3 ms", "at least 5 ms")),
        ("0\n0\n", ("last line = 0", "above 0 ms")),
        ("1\n-2\n", ('line 2 = "-2"', "one integer")),
        ("1\n2.5\n", ('line 2 = "2.5"', "one integer")),
        ("1\nnan\n", ('line 2 = "nan"', "one integer")),
        ("1\n1_0\n", ('line 2 = "1_0"', "one integer")),
        ("1\n2 3\n", ('line 2 = "2 3"', "one integer")),
        ("1\n99999999999999999999\n", ("line 2", "one integer")),
        ("abc\n", ('line 1 = "abc"', "one integer")),
        ("0 1\n1\n", ('line 2 = "1"', "two numbers")),
        ("0 1\n1 2 3\n", ('line 2 = "1 2 3"', "two numbers")),
        ("0 1\n1 x\n", ('line 2 = "1 x"', "two numbers")),
        ("0 nan\n", ('line 1 = "0 nan"', "two numbers")),
        ("0 1\ninf 1\n", ('line 2 = "inf 1"', "two numbers")),
        ("0 -1\n", ("row 1 = -1 Mbit/s", "0 to 100000 Mbit/s")),
        ("0 1e9\n", ("row 1 = 1e+09 Mbit/s", "0 to 100000 Mbit/s")),
        ("-1 1\n", ("row 1 = -1 s", "0 to 604800 s")),
        ("0 1\n0 2\n", ("row 2 = 0 s", "above 0 s")),
        ("1 1\n0.5 2\n", ("row 2 = 0.5 s", "above 1 s")),
        ("0 0\n1 0\n", ("all rates are 0",)),
        ("\n\n", ("no values",)),
        ("", ("0 bytes", "1 to")),
        ("1\u00e9\n", ("not text", "ASCII")),
    ],
)
def test_malformed_trace_gives_one_line(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    (tmp_path / "bad").write_text(text)
    with pytest.raises(InputError) as caught:
        load_trace(tmp_path, "bad")
    message = str(caught.value)
    assert message.isprintable() and "bad" in message and "accepted" in message
    for word in words:
        assert word in message


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    root = tmp_path / "traces"
    (root / "lte").mkdir(parents=True)
    (tmp_path / "secret").write_text("1\n2\n")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    (root / "inner").symlink_to(root / "lte" / "t")
    (root / "lte" / "t").write_text("1\n2\n")
    os.mkfifo(root / "pipe")
    for name, words in (
        ("link", "leaves the folder"),
        ("folder/secret", "leaves the folder"),
        ("../secret", "leaves the folder"),
        ("lte/../../secret", "leaves the folder"),
        (str(tmp_path / "secret"), "leaves the folder"),
        (str(root / "lte" / "t"), "leaves the folder"),
        ("loop", "symbolic links"),
        ("lte", "not a regular file"),
        ("pipe", "not a regular file"),
        ("absent", "No such file"),
        ("n\0ul", "null"),
    ):
        with pytest.raises(InputError) as caught:
            load_trace(root, name)
        assert words in str(caught.value) and "accepted" in str(caught.value) and str(caught.value).isprintable()
    # a link that stays inside is fine
    assert load_trace(root, "inner").period_ns == load_trace(root, "lte/t").period_ns == 2_000_000
    with pytest.raises(InputError, match="not a folder"):
        load_trace(tmp_path / "absent", "t")


def test_large_trace_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "TRACE_BYTES_MAX", 10)
    (tmp_path / "t").write_text("1\n" * 20)
    with pytest.raises(InputError, match="40 bytes: accepted: 1 to 10 bytes"):
        load_trace(tmp_path, "t")


@given(st.text(alphabet="0123456789.-+e \t\n\rxnaif_", max_size=40))
def test_random_text(text: str) -> None:
    for load in (load_mahimahi, load_rates):
        try:
            trace = load(text, "random")
        except InputError as error:
            assert str(error).isprintable()
        else:
            assert trace.period_ns > 0 and trace.mean_bps > 0
            assert trace.time_ns[0] >= 0 and trace.time_ns[-1] <= trace.period_ns


@given(st.lists(st.integers(0, 2_000_000_000), min_size=1), st.sampled_from(["\n", "\r\n", " \n\t", "\n\n"]))
def test_fast_and_careful_readers_agree(values: list[int], separator: str) -> None:
    ordered = sorted(values)
    text = separator.join(map(str, ordered))
    try:
        times = (load_mahimahi(text, "t").time_ns // 1_000_000).tolist()
    except InputError:
        assert ordered[-1] == 0 or ordered[-1] > traces.MILLISECONDS_MAX
    else:
        assert times == ordered


def correlation(values: np.ndarray, lag: int) -> float:
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


def test_lte_statistics_are_those_of_the_recorded_traces() -> None:
    # The recorded traces: coefficient of variation 0.38 to 0.79, correlation of rates 100 ms apart 0.48 to 0.89, 1 s
    # apart 0.18 to 0.69, 3 % of outages, 99th percentile 1.6 to 3.4 times the mean. A long trace has little noise.
    rates = lte_rates(12.0, 6000.0, 3)
    relative = rates / rates.mean()
    assert rates.mean() == pytest.approx(12.0, rel=1e-12)
    assert rates.min() > 0 and relative.max() <= 3.5 + 1e-9
    assert 0.38 < relative.std() < 0.79
    assert 0.48 < correlation(rates, 1) < 0.89
    assert 0.18 < correlation(rates, 10) < 0.69
    assert 0.02 < float((relative < 0.05).mean()) < 0.06
    assert 1.6 < float(np.percentile(relative, 99)) < 3.5


def test_lte_trace_is_deterministic_and_frozen() -> None:
    first, other = lte_rates(12.0, 30.0, 1), lte_rates(12.0, 30.0, 2)
    assert np.array_equal(first, lte_rates(12.0, 30.0, 1)) and not np.array_equal(first, other)
    # the numbers themselves, so that a change of the generator shows; doubling the mean only scales
    assert np.allclose(lte_rates(24.0, 30.0, 1), 2 * first)
    assert first[:4] == pytest.approx(FIRST_RATES, rel=1e-9)
    trace = lte_trace(12.0, 30.0, 1)
    assert trace.kind == "rate" and trace.period_ns == 30 * NS_PER_S and trace.mean_bps == pytest.approx(12e6)
    assert lte_trace(12.0, 30.0, 1) is trace


def test_poisson_trace() -> None:
    trace = poisson_trace(2.64, 600.0, 5)
    assert trace.kind == "opportunities" and trace.mean_bps == pytest.approx(2.64e6, rel=1e-4)
    assert np.array_equal(trace.time_ns, poisson_trace(2.64, 600.0, 5).time_ns)
    gaps = np.diff(trace.time_ns)
    assert gaps.min() >= 0
    # exponential gaps: deviation = mean. 132 000 gaps give a standard error of 0.3 %
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.02)
    with pytest.raises(InputError, match="accepted: at most"):
        poisson_trace(1e5, 86400.0, 1)


@pytest.mark.parametrize("mean_mbps", [0.5, 12.0, 100.0])
def test_mahimahi_lines_keep_mean_and_period(mean_mbps: float) -> None:
    trace: Trace = load_mahimahi("\n".join(mahimahi_lines(lte_rates(mean_mbps, 60.0, 4))), "t")
    assert trace.period_ns == 60 * NS_PER_S
    # one packet more or less in a minute
    assert trace.mean_bps == pytest.approx(mean_mbps * 1e6, abs=12000 / 60 + 1)


def test_command_line_writes_both_formats(tmp_path: Path) -> None:
    for form, load in (("mahimahi", load_mahimahi), ("rate", load_rates)):
        command = [
            sys.executable,
            "-m",
            "ccdrl.envs.trace_generator",
            "--mean-mbps",
            "8",
            "--duration-s",
            "20",
            "--format",
            form,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert load(done.stdout, "stdout").mean_bps == pytest.approx(8e6, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mean-mbps", "nan"], "--mean-mbps nan: accepted: 0.01 to 100000"),
        (["--mean-mbps", "x"], "invalid float"),
        (["--duration-s", "0"], "--duration-s 0.0: accepted: 1 to 86400"),
        (["--seed", "-1"], "--seed -1: accepted: 0 to 4294967295"),
        (["--format", "csv"], "invalid choice"),
        (["--mean-mbps", "1e5", "--duration-s", "86400"], "opportunities"),
    ],
)
def test_command_line_refuses(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        trace_generator.main(arguments)
    assert caught.value.code == 2 and words in capsys.readouterr().err.splitlines()[-1]

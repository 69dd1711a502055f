# SPDX-License-Identifier: BSD-2-Clause
"""kmod/linux/coupling.h compiled for user space, behind the class `Coupling`; the oracle is the simulator.

gcc's sanitizer ends the process at undefined behaviour. Where clang is there, a second build ends it at unsigned
overflow too, which C defines but the rules must not need.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ccdrl.tests.bindings.cc.conftest import bench as bench
from ccdrl.tests.kmod.linux.shim import INCLUDES, ROOT, SANITIZE, build_shim, read_declarations

HERE = Path(__file__).parent
SANITIZERS = {
    "gcc": SANITIZE,
    # The low half of a product is kept with a cast on purpose: casts are not checked.
    "clang": ("-fsanitize=undefined,unsigned-integer-overflow", "-fno-sanitize-recover=all", "-fsanitize-trap=all"),
}


class Coupling:
    """The rules: windows in segments, RTTs in microseconds, gains as fractions of a segment for each segment ACKed."""

    ONE = 2**32

    def __init__(self, ffi: Any, lib: Any) -> None:
        self._ffi, self._lib = ffi, lib
        self._rules = {"lia": lib.SHIM_LIA, "olia": lib.SHIM_OLIA, "balia": lib.SHIM_BALIA}

    def rows(
        self,
        windows: Sequence[int],
        srtts_us: Sequence[int],
        intervals: Sequence[int] | None = None,
        own: int = 0,
        mss_bytes: Sequence[int] | None = None,
    ) -> Any:
        """What subflow `own` of these sees: itself first."""
        sizes = mss_bytes or [1448] * len(windows)
        rows = self._ffi.new("struct coupling_rows *")
        order = [own, *(index for index in range(len(windows)) if index != own)]
        for row, index in zip(rows.row, order, strict=False):
            row.window = self.window(windows[index], sizes[index], sizes[own])
            row.srtt_us = srtts_us[index]
            row.interval_segments = intervals[index] if intervals else 0
        return rows

    def window(self, segments: int, mss_bytes: int, own_mss_bytes: int) -> int:
        return int(self._lib.shim_window(segments, mss_bytes, own_mss_bytes))

    def count(self, rows: Any) -> int:
        return int(self._lib.shim_count(rows))

    def reno_gain(self, rows: Any) -> float:
        return float(self._lib.shim_reno_gain(rows) / self.ONE)

    def gain_q32(self, rule: str, rows: Any) -> int:
        return int(self._lib.shim_gain(self._rules[rule], rows))

    def gain(self, rule: str, rows: Any) -> float:
        return self.gain_q32(rule, rows) / self.ONE

    def ssthresh(self, rule: str, rows: Any, cwnd: int) -> int:
        return int(self._lib.shim_ssthresh(self._rules[rule], rows, cwnd))

    def grow(self, cwnd: int, fraction: int, gain_q32: int, acked: int, clamp: int = 2**31) -> tuple[int, int]:
        """The window after an ACK, and what is left over in 2^-32 segments."""
        left = self._ffi.new("uint32_t *", fraction)
        return int(self._lib.shim_grow(cwnd, left, gain_q32, acked, clamp)), int(left[0])


@pytest.fixture(scope="session", params=sorted(SANITIZERS))
def coupling(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Coupling:
    compiler = request.param
    declarations = read_declarations(ROOT / "kmod" / "linux" / "coupling.h") + (HERE / "coupling_shim.h").read_text()
    ffi, lib = build_shim(
        tmp_path_factory.mktemp("coupling") / f"coupling_{compiler}.so",
        [HERE / "coupling_shim.c"],
        declarations,
        includes=(*INCLUDES, HERE),
        sanitize=SANITIZERS[compiler],
        compiler=compiler,
    )
    return Coupling(ffi, lib)

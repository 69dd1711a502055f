# SPDX-License-Identifier: BSD-2-Clause
"""The fallbacks of the three datapaths, each driven by the same events; windows in bytes.

`Native` is the simulator's or Linux's source in user space (tests/parity/fallback), `Module` the FreeBSD module's
object in the kernel model. All reduce to whole segments; between reductions the simulator counts in fractions of a
segment, FreeBSD in bytes and Linux in whole segments.
"""

from dataclasses import dataclass
from pathlib import Path

from ccdrl.bindings.library import State
from ccdrl.tests.kmod.freebsd.harness import Kernel
from ccdrl.tests.kmod.linux.shim import ROOT, build_shim
from ccdrl.tests.kmod.linux.stream import REDUCING, record_stream

HERE = Path(__file__).resolve().parent / "fallback"
MSS_BYTES = 1448
TICKS_US = 125
"""RTTs are multiples of this: four steps of FreeBSD's t_srtt, which counts in ticks / 32."""
TICK_Q5_US = 31.25
SOURCES = {
    "sim": ("bindings/csim/drl.c", ("kmod/include", "bindings/csim")),
    "linux": (None, ("kmod/linux", "kmod/include")),
}


@dataclass(frozen=True)
class Step:
    """One event of one subflow: ack (segments, srtt_us), signal, recovered, timeout (is_first)."""

    subflow: int
    kind: str
    segments: int = 0
    srtt_us: int = 0
    is_first: bool = True


def list_steps(links, duration_s, events=(), seed=1):
    """Return what happened to a connection under the simulator's own fallback, one subflow for each link.

    ACKs during a reduction are left out, as the stacks move the window there. A time-out ends a recovery first: how far
    the reduction had come differs from stack to stack.
    """
    states = [State.OPEN] * len(links)
    srtts = [0] * len(links)
    is_backed_off = [False] * len(links)
    steps = []
    for event in record_stream("drl", links, duration_s, seed, events):
        subflow = event.subflow
        if event.kind == "ack":
            srtts[subflow] = max(round(event.srtt_us / TICKS_US), 1) * TICKS_US if event.srtt_us else srtts[subflow]
            is_backed_off[subflow] = False
            if event.state not in REDUCING and srtts[subflow]:
                steps.append(Step(subflow, "ack", event.acked, srtts[subflow]))
        elif event.kind == "timeout":
            if states[subflow] in REDUCING:
                steps.append(Step(subflow, "recovered"))
            steps.append(Step(subflow, "timeout", is_first=not is_backed_off[subflow]))
            is_backed_off[subflow] = True
        else:
            steps.append(Step(subflow, event.kind))
        states[subflow] = event.state
    return steps


class Native:
    """The simulator's ("sim") or Linux's ("linux") fallback; built in `folder`."""

    def __init__(self, name, n_subflows, folder):
        source, includes = SOURCES[name]
        sources = [HERE / f"{name}_fallback.c", *([ROOT / source] if source else [])]
        folders = [HERE, *(ROOT / include for include in includes)]
        declarations = (HERE / "fallback.h").read_text()
        ffi, self._lib = build_shim(folder / f"{name}.so", sources, declarations, includes=folders)
        self._fallback = self._lib.fallback_new(n_subflows, MSS_BYTES)
        assert self._fallback != ffi.NULL

    def take(self, step):
        if step.kind == "ack":
            self._lib.fallback_ack(self._fallback, step.subflow, step.segments, step.srtt_us)
        elif step.kind == "timeout":
            self._lib.fallback_timeout(self._fallback, step.subflow, step.is_first)
        else:
            getattr(self._lib, f"fallback_{step.kind}")(self._fallback, step.subflow)

    def cwnd_bytes(self, subflow):
        return self._lib.fallback_cwnd_bytes(self._fallback, subflow)

    def close(self):
        self._lib.fallback_free(self._fallback)


class Module:
    """FreeBSD's fallback: the loaded object, its callbacks called as the stack calls them."""

    def __init__(self, n_subflows, release=14):
        self.kernel = Kernel(release)
        self.kernel.load()
        self._subflows = []
        for path in range(n_subflows):
            subflow = self.kernel.create_subflow((f"10.0.{path}.1", 4000), conn_id=77)
            self.kernel.set(subflow, snd_cwnd=10 * MSS_BYTES)
            self._subflows.append(subflow)

    def take(self, step):
        subflow = self._subflows[step.subflow]
        if step.kind == "ack":
            n_bytes = step.segments * MSS_BYTES
            self.kernel.set(subflow, t_srtt=round(step.srtt_us / TICK_Q5_US), t_rxtshift=0)
            self.kernel.send(subflow, n_bytes)
            self.kernel.ack(subflow, n_bytes)
        elif step.kind == "signal":
            self.kernel.send(subflow, MSS_BYTES)
            self.kernel.loss(subflow)
        elif step.kind == "recovered":
            self.kernel.recovered(subflow)
        else:
            self.kernel.rto(subflow)

    def cwnd_bytes(self, subflow):
        return self.kernel.get(self._subflows[subflow], "snd_cwnd")

    def close(self):
        self.kernel.close()

# SPDX-License-Identifier: BSD-2-Clause
"""How long the Linux binding takes for a poll and for a write: memory only, so no kernel and no privilege is needed.

The maps are plain memory of the same layout as the kernel's. Before each poll every subflow's record changes; the slots
lie scattered among all. `copy_N_us` is a yardstick, timed in between: numpy's bare copy of the same slots, without a
look at which changed. Caches are shared with whatever else the machine does, and it tells how much of them is left.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from ccdrl.bindings.library import ABI_VERSION, make_actions
from ccdrl.bindings.linux.datapath import LinuxDatapath
from ccdrl.bindings.linux.library import SLOT_BITS
from ccdrl.bindings.linux.maps import make_memory_maps

SLOTS = 4096
ROUNDS = 2000
SUBFLOWS = (1, 100, 1000)


def time_us(action: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - start) / 1000


def linux_datapath_cost() -> dict[str, Any]:
    """Median µs to read, to write and merely to copy 1, 100 and 1000 of 4096 slots; target below 20 for 1000."""
    figures: dict[str, Any] = {"slots": SLOTS}
    for count in SUBFLOWS:
        maps = make_memory_maps(SLOTS)
        slots = np.sort(np.random.default_rng(1).permutation(SLOTS)[:count])
        sample = maps.states["sample"]
        sample["abi"][slots], sample["mss_bytes"][slots], sample["event"][slots] = ABI_VERSION, 1448, 2
        sample["subflow_id"][slots] = slots + (1 << SLOT_BITS)
        datapath = LinuxDatapath(maps=maps)
        reads, writes, copies = [], [], []
        states, copy = maps.states, np.empty(count, maps.states.dtype)
        for _ in range(ROUNDS):
            sample["seq"][slots] += 1
            maps.changes[slots] += 1
            reads.append(time_us(datapath.read_samples))
            sample["seq"][slots] += 1
            copies.append(time_us(lambda states=states, slots=slots, copy=copy: states.take(slots, 0, copy, "clip")))
        actions = make_actions(count)
        actions["subflow_id"], actions["seq"] = sample["subflow_id"][slots], sample["seq"][slots]
        actions["cwnd_bytes"], actions["lease_us"] = 20_000, 100_000
        for _ in range(ROUNDS):
            writes.append(time_us(lambda actions=actions, datapath=datapath: datapath.write_actions(actions)))
        assert datapath.counters().applied == ROUNDS * count
        figures[f"read_{count}_us"], figures[f"write_{count}_us"] = median(reads), median(writes)
        figures[f"copy_{count}_us"] = median(copies)
    return figures

# SPDX-License-Identifier: BSD-2-Clause
"""What a loaded `ccdrl` does, for people and for programs."""

from pathlib import Path
from typing import Any

from ccdrl.bindings.linux.library import ffi, lib, pin
from ccdrl.bindings.linux.loader import OPS
from ccdrl.bindings.linux.maps import PIN_DIR, Maps, open_maps

STATUS_SCHEMA = "ccdrl-linux-status/1"


def read_status(pin_dir: Path = Path(PIN_DIR)) -> dict[str, Any]:
    """Return controllers, slots and counters; raises DatapathError when nothing is loaded.

    `kernel` is what the controller counted since it was loaded (struct ccdrl_linux_counters), `agents` the results that
    agents were given (struct drl_counters). `controllers` is None where the ops folder may not be read. With the
    couplings alone there is nothing for agents: only the first three keys.
    """
    try:
        controllers = sorted(path.name for path in (pin_dir / OPS).iterdir())
    except PermissionError:
        controllers = None
    except FileNotFoundError:
        controllers = []
    head = {"schema": STATUS_SCHEMA, "pin_dir": str(pin_dir), "controllers": controllers}
    if controllers and not (pin_dir / "info").exists():
        return head
    maps = open_maps(pin_dir)
    info = maps.info[0]
    used, in_lease = count_slots(maps)
    counters = info["counters"]
    return {
        **head,
        "abi": int(info["abi"]),
        "loaded_s": (lib.ccdrl_clock_us() - int(info["loaded_us"])) / 1e6,
        "cwnd_max_bytes": int(info["cwnd_max_bytes"]),
        "slots": {"total": maps.slots, "used": used, "free": maps.slots - used, "in_lease": in_lease},
        "kernel": {name: int(counters[name]) for name in counters.dtype.names},
        "agents": None
        if maps.tally is None
        else {name: int(maps.tally[0][name]) for name in maps.tally.dtype.names or () if name != "expired"},
    }


def count_slots(maps: Maps) -> tuple[int, int]:
    """Return how many slots have a live subflow, and how many of these are in lease."""
    c_maps = ffi.new("struct ccdrl_maps *")
    states = pin("struct ccdrl_state_slot", maps.states, is_written=False)
    c_maps.states = states
    use = lib.ccdrl_slots_count(c_maps, maps.slots)
    return use.used, use.in_lease


def format_status(status: dict[str, Any]) -> str:
    """Return the status as a table for a terminal."""
    controllers = status["controllers"]
    rows = [
        ("pins", status["pin_dir"]),
        ("controllers", "not readable" if controllers is None else " ".join(controllers)),
    ]
    if "slots" not in status:
        rows.append(("slots", "none: no controller here takes windows from agents"))
    else:
        slots = status["slots"]
        use = f"{slots['used']} used ({slots['in_lease']} in lease), {slots['free']} free of {slots['total']}"
        rows += [
            ("loaded", f"{status['loaded_s']:.0f} s ago, ABI {status['abi']}"),
            ("window", f"at most {status['cwnd_max_bytes']} bytes"),
            ("slots", use),
        ]
    for group in ("kernel", "agents"):
        rows.extend((f"{group} {name}", str(value)) for name, value in (status.get(group) or {}).items())
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in rows)

# SPDX-License-Identifier: BSD-2-Clause
"""One line a second for people at a terminal."""

from collections.abc import Callable, Sequence
from typing import TextIO

from ccdrl.agent.daemon.connections import Connection
from ccdrl.agent.daemon.metrics import name_connection

CONNECTIONS_SHOWN = 3


def format_status(elapsed_s: float, connections: Sequence[Connection], name: Callable[[int], str | None]) -> str:
    """Return time, and goodput, RTTs and windows of the connections with the highest goodput."""
    parts = [f"{elapsed_s:7.1f} s"]
    for connection in connections[:CONNECTIONS_SHOWN]:
        label = name(connection.conn_id) or name_connection(connection)
        rtts = "/".join(f"{srtt_us / 1000:.1f}" for srtt_us in connection.srtt_us)
        windows = "/".join(f"{cwnd_bytes / 1000:.0f}" for cwnd_bytes in connection.cwnd_bytes)
        goodput_mbps = connection.goodput_bytes_per_s * 8e-6
        fallback = f"  fallback {connection.n_fallback}" if connection.n_fallback else ""
        parts.append(f"{label}  {goodput_mbps:6.2f} Mbit/s  srtt {rtts} ms  cwnd {windows} kB{fallback}")
    if len(connections) > CONNECTIONS_SHOWN:
        rest = connections[CONNECTIONS_SHOWN:]
        parts.append(f"{len(rest)} more  {sum(each.goodput_bytes_per_s for each in rest) * 8e-6:.2f} Mbit/s")
    if not connections:
        parts.append("no connections")
    return " | ".join(parts)


def write_status(stream: TextIO, line: str) -> None:
    """Write a line; a terminal that is gone is not an error."""
    try:
        stream.write(line + "\n")
        stream.flush()
    except (OSError, ValueError):
        return

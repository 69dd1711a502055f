# SPDX-License-Identifier: BSD-2-Clause
"""Goodput, RTT and window of each connection, from the subflows' newest records: once a second, never per decision."""

from dataclasses import dataclass

import numpy as np

from ccdrl.bindings.library import Event, Flag, SampleArray

_CLOSED, _FALLBACK = int(Event.CLOSED), int(Flag.FALLBACK)
US_PER_S = 1e6


@dataclass(frozen=True, slots=True)
class Connection:
    """Figures of one connection over the last period.

    conn_id is the MPTCP token, 0 for plain TCP, which subflow_id tells apart. goodput counts payload bytes that were
    acknowledged on any subflow: data sent twice on two subflows counts twice, as the sender cannot tell. srtt_us and
    cwnd_bytes hold a figure for each live subflow, in the order of their ids.
    """

    conn_id: int
    subflow_id: int
    goodput_bytes_per_s: float
    srtt_us: tuple[int, ...]
    cwnd_bytes: tuple[int, ...]
    n_fallback: int


class ConnectionTable:
    """Turns records into figures; remembers the counters of the call before."""

    def __init__(self) -> None:
        self._delivered: dict[int, int] = {}
        self._time_us: int | None = None

    def update(self, records: SampleArray, now_us: int) -> list[Connection]:
        """Return the connections, the one with the highest goodput first; `records` hold each subflow once.

        A subflow that is new counts from zero, unless this is the first call, when nobody knows how old it is.
        """
        elapsed_s = 0.0 if self._time_us is None else (now_us - self._time_us) / US_PER_S
        before, self._time_us = self._delivered, now_us
        self._delivered = {}
        rows: dict[tuple[int, int], list[int]] = {}
        moved: dict[tuple[int, int], int] = {}
        records = records[np.argsort(records["subflow_id"])]
        subflow_ids, conn_ids = records["subflow_id"].tolist(), records["conn_id"].tolist()
        is_closed = (records["event"] == _CLOSED).tolist()
        for i, delivered in enumerate(records["delivered_bytes"].tolist()):
            subflow_id, conn_id = subflow_ids[i], conn_ids[i]
            self._delivered[subflow_id] = delivered
            key = (conn_id, 0 if conn_id else subflow_id)
            moved[key] = moved.get(key, 0) + max(0, delivered - before.get(subflow_id, 0))
            if not is_closed[i]:
                rows.setdefault(key, []).append(i)
        srtt_us, cwnd_bytes = records["srtt_us"].tolist(), records["cwnd_bytes"].tolist()
        is_fallback = ((records["flags"] & _FALLBACK) != 0).tolist()
        found = [
            Connection(
                conn_id=key[0],
                subflow_id=subflow_ids[places[0]],
                goodput_bytes_per_s=moved[key] / elapsed_s if elapsed_s > 0 else 0.0,
                srtt_us=tuple(srtt_us[i] for i in places),
                cwnd_bytes=tuple(cwnd_bytes[i] for i in places),
                n_fallback=sum(is_fallback[i] for i in places),
            )
            for key, places in rows.items()
        ]
        return sorted(found, key=lambda connection: -connection.goodput_bytes_per_s)

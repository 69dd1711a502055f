# SPDX-License-Identifier: BSD-2-Clause
"""How many of its windows may wait unsent on a subflow (unsent.c).

Linux's scheduler gives data to the subflow that would be through with its queue first, and counts what is on the way as
queue. So a subflow with a long round trip gets nothing until those with short ones hold as much time in their queues:
with too tight a bound there its window is never full, and never grows.
"""

from collections.abc import Iterable, Sequence
from math import ceil

import numpy as np

from ccdrl.bindings.network import LinkConfig, PathConfig

WINDOWS_MIN = 3
WINDOWS_MAX = 64
"""Of megabytes in a queue, a window that has collapsed takes seconds to get rid of."""
PACKET_BITS = 12_000


def mean_rate_bps(link: LinkConfig) -> float:
    """Return a link's capacity in wire bits a second, the mean of its trace."""
    trace = link.trace
    if trace is None:
        return link.rate_bps
    if trace.rate_bps is None:
        return len(trace.time_ns) * PACKET_BITS * 1e9 / trace.period_ns
    return float(np.dot(np.diff(trace.time_ns, append=trace.period_ns), trace.rate_bps) / trace.period_ns)


def queue_ns(link: LinkConfig) -> float:
    """Return how long the last packet of a full queue waits; 0 for a queue without a limit."""
    bits = max(link.limit_bytes * 8, link.limit_packets * PACKET_BITS)
    rate_bps = mean_rate_bps(link)
    return bits * 1e9 / rate_bps if rate_bps > 0 else 0.0


def count_windows(links: Sequence[LinkConfig], flows: Iterable[Sequence[PathConfig]]) -> int:
    """Return the bound for a run: it rises with the longest RTT (queues full) over the shortest one (queues empty).

    Above WINDOWS_MIN two for one: as many as the RTTs differ by were measured to be too few (docs/agreement.md); the
    scheduler compares the memory that queues take, and their payload is a part of it.
    """
    ratio = 0.0
    for paths in flows:
        empty_ns = [2 * (path.extra_delay_ns + sum(links[link].delay_ns for link in path.links)) for path in paths]
        full_ns = [
            base_ns + sum(queue_ns(links[link]) for link in path.links)
            for base_ns, path in zip(empty_ns, paths, strict=True)
        ]
        if len(paths) > 1 and min(empty_ns) > 0:
            ratio = max(ratio, max(full_ns) / min(empty_ns))
    return min(WINDOWS_MIN + ceil(2.0 * max(ratio - WINDOWS_MIN, 0.0)), WINDOWS_MAX)

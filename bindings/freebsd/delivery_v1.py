# SPDX-License-Identifier: BSD-2-Clause
"""How much ABI v1's ACKs stand for: the delivery rate and the bytes in flight, estimated from their number alone.

A record says that an ACK came, not what it acknowledged. How many segments an ACK stands for is up to the receiver:
two by RFC 5681 section 4.2, one while a loss is repaired, many where packets are merged before TCP sees them. What came
back within one RTT was released by the window of one RTT ago: where that limits the sender, window over ACKs tells.
"""

from collections import deque

SEGMENTS_PER_ACK = 2.0
SEGMENTS_PER_ACK_MAX = 64.0
"""What merging makes of an ACK at most: 64 KiB of small segments."""
GAIN_DOWN, GAIN_UP = 1 / 4, 1 / 64
"""Each RTT. An idle sender makes ACKs look as if they stood for more, never for less: upwards is believed slowly."""
REPAIR_RTTS = 1
"""For so long after a loss each segment is acknowledged by itself."""
LIMITED_RATIO = 0.5
US_PER_S = 1_000_000


class DeliveryEstimator:
    """The ACKs of one subflow over the last smoothed RTT.

    rate_bytes_per_s   0 before anything is known
    inflight_bytes     rate times RTT (Little's law), at most the window
    """

    __slots__ = (
        "_calibrated_us",
        "_history",
        "_repaired_us",
        "_segments",
        "inflight_bytes",
        "rate_bytes_per_s",
        "ratio",
    )

    def __init__(self) -> None:
        self.rate_bytes_per_s = 0
        self.inflight_bytes = 0
        self.ratio = SEGMENTS_PER_ACK
        self._segments = 0.0
        self._calibrated_us = 0
        self._repaired_us = 0
        # (time, segments until then, window then), from one RTT ago until now.
        self._history: deque[tuple[int, float, float]] = deque()

    def is_limited(self, cwnd_bytes: float) -> bool:
        """Tell whether at least half of the window is in use."""
        return self.inflight_bytes >= LIMITED_RATIO * cwnd_bytes

    def repair(self, now_us: int, srtt_us: int) -> None:
        """Note a loss or a time-out."""
        self._repaired_us = now_us + REPAIR_RTTS * srtt_us

    def add(self, acks: int, now_us: int, srtt_us: int, cwnd_bytes: float, mss_bytes: int) -> None:
        """Count the ACKs of one read; times in µs, srtt_us > 0."""
        self._segments += acks * (1.0 if now_us < self._repaired_us else self.ratio)
        history = self._history
        history.append((now_us, self._segments, cwnd_bytes))
        while len(history) > 2 and history[1][0] <= now_us - srtt_us:
            history.popleft()
        begin_us, begin_segments, begin_cwnd_bytes = history[0]
        elapsed_us = now_us - begin_us
        if elapsed_us < srtt_us:
            return
        delivered_bytes = (self._segments - begin_segments) * mss_bytes * srtt_us / elapsed_us
        self.rate_bytes_per_s = int(delivered_bytes * US_PER_S / srtt_us)
        self.inflight_bytes = int(min(delivered_bytes, cwnd_bytes))
        is_settled = begin_us > max(self._repaired_us, self._calibrated_us)
        if delivered_bytes > 0 and is_settled:
            self._calibrated_us = now_us
            seen = self.ratio * begin_cwnd_bytes / delivered_bytes
            self.ratio += (GAIN_DOWN if seen < self.ratio else GAIN_UP) * (seen - self.ratio)
            self.ratio = min(max(self.ratio, 1.0), SEGMENTS_PER_ACK_MAX)

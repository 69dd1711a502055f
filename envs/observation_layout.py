# SPDX-License-Identifier: BSD-2-Clause
"""The observation's columns: one table from which the code, the documentation and the layout's version are made."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

OBSERVATION_LIMIT = 10.0
"""Every column is clipped to [-OBSERVATION_LIMIT, OBSERVATION_LIMIT]."""
HISTORY_LENGTH = 3
"""Earlier intervals whose main columns are repeated."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the observation: its name, how it is computed, and what it tells the agent."""

    name: str
    formula: str
    meaning: str


SUBFLOW_COLUMNS = (
    Column("srtt_ratio", "log2(s / m)", "smoothed queueing delay"),
    Column("rtt_ratio", "log2(r / m)", "newest queueing delay"),
    Column("rtt_gradient", "(r - r') / dt", "does the queue grow"),
    Column("loss_now", "sqrt(lost / sent)", "loss ratio of this interval"),
    Column("loss_short", "sqrt(E4[lost] / E4[sent])", "loss ratio over about 4 srtt"),
    Column("loss_long", "sqrt(E32[lost] / E32[sent])", "loss ratio over about 32 srtt"),
    Column("utilization", "acked * s / (cwnd * dt)", "how much of the window was delivered each RTT"),
    Column("rate_ratio", "rate / top", "delivery rate against its recent maximum"),
    Column("rate_sample", "log2(delivery_rate / top)", "the datapath's newest rate sample against that maximum"),
    Column("cwnd_bdp", "log2(cwnd / (top * m))", "window in estimated BDPs"),
    Column("inflight_ratio", "inflight / cwnd", "how much of the window is in the network"),
    Column("sent_acked", "log2((sent + mss) / (acked + mss))", "is more sent than comes back"),
    Column("queue_min_8", "falling minimum of log2(s / m), 8 srtt", "standing queue, recent"),
    Column("queue_max_8", "rising maximum of log2(s / m), 8 srtt", "peak queue, recent"),
    Column("queue_min_32", "falling minimum of log2(s / m), 32 srtt", "standing queue that no drain of ours removes"),
    Column("queue_max_32", "rising maximum of log2(s / m), 32 srtt", "peak queue, long: the buffer's depth"),
    Column(
        "queue_min_128", "falling minimum of log2(s / m), 128 srtt", "has the queue been empty in a sawtooth's time"
    ),
    Column("queue_max_128", "rising maximum of log2(s / m), 128 srtt", "peak queue of a sawtooth's time"),
    Column("queue_segments", "log2(1 + (1 - m / s) * cwnd / mss) / 4", "our segments in the queue"),
    Column("peak_segments", "log2(1 + (1 - 2 ** -queue_max_32) * cwnd / mss) / 4", "our segments in the longest queue"),
    Column("interval", "log2(dt / s)", "monitor interval in srtt"),
    Column("is_recovery", "state is RECOVERY or CWR", "the datapath is reducing"),
    Column("is_timeout", "state is LOSS", "after a retransmission time-out"),
    Column("is_limited", "APP_LIMITED or RWND_LIMITED", "the application or the peer holds back data"),
    Column("is_cwnd_limited", "CWND_LIMITED", "the window holds back data"),
    Column("since_loss", "log2(1 + time since the last loss event / s)", "length of the loss-free run"),
    Column("cwnd_mss", "log2(cwnd / mss) / 8", "window in segments: how fine a step can be"),
    Column("previous_action", "a'", "what the agent asked for"),
    Column("is_startup", "never a loss, a mark, log2(s / m) > 0.32 or a' < -0.2", "capacity not found yet"),
    Column("ecn_ratio", "sqrt(marks * mss / acked)", "share of ACKs that echoed CE"),
    Column("tcp_window", "log2(cwnd / (mss * sqrt(1.5 * g)))", "window against Reno's at the same loss events"),
    Column("rtt_deviation", "E8[abs(r - s) / m]", "jitter"),
    Column("cwnd_trend_8", "log2(cwnd) - E8[log2(cwnd)]", "window against its recent course"),
    Column("cwnd_trend_32", "log2(cwnd) - E32[log2(cwnd)]", "window against its long course"),
    Column("rate_trend_8", "log2(rate) - E8[log2(rate)]", "does the rate follow a growing window"),
    Column("srtt_trend_8", "log2(s) - E8[log2(s)]", "delay against its recent course"),
    Column("srtt_trend_32", "log2(s) - E32[log2(s)]", "delay against its long course"),
    Column("elasticity", "E32[c * q] / (E32[c * c] + 0.0003)", "how far the queue follows our window: our part of it"),
    Column(
        "dither_response", "E128[d * q'] / (E128[d * d] + 0.0001)", "the same of the dither alone, over a longer time"
    ),
    Column(
        "rate_response", "E128[d * v] / (E128[d * d] + 0.0001)", "does the rate follow the window: is the path not full"
    ),
    Column(
        "queue_alien", "sqrt(E32[q * q] - E32[c * q] ** 2 / (E32[c * c] + 0.0003))", "what the queue does of itself"
    ),
    Column("coupled_step", "log2 of the coupled window's factor in this interval", "what a neutral action does"),
    Column(
        "is_alien",
        "queue_min_8 > 0.3, dither_response < 0.4, E128[d * d] > 0.0008, not a wait for delayed ACKs",
        "somebody else's queue: the window makes the coupled step, whatever the action",
    ),
    Column(
        "is_clear",
        "not is_alien, and (E128[d * d] > 0.0008, queue_min_8 < 0.3, or a wait for delayed ACKs)",
        "no queue that may be somebody else's: neutral actions move the window a little",
    ),
)
"""From the subflow's own samples."""

SIBLING_COLUMNS = (
    Column("n_subflows", "n / 8", "live subflows of the connection"),
    Column("rate_share", "rate / sum rate", "part of the connection's delivery rate"),
    Column("srtt_above_best", "log2(s / min s)", "slower than the fastest sibling"),
    Column("base_above_best", "log2(m / min m)", "longer than the shortest sibling"),
    Column("queue_mean", "mean log2(s / m)", "queues of the connection"),
    Column("queue_best", "min log2(s / m)", "the emptiest sibling"),
    Column("loss_mean", "sqrt(mean E32 loss ratio)", "loss of the connection"),
    Column("loss_above_best", "loss_long - min loss_long", "lossier than the best sibling"),
    Column("top_share", "log2(top / sum top)", "part of the connection's estimated capacity"),
    Column("queue_weighted", "sum rate_share * log2(s / m)", "queue that an average byte sees"),
)
"""Pooled over the live subflows of the connection, the subflow itself included; symmetric in the siblings."""

HISTORY_COLUMNS = ("rtt_ratio", "loss_now", "utilization", "rate_ratio", "previous_action")
"""Columns that are repeated for the HISTORY_LENGTH intervals before."""

COLUMNS = (
    *SUBFLOW_COLUMNS,
    *SIBLING_COLUMNS,
    *(
        Column(f"{name}_{age}", f"{name}, {age} intervals ago", "history")
        for age in range(1, HISTORY_LENGTH + 1)
        for name in HISTORY_COLUMNS
    ),
)
"""The layout: column i of an observation is COLUMNS[i]."""

OBSERVATION_NAMES = tuple(column.name for column in COLUMNS)
OBSERVATION_SIZE = len(COLUMNS)

_DIGEST = zlib.crc32("\n".join(f"{column.name}={column.formula}" for column in COLUMNS).encode())
OBSERVATION_VERSION = f"1-{_DIGEST:08x}"
"""Changes with every name, formula and position: an artifact of another layout is refused."""

SYMBOLS = """\
s, r: smoothed and newest RTT; m: the lowest RTT, or a longer one where the path became longer; cwnd: the window, or
ssthresh while the datapath reduces; r' and a' are the previous interval's; dt: time since the previous observation;
acked, sent, lost: bytes in it; E4, E32: exponentially
weighted sums over 4 and 32 srtt (means for products and trends; E8 and E128 alike); rate: acked / dt smoothed over one
srtt; top: recent maximum of rate, which decays over 16 srtt; d: the dither of the window one interval ago, log2; g:
segments between loss events, their average or the present run if that is longer (RFC 5348 section 5); c, q:
cwnd_trend_8 and srtt_trend_8; v: rate_trend_8; q': q, but within 0.25 until 128 srtt after the start-up."""
"""What the formulas' letters mean."""


def find_columns(names: Sequence[str], patterns: Sequence[str]) -> list[int]:
    """Return the indices of the columns that match one of the shell patterns."""
    return [i for i, name in enumerate(names) if any(fnmatchcase(name, pattern) for pattern in patterns)]


def format_table(indent: str = "") -> str:
    """Return the layout as a Markdown table; the history takes one row."""
    lines = ["| column | formula | tells |", "|---|---|---|"]
    lines += [f"| `{c.name}` | {c.formula} | {c.meaning} |" for c in (*SUBFLOW_COLUMNS, *SIBLING_COLUMNS)]
    names = ", ".join(f"`{name}_k`" for name in HISTORY_COLUMNS)
    lines.append(f"| {names} | k = 1 … {HISTORY_LENGTH} | the same, k intervals ago |")
    return "\n".join(indent + line for line in lines)

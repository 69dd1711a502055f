# SPDX-License-Identifier: BSD-2-Clause
"""The seam between the FreeBSD datapaths and whatever answers their two calls: a kernel, or a model of one.

Every method fails with OSError of the errno that the call gave; EPERM is PermissionError.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.datapath import ResultArray
from ccdrl.bindings.errors import DatapathError
from ccdrl.bindings.library import ActionArray, SampleArray

V1_QUEUE_RECORDS = 10_000
"""Records that the kernel of ABI v1 keeps at most, and that a caller must have room for."""

V1_RECORD_DTYPE = np.dtype(
    [
        ("cwnd_bytes", np.uint32),
        ("srtt_q5_ticks", np.int32),
        ("cong_events", np.int32),
        ("local_addr", np.uint32),
        ("local_port", np.uint32),
    ]
)
"""struct ccdrl_v1_record of native/native.h, where the fields are explained; compared with it when that is loaded."""

RecordArray = NDArray[np.void]
"""Rows of V1_RECORD_DTYPE."""


class Transport(Protocol):
    """The two calls of ABI v2."""

    def get_buffer(self, samples: SampleArray) -> int:
        """Fill samples[:n] with the records that changed and return n."""

    def update_cwnd(self, actions: ActionArray, results: ResultArray) -> None:
        """Write the windows; results[i] becomes the `ActionResult` of actions[i]."""

    def read_expired(self) -> int:
        """Return how many leases have run out since the module was loaded."""

    def close(self) -> None:
        """Let go of the calls; a second call does nothing."""


class TransportV1(Protocol):
    """The two calls of ABI v1."""

    def get_buffer(self, records: RecordArray) -> int:
        """Take the queue, at most V1_QUEUE_RECORDS, oldest first, into records[:n] and return n; 0: it was empty."""

    def update_cwnd(self, cwnd_bytes: int, local_addr: int, local_port: int) -> None:
        """Set a window; address and port as they stand in the record. The kernel checks nothing."""

    def clock_us(self) -> int:
        """Return the time now; it never goes back. The records have none."""

    def close(self) -> None:
        """Let go of the calls; a second call does nothing."""


@contextmanager
def report_errors(name: str) -> Iterator[None]:
    """Turn what a call of the datapath `name` raises into what a `Datapath` raises."""
    try:
        yield
    except PermissionError as error:
        raise PermissionError(error.errno, f"datapath {name}: {error.strerror}") from None
    except OSError as error:
        raise DatapathError(f"datapath {name}: {error.strerror}") from None

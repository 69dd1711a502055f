# SPDX-License-Identifier: BSD-2-Clause
"""Segment by segment: the simulator's own record of what was sent, received, dropped, acknowledged and timed out."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ccdrl.bindings.checks import check_integer
from ccdrl.bindings.library import derive_dtype, lib, pin
from ccdrl.bindings.simulator import Simulator

RECORD_DTYPE = derive_dtype("struct ccdrl_record")
CAPACITY_MAX = 2**24


class Kind(IntEnum):
    """What happened (enum ccdrl_record_kind)."""

    SEND = lib.CCDRL_RECORD_SEND
    RETRANSMIT = lib.CCDRL_RECORD_RETRANSMIT
    PROBE = lib.CCDRL_RECORD_PROBE
    RECEIVE = lib.CCDRL_RECORD_RECEIVE
    DROP = lib.CCDRL_RECORD_DROP
    ACK = lib.CCDRL_RECORD_ACK
    RTO = lib.CCDRL_RECORD_RTO


def enable_records(simulator: Simulator, capacity: int) -> None:
    """Keep the newest `capacity` records from now on; 0 ends it."""
    checked = check_integer("capacity", capacity, 0, CAPACITY_MAX)
    simulator.check_result(lib.ccdrl_sim_record_enable(simulator.handle, checked))


def read_records(simulator: Simulator, capacity: int = 65536) -> NDArray[np.void]:
    """Take out up to `capacity` records, oldest first: rows of RECORD_DTYPE (times in ns, windows in segments)."""
    records = np.zeros(check_integer("capacity", capacity, 1, CAPACITY_MAX), RECORD_DTYPE)
    count = int(lib.ccdrl_sim_record_read(simulator.handle, pin("struct ccdrl_record", records), records.size))
    return records[:count]

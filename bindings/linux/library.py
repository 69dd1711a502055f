# SPDX-License-Identifier: BSD-2-Clause
"""The one owner of the Linux binding's `ffi`: numpy layouts of its structs, and errnos as exceptions.

Nothing here repeats a layout or a number; all come from kmod/linux/ccdrl_linux.h and native/native.h.
"""

import os
from functools import partial

import numpy as np

from ccdrl.bindings import library

try:
    from ccdrl.bindings.linux._linux import ffi as ffi
    from ccdrl.bindings.linux._linux import lib as lib
except ImportError as error:  # not built: no Linux, or a checkout that was never compiled
    raise ImportError("the Linux binding is not built; run `make setup` on Linux") from error


derive_dtype = partial(library.derive_dtype, owner=ffi)
pin = partial(library.pin, owner=ffi)

STATE_DTYPE = derive_dtype("struct ccdrl_state_slot")
CONTROL_DTYPE = derive_dtype("struct ccdrl_control_slot")
INFO_DTYPE = derive_dtype("struct ccdrl_linux_info")
CHANGES_DTYPE = np.dtype(np.uint64)

MAGIC: int = lib.CCDRL_LINUX_MAGIC
LAYOUT: int = lib.CCDRL_LINUX_LAYOUT
SLOT_BITS: int = lib.CCDRL_LINUX_SLOT_BITS
SLOTS_MAX: int = lib.CCDRL_LINUX_SLOTS_MAX
CWND_MAX_BYTES: int = lib.CCDRL_LINUX_CWND_MAX_BYTES


def check_errno(result: int, path: str) -> int:
    """Return a result that is not negative, else raise the OSError of its errno."""
    if result < 0:
        raise OSError(-result, os.strerror(-result), path)
    return result

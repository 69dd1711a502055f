# SPDX-License-Identifier: BSD-2-Clause
"""The one owner of the FreeBSD binding's `ffi`, and errnos as exceptions. It is built on FreeBSD only."""

import os
from functools import partial

from ccdrl.bindings import library
from ccdrl.bindings.freebsd.transport import V1_QUEUE_RECORDS, V1_RECORD_DTYPE

try:
    from ccdrl.bindings.freebsd._freebsd import ffi as ffi
    from ccdrl.bindings.freebsd._freebsd import lib as lib
except ImportError as error:
    raise ImportError("the FreeBSD binding is not built; install ccdrl on FreeBSD") from error

pin = partial(library.pin, owner=ffi)

if library.derive_dtype("struct ccdrl_v1_record", ffi) != V1_RECORD_DTYPE:
    raise ImportError("the FreeBSD binding was built from another version's native.h; install ccdrl again")
if lib.CCDRL_V1_QUEUE_RECORDS != V1_QUEUE_RECORDS:
    raise ImportError("the FreeBSD binding was built from another version's native.h; install ccdrl again")


def check_errno(result: int, call: str) -> None:
    """Raise the OSError of a negative errno: PermissionError for EPERM and so on."""
    if result < 0:
        raise OSError(-result, f"{call}: {os.strerror(-result)}")

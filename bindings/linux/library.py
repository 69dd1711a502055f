# SPDX-License-Identifier: BSD-2-Clause
"""The one owner of the Linux binding's `ffi`: numpy layouts of its structs, and errnos as exceptions.

Nothing here repeats a layout or a number; all come from kmod/linux/ccdrl_linux.h and native/native.h.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from ccdrl.bindings.linux._linux import ffi as ffi
    from ccdrl.bindings.linux._linux import lib as lib
except ImportError as error:  # not built: no Linux, or a checkout that was never compiled
    raise ImportError("the Linux binding is not built; run `make setup` on Linux") from error


def derive_dtype(struct: str) -> np.dtype[Any]:
    """Return the numpy layout of a C struct, nested structs and arrays included: same names, offsets and size."""
    return _derive(ffi.typeof(struct))


def _derive(ctype: Any) -> np.dtype[Any]:
    if ctype.kind == "array":
        return np.dtype((_derive(ctype.item), (ctype.length,)))
    if ctype.kind == "struct":
        return np.dtype(
            {
                "names": [name for name, _ in ctype.fields],
                "formats": [_derive(field.type) for _, field in ctype.fields],
                "offsets": [field.offset for _, field in ctype.fields],
                "itemsize": ffi.sizeof(ctype),
            }
        )
    if ctype.kind != "primitive" or "int" not in ctype.cname:
        raise TypeError(f"no numpy type for C type {ctype.cname}")
    return np.dtype(f"{'u' if ctype.cname.startswith('u') else 'i'}{ffi.sizeof(ctype)}")


STATE_DTYPE = derive_dtype("struct ccdrl_state_slot")
CONTROL_DTYPE = derive_dtype("struct ccdrl_control_slot")
INFO_DTYPE = derive_dtype("struct ccdrl_linux_info")
TALLY_DTYPE = derive_dtype("struct drl_counters")
CHANGES_DTYPE = np.dtype(np.uint64)

MAGIC: int = lib.CCDRL_LINUX_MAGIC
LAYOUT: int = lib.CCDRL_LINUX_LAYOUT
ABI_VERSION: int = lib.DRL_ABI_VERSION
SLOT_BITS: int = lib.CCDRL_LINUX_SLOT_BITS
SLOTS_MAX: int = lib.CCDRL_LINUX_SLOTS_MAX
CWND_MAX_BYTES: int = lib.CCDRL_LINUX_CWND_MAX_BYTES


def check_errno(result: int, path: str) -> int:
    """Return a result that is not negative, else raise the OSError of its errno."""
    if result < 0:
        raise OSError(-result, os.strerror(-result), path)
    return result


def pin(ctype: str, array: NDArray[Any], *, is_written: bool = True) -> Any:
    """Return a C pointer into a contiguous array; it keeps the array alive, a cast of it does not."""
    return ffi.from_buffer(f"{ctype}[]", array, require_writable=is_written)

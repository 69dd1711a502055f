# SPDX-License-Identifier: BSD-2-Clause
"""Loads numpy with one BLAS thread, where it is not loaded yet; the environment is left as it was.

On matrices of a policy's size further threads cost more than they give, and they would wake another core with every
decision. OpenBLAS reads the variables once, when it is loaded.
"""

import importlib
import os

_NAMES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_added = [name for name in _NAMES if name not in os.environ]
os.environ.update(dict.fromkeys(_added, "1"))
importlib.import_module("numpy")
for _name in _added:
    del os.environ[_name]

# SPDX-License-Identifier: BSD-2-Clause
from setuptools import setup

setup(cffi_modules=["bindings/_build.py:ffibuilder"])

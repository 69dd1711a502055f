# SPDX-License-Identifier: BSD-2-Clause
import subprocess
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

SYSTEM = {"linux": ["linux", "testbed"], "freebsd": ["freebsd"]}
EXTENSIONS = ["csim", "decision", *SYSTEM.get(sys.platform.rstrip("0123456789."), [])]


class BuildPrograms(build_py):
    """Also builds the BPF objects that the package carries, where there is a compiler for them."""

    def run(self) -> None:
        """Build the objects first: they are data of a package."""
        if sys.platform == "linux" and subprocess.run(["make", "--quiet", "-C", "kmod/linux"], check=False).returncode:
            print("ccdrl: built without the BPF controllers; the line above says what is missing", file=sys.stderr)
        super().run()


setup(cffi_modules=[f"bindings/_build.py:{name}" for name in EXTENSIONS], cmdclass={"build_py": BuildPrograms})

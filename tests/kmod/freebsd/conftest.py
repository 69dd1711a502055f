# SPDX-License-Identifier: BSD-2-Clause
"""Kernels for the tests of the FreeBSD module; each ends with its test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ccdrl.tests.kmod.freebsd import harness_build, toolchain
from ccdrl.tests.kmod.freebsd.harness import Kernel


@pytest.fixture(scope="session")
def headers() -> None:
    """FreeBSD's headers and a compiler for them are installed, or cannot be; what fails later is an error."""
    missing = harness_build.lacking()
    if missing is not None:
        pytest.skip(f"this machine lacks {missing}")
    try:
        for release in toolchain.ZIGLANG:
            toolchain.ziglang(release)
        toolchain.ck_headers()
    except toolchain.ToolchainError as error:
        pytest.skip(f"this machine lacks FreeBSD's headers: {str(error).splitlines()[-1]}")


@pytest.fixture
def open_kernel(headers: None) -> Iterator[Callable[..., Kernel]]:
    """`open_kernel(release, **options)` as the class Kernel, with the module loaded."""
    kernels: list[Kernel] = []

    def start(release: int = 14, **options: Any) -> Kernel:
        kernels.append(Kernel(release, **options))
        kernels[-1].load()
        return kernels[-1]

    yield start
    for kernel in kernels:
        kernel.close()

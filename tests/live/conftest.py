# SPDX-License-Identifier: BSD-2-Clause
from collections.abc import Iterator
from pathlib import Path

import pytest

from ccdrl.tests.live.support_daemon import controllers, require_daemon
from ccdrl.tests.live.support_datapath import Network, require_machine


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: repeats for another controller or link what a shorter run shows too")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Client, router and server, laid out once for a file's tests."""
    require_machine()
    network = Network()
    yield network
    network.close()


@pytest.fixture(scope="module")
def pin_dir() -> Iterator[Path]:
    """The pins of controllers loaded for a file's tests of the daemon."""
    require_daemon()
    with controllers() as folder:
        yield folder

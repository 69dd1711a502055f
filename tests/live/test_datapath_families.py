# SPDX-License-Identifier: BSD-2-Clause
"""What a record says about its subflow's connection and addresses: IPv4, IPv6, v4-mapped, MPTCP joins, plain TCP."""

import re
import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support_datapath import (  # noqa: E402
    SERVERS,
    SERVERS_V6,
    Sink,
    connect,
    loaded,
    run,
    trickle,
    wait_until,
)

from ccdrl.bindings.library import Event  # noqa: E402
from ccdrl.bindings.linux.datapath import LinuxDatapath  # noqa: E402
from ccdrl.bindings.linux.status import read_status  # noqa: E402


def format_address(row, which):
    if row["family"] == socket.AF_INET:
        assert not row[which][4:].any()
        return socket.inet_ntop(socket.AF_INET, row[which][:4].tobytes())
    return socket.inet_ntop(socket.AF_INET6, row[which].tobytes())


@pytest.fixture
def records(network):
    """Return a function that connects, sends, and gives the rows of the connection by foreign address."""
    with loaded() as pin_dir:
        opened = []

        def make(address, family, protocol, subflows):
            sink = Sink(network, socket.AF_INET6, protocol)
            datapath = LinuxDatapath(pin_dir)
            connection = connect(network, address, sink.port, family=family, protocol=protocol)
            opened.extend((connection, sink))
            wait_until(lambda: read_status(pin_dir)["slots"]["used"] == subflows, f"{subflows} subflows are there")
            connection.sendall(bytes(300_000))
            wait_until(lambda: sink.received_bytes == 300_000, "everything arrives")
            rows = datapath.read_samples().copy()
            assert len(rows) == subflows
            for row in rows:
                assert row["event"] == Event.CREATED
                assert row["foreign_port"] == sink.port
                assert row["local_port"] > 0
            return connection, {format_address(row, "foreign_addr"): row for row in rows}

        yield make
        for each in opened:
            each.close()
        with trickle():  # which has one itself
            wait_until(lambda: read_status(pin_dir)["slots"]["used"] <= 1, "all slots are free again", 30.0)
        wait_until(lambda: read_status(pin_dir)["slots"]["used"] == 0, "all slots are free again")


@pytest.mark.parametrize(
    ("address", "family", "shown", "local"),
    [
        (SERVERS[0], socket.AF_INET, SERVERS[0], "10.78.1.1"),
        (SERVERS_V6[0], socket.AF_INET6, SERVERS_V6[0], "fd78:1::1"),
        (f"::ffff:{SERVERS[0]}", socket.AF_INET6, SERVERS[0], "10.78.1.1"),
    ],
)
def test_plain_tcp_has_its_addresses_and_no_connection(records, address, family, shown, local):
    connection, rows = records(address, family, socket.IPPROTO_TCP, 1)
    row = rows[shown]
    assert format_address(row, "local_addr") == local
    assert row["local_port"] == connection.getsockname()[1]
    assert row["conn_id"] == 0
    assert row["delivered_bytes"] == 300_000
    assert row["sent_bytes"] >= 300_000
    assert row["sent_bytes"] - row["retransmitted_bytes"] == 300_000


@pytest.mark.parametrize(
    ("address", "family", "shown"),
    [
        (SERVERS[0], socket.AF_INET, {SERVERS[0], SERVERS[1]}),
        (SERVERS_V6[0], socket.AF_INET6, {SERVERS_V6[0], SERVERS[1]}),
        (f"::ffff:{SERVERS[0]}", socket.AF_INET6, {SERVERS[0], SERVERS[1]}),
    ],
)
def test_subflows_of_one_connection_share_its_token(network, records, address, family, shown):
    """The join goes to the announced IPv4 address, whatever family the connection began with."""
    _, rows = records(address, family, 262, 2)
    assert set(rows) == shown
    (token,) = {int(row["conn_id"]) for row in rows.values()}
    listed = run("ip", "netns", "exec", network.client, "ss", "-tinH")
    # ss shows a subflow's tokens as remote(id)/local(id)
    tokens = {int(found, 16) for found in re.findall(r"token:[0-9a-f]+\(id:\d+\)/([0-9a-f]+)\(id:\d+\)", listed)}
    assert token in tokens

# SPDX-License-Identifier: BSD-2-Clause
"""LIA, OLIA and BALIA as BPF congestion controls on this kernel, with MPTCP connections between namespaces."""

import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ccdrl.bindings.linux.loader import load, unload
from ccdrl.tests.live.coupling_bed import (
    CLONE_NEWNET,
    ROUTES,
    SERVER,
    SERVER_V6,
    Bed,
    libc,
    measure_mbps,
    run,
    wait_until,
)

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("ccdrl_lia", "ccdrl_olia", "ccdrl_balia")
REPEATED = [NAMES[0], *(pytest.param(name, marks=pytest.mark.long) for name in NAMES[1:])]
SHARED_MBPS = 20
WARMUP_S, MEASURE_S = 5.0, 15.0


def require_kernel() -> None:
    """Skip where the machine cannot load a congestion control or lay out a network."""
    if os.geteuid() != 0:
        pytest.skip("this machine lacks root for tests that load BPF programs")
    for tool in ("clang", "llvm-strip", "bpftool", "ip", "tc", "make", "mount"):
        if shutil.which(tool) is None:
            pytest.skip(f"this machine lacks {tool}")
    for file in ("/sys/kernel/btf/vmlinux", "/proc/sys/net/mptcp/enabled", "/usr/include/bpf/bpf_helpers.h"):
        if not Path(file).exists():
            pytest.skip(f"this machine lacks {file}")


def available() -> list[str]:
    return Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()


def list_members() -> list[dict[str, Any]]:
    """The members of all connections: token, number, cwnd_segments, mss_bytes, srtt_us, interval_segments."""
    dump = json.loads(run("bpftool", "--json", "map", "dump", "name", "ccdrl_members"))
    entries = dump[0]["elements"] if dump and "elements" in dump[0] else dump
    formatted = [entry.get("formatted", entry) for entry in entries]
    return [{**entry["key"], **entry["value"]} for entry in formatted]


def sweep() -> None:
    """Let some plain connections come and go: each looks for entries whose end the kernel left out (missed.h)."""

    def work() -> None:
        assert libc.unshare(CLONE_NEWNET) == 0
        run("ip", "link", "set", "lo", "up")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            for _ in range(8):
                with socket.socket() as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, NAMES[0].encode())
                    connection.connect(listener.getsockname())
                    listener.accept()[0].close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def nobody_is_listed() -> bool:
    if not list_members():
        return True
    if NAMES[0] in available():
        sweep()
    return False


def list_maps() -> list[str]:
    return [entry.get("name", "") for entry in json.loads(run("bpftool", "--json", "map", "show") or "[]")]


def list_programs() -> list[str]:
    return [entry.get("name", "") for entry in json.loads(run("bpftool", "--json", "prog", "show") or "[]")]


@dataclass(frozen=True)
class Couplings:
    """The compiled object, and where the loader pins what it holds."""

    compiled: Path
    pins: Path

    def load(self) -> None:
        assert tuple(sorted(load([self.compiled], pin_dir=self.pins))) == tuple(sorted(NAMES))

    def unload(self) -> None:
        if self.pins.exists():
            unload(self.pins)


@pytest.fixture(scope="module")
def couplings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Couplings]:
    """Compiled, and loaded until the last test."""
    require_kernel()
    folder = tmp_path_factory.mktemp("couplings")
    compiled = folder / "ccdrl_couplings.bpf.o"
    run("make", "-C", str(ROOT / "kmod" / "linux"), f"OUT={folder}", f"BUILD={folder / 'build'}", str(compiled))
    # What another test has let go of, the kernel forgets a moment later.
    wait_until(lambda: not set(NAMES) & set(available()), "nobody else has loaded them (ccdrl-linux unload)", 60.0)
    mount = folder / "bpf"
    mount.mkdir()
    run("mount", "-t", "bpf", "bpf", str(mount))
    loaded = Couplings(compiled, mount / "couplings")
    try:
        loaded.load()
        yield loaded
    finally:
        loaded.unload()
        run("umount", str(mount))


@pytest.fixture(autouse=True)
def _quiet(couplings: Couplings) -> None:
    """The last test's orphans are gone: no failure is handed on."""
    wait_until(lambda: not couplings.pins.exists() or nobody_is_listed(), "no member is left from before", 120.0)


def share_with_tcp(cc: str) -> tuple[float, float]:
    """Goodput of a connection of two subflows and of one plain Reno, behind one 20 Mbit/s link."""
    with Bed(shared_mbps=SHARED_MBPS) as bed:
        bed.add_subflows(ROUTES[1])
        pair = [bed.connect(cc), bed.connect("reno", is_mptcp=False)]
        multipath, single = measure_mbps(pair, WARMUP_S, MEASURE_S)
    print(f"{cc}: {multipath:.2f} Mbit/s beside Reno's {single:.2f}")
    return multipath, single


@pytest.fixture(scope="module")
def uncoupled_mbps(couplings: Couplings) -> float:
    return share_with_tcp("reno")[0]


@pytest.mark.parametrize("cc", REPEATED)
def test_a_coupled_connection_takes_less_from_a_shared_link(cc: str, uncoupled_mbps: float) -> None:
    """RFC 6356 goal 2, do no harm, on a drop-tail link whose losses synchronise: the comparison, not the exact half."""
    multipath, single = share_with_tcp(cc)
    assert multipath + single > 0.85 * SHARED_MBPS, "the link is not filled"
    assert multipath < uncoupled_mbps - 0.5
    assert multipath > 0.2 * SHARED_MBPS, "starved"


@pytest.mark.parametrize("cc", REPEATED)
def test_two_disjoint_routes_are_both_used(couplings: Couplings, cc: str) -> None:
    with Bed(routes_mbps=(10, 10)) as bed:
        bed.add_subflows(ROUTES[1])
        [goodput] = measure_mbps([bed.connect(cc)], WARMUP_S, 8.0)
    print(f"{cc}: {goodput:.2f} of 2 x 10 Mbit/s")
    assert goodput > 16


def count_live(token: int) -> int:
    """Members of a connection that count in its siblings' windows."""
    return sum(member["token"] == token and member["srtt_us"] > 0 for member in list_members())


def only_token() -> int:
    tokens = {member["token"] for member in list_members()}
    assert len(tokens) == 1
    return int(tokens.pop())


@pytest.mark.parametrize("cc", NAMES)
def test_subflows_are_listed_while_they_live(couplings: Couplings, cc: str) -> None:
    with Bed(routes_mbps=(10, 10)) as bed:
        bed.add_subflows(ROUTES[1])
        connection = bed.connect(cc)
        assert connection.cc() == cc
        wait_until(lambda: len(list_members()) == 2, "two members")
        token = only_token()
        assert {member["number"] for member in list_members()} == {1, 2}
        wait_until(lambda: count_live(token) == 2, "both with an RTT")
        assert {member["mss_bytes"] for member in list_members()} == {1448}
        bed.ip("client", "mptcp", "endpoint", "delete", "id", "1")
        wait_until(lambda: len(list_members()) == 1, "the removed subflow is struck off")
        connection.close()
        wait_until(nobody_is_listed, "nothing is left of the connection")


def test_a_route_that_fails_does_not_count_until_it_is_back(couplings: Couplings) -> None:
    with Bed(routes_mbps=(10, 10)) as bed:
        bed.add_subflows(ROUTES[1])
        connection = bed.connect("ccdrl_lia")
        wait_until(lambda: len(list_members()) == 2, "two members")
        token = only_token()
        wait_until(lambda: count_live(token) == 2, "both count")
        bed.ip("router", "link", "set", "b2", "down")
        wait_until(lambda: count_live(token) == 1, "three time-outs make the second subflow dead")
        [goodput] = measure_mbps([connection], 1.0, 3.0)
        assert goodput > 7, "the first route goes on"
        bed.ip("router", "link", "set", "b2", "up")
        wait_until(lambda: count_live(token) == 2, "an ACK brings it back", 60.0)


@pytest.mark.parametrize(
    ("address", "join", "sizes"),
    [
        pytest.param(SERVER_V6, "fd77:1::1", [1428, 1428], id="ipv6"),
        pytest.param(f"::ffff:{SERVER}", ROUTES[1], [1448, 1448], id="v4-mapped"),
        pytest.param(f"::ffff:{SERVER}", None, [1428, 1448], id="v4-mapped with an IPv6 join"),
    ],
)
def test_address_families(couplings: Couplings, address: str, join: str | None, sizes: list[int]) -> None:
    """Subflows of one token find each other whatever their family; segments of IPv6 are smaller."""
    with Bed(shared_mbps=20) as bed:
        if join is None:
            bed.ip("server", "mptcp", "endpoint", "add", SERVER_V6, "dev", "d0", "signal")
        else:
            bed.add_subflows(join)
        connection = bed.connect("ccdrl_balia", address=address)
        wait_until(lambda: len(list_members()) == 2, "two members")
        token = only_token()
        wait_until(lambda: count_live(token) == 2, "both with an RTT")
        assert sorted(member["mss_bytes"] for member in list_members()) == sizes
        [goodput] = measure_mbps([connection], 2.0, 3.0)
        assert goodput > 15


@pytest.mark.parametrize("cc", REPEATED)
def test_plain_tcp_is_reno_and_is_not_listed(couplings: Couplings, cc: str) -> None:
    with Bed(shared_mbps=20) as bed:
        pair = [bed.connect(cc, is_mptcp=False), bed.connect("reno", is_mptcp=False)]
        assert not list_members()
        ours, reno = measure_mbps(pair, WARMUP_S, 10.0)
    print(f"{cc}: plain TCP {ours:.2f} beside Reno's {reno:.2f} Mbit/s")
    assert ours + reno > 17
    assert ours == pytest.approx(reno, abs=5.0)


def test_more_subflows_than_entries(couplings: Couplings) -> None:
    """The initial subflow and eight joins: eight are listed, and the ninth runs, and leaves, like the others."""
    with Bed(shared_mbps=20) as bed:
        more = [f"10.77.1.{host}" for host in range(11, 19)]
        for address in more:
            bed.ip("client", "addr", "add", f"{address}/24", "dev", "a1")
        bed.add_subflows(*more)
        connection = bed.connect("ccdrl_olia")
        inside = ("ip", "netns", "exec", bed.names["client"])
        wait_until(lambda: run(*inside, "ss", "-Hti").count("ccdrl_olia") == 9, "nine subflows")
        assert len(list_members()) == 8
        [goodput] = measure_mbps([connection], 2.0, 3.0)
        assert goodput > 15
        connection.close()
        wait_until(nobody_is_listed, "nothing is left")


def test_churn_leaves_nothing(couplings: Couplings) -> None:
    with Bed() as bed:
        bed.add_subflows(ROUTES[1])
        for number in range(60):
            connection = bed.connect(NAMES[number % 3])
            wait_until(lambda c=connection: c.received_bytes > 100_000, "data")  # type: ignore[misc]
            connection.close()
        wait_until(nobody_is_listed, "nothing is left")


def test_unloading_under_a_live_connection_is_safe(couplings: Couplings) -> None:
    """The connection keeps its controller, new ones cannot have it, and it goes with its last user."""
    with Bed(shared_mbps=20) as bed:
        bed.add_subflows(ROUTES[1])
        connection = bed.connect("ccdrl_lia")
        wait_until(lambda: len(list_members()) == 2, "two members")
        couplings.unload()
        try:
            assert not set(NAMES) & set(available())
            with pytest.raises(FileNotFoundError):
                bed.connect("ccdrl_lia", is_mptcp=False)
            [goodput] = measure_mbps([connection], 1.0, 3.0)
            assert goodput > 15
            assert "ccdrl_members" in list_maps()
            connection.close()
            wait_until(lambda: "ccdrl_members" not in list_maps(), "the last user is gone")
        finally:
            couplings.load()


def test_twenty_rounds_of_loading_leak_nothing(couplings: Couplings) -> None:
    maps = {"ccdrl_members", *NAMES}
    programs = ("coupling_", "lia_", "olia_", "balia_")
    try:
        for _ in range(20):
            couplings.unload()
            assert not set(NAMES) & set(available())
            couplings.load()
            assert set(NAMES) <= set(available())
        wait_until(lambda: sum(name in maps for name in list_maps()) == 4, "one hash and three tables are left")
    finally:
        couplings.unload()
    wait_until(lambda: not maps & set(list_maps()), "no map is left")
    wait_until(lambda: not [name for name in list_programs() if name.startswith(programs)], "no program is left")

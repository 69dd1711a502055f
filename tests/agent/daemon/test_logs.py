# SPDX-License-Identifier: BSD-2-Clause
"""Log lines, and what systemd hears."""

import io
import json
import os
import socket

import pytest

from ccdrl.agent.daemon.logs import Log, format_logfmt
from ccdrl.agent.daemon.notify import Notifier


def test_logfmt():
    fields = {"a": 1, "b": True, "c": "x y", "d": 'q"', "e": "two\nlines", "f": 0.25, "g": None, "h": ""}
    assert format_logfmt(fields) == r'a=1 b=true c="x y" d="q\"" e="two\nlines" f=0.25 g=None h=""'


def test_json_lines_and_levels():
    stream = io.StringIO()
    log = Log("warning", is_json=True, stream=stream)
    log.info("no")
    log.warning("yes", value=float("nan"), other=object)
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert (document["level"], document["event"], document["value"]) == ("warning", "yes", None)
    assert document["time"].endswith("Z")


def test_repeated_errors_are_limited():
    stream = io.StringIO()
    log = Log("info", stream=stream)
    for _ in range(100):
        log.limit_error("refused")
    assert stream.getvalue().count("event=refused") == 1


def test_a_stream_that_is_gone_is_no_error():
    stream = io.StringIO()
    stream.close()
    Log("info", stream=stream).info("event")


@pytest.fixture
def manager(tmp_path):
    place = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(place))
        receiver.setblocking(False)

        def read():
            try:
                return receiver.recv(4096).decode()
            except BlockingIOError:
                return None

        yield str(place), read


def test_states_are_reported(manager):
    place, read = manager
    notifier = Notifier({"NOTIFY_SOCKET": place})
    notifier.ready("serving")
    assert read() == "READY=1\nSTATUS=serving"
    notifier.reloading()
    assert read().startswith("RELOADING=1\nMONOTONIC_USEC=")
    notifier.stopping()
    assert read() == "STOPPING=1"
    notifier.watch()
    assert read() is None  # no watchdog was asked for
    notifier.close()
    notifier.close()


def test_the_watchdog_hears_at_half_of_its_time(manager, monkeypatch):
    place, read = manager
    now = [100.0]
    monkeypatch.setattr("ccdrl.agent.daemon.notify.time.monotonic", lambda: now[0])
    given = {"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier(given)
    heard = []
    for _ in range(40):
        now[0] += 0.25
        notifier.watch()
        heard.append(read())
    assert heard.count("WATCHDOG=1") == 10
    notifier.close()


@pytest.mark.parametrize(
    "given", [{"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "10", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}]
)
def test_a_watchdog_for_somebody_else_is_not_fed(manager, given):
    place, read = manager
    notifier = Notifier({"NOTIFY_SOCKET": place, **given})
    notifier._watched_s = -1e9
    notifier.watch()
    assert read() is None
    notifier.close()


@pytest.mark.parametrize("place", ["", "relative", "/nowhere/at/all", "@nobody-listens-here"])
def test_no_manager_is_no_error(place):
    notifier = Notifier({"NOTIFY_SOCKET": place})
    notifier.ready("serving")
    notifier.close()

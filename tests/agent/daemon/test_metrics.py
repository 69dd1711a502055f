# SPDX-License-Identifier: BSD-2-Clause
"""What Prometheus reads, over HTTP, and the figures of connections in it."""

import re
import selectors
import socket
import time

import numpy as np
import pytest

from ccdrl.agent.daemon.connections import ConnectionTable
from ccdrl.agent.daemon.exposition import CLIENTS_MAX, Address, MetricsServer, parse_address
from ccdrl.agent.daemon.metrics import Histogram, Metrics, Snapshot, format_labels, name_connection, render
from ccdrl.agent.daemon.status import format_status
from ccdrl.bindings.datapath import Counters
from ccdrl.bindings.errors import InputError
from ccdrl.bindings.fake_datapath import FakeDatapath
from ccdrl.bindings.library import Event, Flag, make_samples

LINE = re.compile(r'^ccdrl_[a-z0-9_]+(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? (\+Inf|-?[0-9.e+-]+)$')


def parse(page):
    """Check the whole format and return {name{labels}: value}."""
    values, typed = {}, {}
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in typed, f"{name} twice"
            assert kind in ("counter", "gauge", "histogram")
            typed[name] = kind
            assert (kind == "counter") == name.endswith("_total"), name
        elif not line.startswith("# HELP "):
            assert LINE.match(line), line
            key, value = line.rsplit(" ", 1)
            assert key not in values, key
            family = re.sub(r"_(bucket|sum|count)$", "", key.split("{")[0])
            assert key.split("{")[0] in typed or typed[family] == "histogram"
            values[key] = float(value)
    return values


def make_connections(goodputs, n=2):
    table = ConnectionTable()
    samples = make_samples(n * len(goodputs))
    samples["subflow_id"] = 1 + np.arange(len(samples))
    samples["conn_id"] = 100 + np.arange(len(samples)) // n
    samples["event"] = Event.SAMPLE
    samples["srtt_us"] = 20_000 + 1000 * np.arange(len(samples))
    samples["cwnd_bytes"] = 30_000
    table.update(samples, 1_000_000)
    samples["delivered_bytes"] += np.repeat(np.array(goodputs, np.uint64) * np.uint64(2) // np.uint64(n), n)
    return table.update(samples, 3_000_000)


def make_snapshot(**fields):
    defaults = {
        "datapath": "fake", "policy": "abc", "is_shadow": False, "decisions": 7, "n_subflows": 2, "n_refused": 0,
        "guard": {"samples": 3}, "datapath_counters": Counters(applied=5, expired=4), "connections": [],
    }  # fmt: skip
    return Snapshot(**{**defaults, **fields})


def test_connections_by_goodput():
    found = make_connections([1000, 3000, 2000])
    assert [connection.conn_id for connection in found] == [101, 102, 100]
    assert [connection.goodput_bytes_per_s for connection in found] == [3000, 2000, 1000]
    assert found[0].srtt_us == (22_000, 23_000)
    assert found[0].cwnd_bytes == (30_000, 30_000)


def test_plain_tcp_connections_are_told_apart_and_closed_ones_left_out():
    samples = make_samples(3)
    samples["subflow_id"], samples["event"] = [5, 6, 7], [Event.SAMPLE, Event.SAMPLE, Event.CLOSED]
    samples["flags"] = [0, int(Flag.FALLBACK), 0]
    found = ConnectionTable().update(samples, 1)
    assert sorted((each.subflow_id, each.n_fallback) for each in found) == [(5, 0), (6, 1)]
    assert {name_connection(each) for each in found} == {"subflow-0x5", "subflow-0x6"}


def test_a_counter_that_went_back_is_no_goodput():
    table, samples = ConnectionTable(), make_samples(1)
    samples["subflow_id"], samples["event"], samples["delivered_bytes"] = 1, Event.SAMPLE, 2**63
    table.update(samples, 1)
    samples["delivered_bytes"] = 0
    assert table.update(samples, 2_000_000)[0].goodput_bytes_per_s == 0


def test_page_has_every_figure():
    metrics = Metrics()
    metrics.decision.observe(0.0004)
    metrics.age.observe_all(np.array([0.0, 0.015, 99.0]))
    metrics.count_results(np.array([0, 0, 1, 2, 99, -7], np.int32))
    page = parse(render(metrics, make_snapshot(connections=make_connections([1000, 3000, 2000])), 2))
    assert page["ccdrl_decisions_total"] == 7
    assert page['ccdrl_decision_seconds_bucket{le="0.0003"}'] == 0
    assert page['ccdrl_decision_seconds_bucket{le="0.0005"}'] == 1
    assert page["ccdrl_decision_seconds_count"] == 1
    assert page['ccdrl_sample_age_seconds_bucket{le="0.02"}'] == 2
    assert page['ccdrl_sample_age_seconds_bucket{le="+Inf"}'] == 3
    assert page['ccdrl_actions_total{result="applied"}'] == 2
    assert page['ccdrl_actions_total{result="clamped"}'] == 1
    assert page['ccdrl_actions_total{result="stale"}'] == 1
    assert page["ccdrl_action_results_unknown_total"] == 2
    assert page["ccdrl_fallbacks_total"] == 4
    assert page['ccdrl_guard_total{check="samples"}'] == 3
    assert page['ccdrl_connection_goodput_bytes_per_second{connection="0x65"}'] == 3000
    assert page['ccdrl_connection_goodput_bytes_per_second{connection="other"}'] == 1000
    assert page['ccdrl_connection_srtt_lowest_seconds{connection="0x65"}'] == pytest.approx(0.022)
    assert page["ccdrl_connections"] == 3


def test_cardinality_is_bounded():
    connections = make_connections(list(range(500)), n=1)
    page = parse(render(Metrics(), make_snapshot(connections=connections), 10))
    labels = [key for key in page if "connection=" in key]
    assert len(labels) == 4 * 10 + 1
    assert page['ccdrl_connection_goodput_bytes_per_second{connection="other"}'] == sum(range(490))


def test_labels_are_escaped():
    assert format_labels(a='x"y\\z\n') == '{a="x\\"y\\\\z\\n"}'


def test_quantiles_are_bounds():
    histogram = Histogram((1.0, 2.0))
    assert histogram.quantile(0.5) == 0
    for value in (0.5, 0.5, 1.5, 9.0):
        histogram.observe(value)
    assert (histogram.quantile(0.5), histogram.quantile(0.75), histogram.quantile(1.0)) == (1.0, 2.0, float("inf"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", Address("127.0.0.1", 9464)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("[::1]:9464", Address("::1", 9464)),
    ],
)
def test_address(text, address):
    assert parse_address(text) == address
    assert address.is_loopback == (address.host != "0.0.0.0")


@pytest.mark.parametrize(
    "text", ["", ":", "x", "1:2:3", "::1:9464", "localhost:80", "127.0.0.1", "[127.0.0.1]:x", "1:70000"]
)
def test_bad_address(text):
    with pytest.raises(InputError, match="--metrics: .*accepted: "):
        parse_address(text)


@pytest.fixture
def serve():
    """A metrics server, and a function that turns its loop."""
    selector = selectors.DefaultSelector()
    server = MetricsServer(Address("127.0.0.1", 0), selector, lambda: "ccdrl_x 1\n" * 100_000)

    def turn(count=20):
        for _ in range(count):
            for key, _ in selector.select(0.01):
                key.data()

    yield server, turn
    server.close()
    selector.close()


def connect(server):
    client = socket.create_connection((server.address.host, server.address.port), timeout=5)
    client.setblocking(False)
    return client


def talk(serve, request):
    server, turn = serve
    with connect(server) as client:
        client.sendall(request)
        answer = b""
        for _ in range(200):
            turn(1)
            try:
                part = client.recv(1 << 20)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                break
            if not part:
                break
            answer += part
        return answer


def test_metrics_over_http(serve):
    head, body = talk(serve, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"text/plain; version=0.0.4" in head
    assert len(body) == 1_000_000 == int(re.search(rb"Content-Length: (\d+)", head)[1])


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /metrics/../etc HTTP/1.1", b"404"),
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"nonsense", b"400"),
        (b"HEAD /metrics HTTP/1.1", b"200"),
    ],
)
def test_other_requests(serve, request_line, status):
    head, body = talk(serve, request_line + b"\r\n\r\n").split(b"\r\n\r\n")
    assert head.split()[1] == status
    assert len(body) < 100


def test_clients_cannot_hold_the_loop(serve, monkeypatch):
    server, turn = serve
    idle = []
    for _ in range(CLIENTS_MAX + 5):
        idle.append(connect(server))
        turn(1)
    assert len(server._clients) == CLIENTS_MAX
    assert talk(serve, b"GET /metrics HTTP/1.1\r\n\r\n") == b""  # no place is free
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 6)
    server.expire()
    monkeypatch.undo()
    assert not server._clients
    assert talk(serve, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")
    for client in idle:
        client.close()


def test_endless_requests_are_dropped(serve):
    server, turn = serve
    with connect(server) as client:
        client.sendall(b"x" * 20_000)
        turn()
        assert not server._clients


def test_a_daemon_serves_its_own_metrics(make_run):
    run = make_run(FakeDatapath((2, 1)), metrics=Address("127.0.0.1", 0))
    run.daemon._status_s -= 10
    run.daemon.run()
    page = parse(run.daemon.render_metrics())
    assert page["ccdrl_decisions_total"] == run.daemon.controller.decisions > 0
    assert page["ccdrl_ticks_total"] == 200
    assert page["ccdrl_subflows"] == 3
    assert page["ccdrl_connections"] == 2
    assert page["ccdrl_tick_lateness_seconds_count"] >= 200
    assert page['ccdrl_datapath_actions_total{result="applied"}'] == page['ccdrl_actions_total{result="applied"}'] > 0


def test_status_line():
    line = format_status(3.0, make_connections([10**6, 3 * 10**6, 2 * 10**6, 1]), {101: "mp"}.get)
    assert line.startswith("    3.0 s | mp   24.00 Mbit/s  srtt 22.0/23.0 ms  cwnd 30/30 kB | 0x66 ")
    assert line.endswith("1 more  0.00 Mbit/s")
    assert "no connections" in format_status(0.0, [], lambda conn_id: None)

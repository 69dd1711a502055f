# SPDX-License-Identifier: BSD-2-Clause
"""Many MPTCP connections at once or one after the other, each end in one thread with one epoll."""

import select
import socket
import threading
import time
from contextlib import suppress

from ccdrl.tests.live.support_datapath import (
    IPPROTO_MPTCP,
    SERVERS,
    Network,
    connect,
    libc,
    set_controller,
    wait_until,
)

CHUNK = bytes(16384)
SHORT_BYTES = (20_000, 200_000, 1_000_000)
"""What the short connections carry, in turn."""
AT_ONCE = 4


def abort(connection: socket.socket) -> None:
    """Reset it, so that nothing of it stays: a connection that is closed with data to send lives on for a minute."""
    nothing = bytes(16)  # AF_UNSPEC
    libc.connect(connection.fileno(), nothing, len(nothing))
    connection.close()


class Receiver:
    """Accepts and drains everything."""

    def __init__(self, network: Network) -> None:
        self.received_bytes = 0
        self._sockets: dict[int, socket.socket] = {}
        self._is_done = False
        self._listener = network.run_in(network.server, self._listen)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    @staticmethod
    def _listen() -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
        set_controller(listener, "reno")
        listener.bind(("", 0))
        listener.listen(4096)
        listener.setblocking(False)
        return listener

    def _drain(self) -> None:
        buffer = bytearray(1 << 17)
        poll = select.epoll()
        poll.register(self._listener, select.EPOLLIN)
        while not self._is_done:
            for fd, _ in poll.poll(0.1):
                if fd == self._listener.fileno():
                    with suppress(BlockingIOError):
                        connection, _ = self._listener.accept()
                        connection.setblocking(False)
                        self._sockets[connection.fileno()] = connection
                        poll.register(connection, select.EPOLLIN)
                    continue
                try:
                    count = self._sockets[fd].recv_into(buffer)
                except BlockingIOError:
                    continue
                except OSError:
                    count = 0
                self.received_bytes += count
                if count == 0:
                    poll.unregister(fd)
                    self._sockets.pop(fd).close()
        poll.close()

    def close(self) -> None:
        self._is_done = True
        self._thread.join()
        for connection in (self._listener, *self._sockets.values()):
            connection.close()

    def measure_mbps(self, warmup_s: float, measure_s: float) -> float:
        time.sleep(warmup_s)
        before, begin_s = self.received_bytes, time.monotonic()
        time.sleep(measure_s)
        return (self.received_bytes - before) * 8e-6 / (time.monotonic() - begin_s)


class Crowd:
    """`count` connections of two subflows that send as much as they can; a context manager."""

    def __init__(self, network: Network, cc: str, count: int) -> None:
        self._receiver = Receiver(network)
        self._connections: list[socket.socket] = []
        self._is_done = False
        self._thread = threading.Thread(target=self._send, daemon=True)
        try:
            network.run_in(network.client, lambda: self._connect(network, cc, count))
        except BaseException:
            self._receiver.close()
            raise
        self._thread.start()

    def _connect(self, network: Network, cc: str, count: int) -> None:
        for _ in range(count):
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
            self._connections.append(connection)
            set_controller(connection, cc)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
            connection.settimeout(20)
            connection.connect((SERVERS[0], self._receiver.port))
            connection.setblocking(False)

    def _send(self) -> None:
        poll = select.epoll()
        by_fd = {connection.fileno(): connection for connection in self._connections}
        for fd in by_fd:
            poll.register(fd, select.EPOLLOUT)
        while not self._is_done:
            for fd, _ in poll.poll(0.1):
                with suppress(BlockingIOError):
                    by_fd[fd].send(CHUNK)
        poll.close()

    def measure_mbps(self, warmup_s: float, measure_s: float) -> float:
        return self._receiver.measure_mbps(warmup_s, measure_s)

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_done = True
        self._thread.join()
        for connection in self._connections:
            abort(connection)
        self._receiver.close()


def churn_mbps(network: Network, cc: str, duration_s: float) -> float:
    """Goodput of connections that each carry a little and end, AT_ONCE at a time."""
    receiver = Receiver(network)
    end_s = time.monotonic() + duration_s
    errors: list[Exception] = []
    sent_bytes = [0] * AT_ONCE

    def work(worker: int) -> None:
        number = worker
        try:
            while time.monotonic() < end_s:
                size = SHORT_BYTES[number % len(SHORT_BYTES)]
                with connect(network, SERVERS[0], receiver.port, cc=cc) as connection:
                    connection.sendall(bytes(size))
                sent_bytes[worker] += size
                number += 1
        except Exception as error:  # told by the caller
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(AT_ONCE)]
    begin_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert not errors, errors
        wait_until(lambda: receiver.received_bytes == sum(sent_bytes), "everything arrives")
        return receiver.received_bytes * 8e-6 / (time.monotonic() - begin_s)
    finally:
        receiver.close()

# SPDX-License-Identifier: BSD-2-Clause
"""The metrics over HTTP, inside the daemon's loop: no thread takes the interpreter from a decision.

As much of HTTP/1.1 as a scraper needs: GET and HEAD of /metrics, one request a connection. Clients are few and bounded
in what they send and how long they may take, so that none of them can hold the loop.
"""

import ipaddress
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from ccdrl.agent.daemon.metrics import CONTENT_TYPE
from ccdrl.bindings.errors import InputError

CLIENTS_MAX = 8
REQUEST_MAX_BYTES = 8192
DEADLINE_S = 5.0
ACCEPTED = "[ADDR:]PORT, as in 9464, 127.0.0.1:9464 or [::1]:9464"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        """Return ADDR:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Return what [ADDR:]PORT means; without ADDR, loopback. Raises InputError."""
    host, separator, port = text.rpartition(":")
    if not separator:
        host = "127.0.0.1"
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        is_port = port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535
        if not is_port or (":" in host) != text.startswith("["):
            raise ValueError
        return Address(str(ipaddress.ip_address(host)), int(port))
    except ValueError:
        raise InputError(f"--metrics: {text!r}, accepted: {ACCEPTED}") from None


@dataclass(slots=True)
class _Client:
    """One connection: what came in, what is left to go out, and until when."""

    socket: socket.socket
    deadline_s: float
    request: bytes = b""
    answer: memoryview | None = None


class MetricsServer:
    """Listens at an address and answers through the loop's selector with what `render` returns.

    Raises OSError where the address cannot be had. Port 0 takes any free one; `address` tells which.
    """

    def __init__(self, address: Address, selector: selectors.BaseSelector, render: Callable[[], str]) -> None:
        self._selector, self._render = selector, render
        self._clients: dict[int, _Client] = {}
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((address.host, address.port))
            self._socket.listen(CLIENTS_MAX)
        except OSError:
            self._socket.close()
            raise
        self.address = Address(address.host, self._socket.getsockname()[1])
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Stop listening and drop the clients."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.unregister(self._socket)
        self._socket.close()

    def expire(self) -> None:
        """Drop clients that are too slow. Call it now and then."""
        now_s = time.monotonic()
        for client in [client for client in self._clients.values() if client.deadline_s < now_s]:
            self._drop(client)

    def _accept(self) -> None:
        try:
            accepted, _ = self._socket.accept()
        except OSError:  # the client has gone again, or no descriptor is free
            return
        if len(self._clients) >= CLIENTS_MAX:
            accepted.close()
            return
        accepted.setblocking(False)
        client = _Client(accepted, time.monotonic() + DEADLINE_S)
        self._clients[accepted.fileno()] = client
        self._selector.register(accepted, selectors.EVENT_READ, lambda: self._serve(client))

    def _serve(self, client: _Client) -> None:
        """Go on with one client: read until the request's end, then write until all is gone."""
        try:
            if client.answer is None:
                received = client.socket.recv(REQUEST_MAX_BYTES)
                client.request += received
                if not received or len(client.request) > REQUEST_MAX_BYTES:
                    self._drop(client)
                    return
                if b"\r\n\r\n" not in client.request:
                    return
                client.answer = memoryview(self._answer(client.request))
                self._selector.modify(client.socket, selectors.EVENT_WRITE, lambda: self._serve(client))
            client.answer = client.answer[client.socket.send(client.answer) :]
            if not client.answer:
                self._drop(client)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)

    def _answer(self, request: bytes) -> bytes:
        """Return the whole answer to a request."""
        words = request.split(b"\r\n", 1)[0].split(b" ")
        method, target = (words[0], words[1].split(b"?", 1)[0]) if len(words) == 3 else (b"", b"")
        kind = "text/plain; charset=utf-8"
        if method not in (b"GET", b"HEAD"):
            status, body = ("405 Method Not Allowed", "GET and HEAD\n") if method else ("400 Bad Request", "HTTP/1.1\n")
        elif target == b"/metrics":
            status, kind, body = "200 OK", CONTENT_TYPE, self._render()
        else:
            status, body = "404 Not Found", "/metrics\n"
        content = body.encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n"
        if status.startswith("405"):
            head += "Allow: GET, HEAD\r\n"
        return head.encode() + b"\r\n" + (b"" if method == b"HEAD" else content)

    def _drop(self, client: _Client) -> None:
        self._clients.pop(client.socket.fileno(), None)
        self._selector.unregister(client.socket)
        client.socket.close()

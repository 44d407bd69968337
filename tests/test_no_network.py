"""The guard of conftest.py: beyond loopback is refused, loopback works, and swallowing does not help."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import pytest


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.create_connection(("example.org", 80), timeout=1),
        lambda: socket.getaddrinfo("example.org", 443),
        lambda: socket.gethostbyname("example.org"),
        lambda: socket.socket(socket.AF_INET6).connect_ex(("2001:db8::1", 80)),
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)),
    ],
)
def test_beyond_loopback_is_refused(reach: Callable[[], object], network_attempts: list[str]) -> None:
    with pytest.raises(pytest.fail.Exception, match="beyond loopback"), contextlib.suppress(Exception):
        reach()
    assert network_attempts
    network_attempts.clear()


def test_loopback_works() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        client.sendall(b"x")
        assert server.accept()[0].recv(1) == b"x"
    assert socket.getaddrinfo("localhost", 80)

"""What holds for every test.

No test reaches beyond this machine: a connection or a name look-up outside loopback fails the test.

The refusal is a pytest failure, not an `OSError`: code that treats every
`OSError` as "the server is down" would swallow the latter and pass. Child
processes are not covered; tests that start one give it nothing to reach.

Property tests see the same examples in every run, so that a change is judged on
itself and not on luck; `make test-all` looks for new ones
(``--hypothesis-profile=new``). What it finds is mended and kept with `@example`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", deadline=None, print_blob=True)
settings.load_profile("same")

_LOOPBACK_NAMES = {"localhost", "localhost.localdomain", "ip6-localhost", ""}


def is_loopback(host: object) -> bool:
    """Say whether a host name or address names this machine."""
    if host is None:
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name in _LOOPBACK_NAMES:
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@pytest.fixture(scope="session", autouse=True)
def network_attempts() -> Iterator[list[str]]:
    """Refuse everything outside loopback and remember what was tried."""
    attempts: list[str] = []

    def refuse(what: str) -> None:
        attempts.append(what)
        pytest.fail(f"a test tried to reach beyond loopback: {what}", pytrace=True)

    def guard_address(name: str, position: int) -> Callable[..., Any]:
        original = getattr(socket.socket, name)

        def guarded(self: socket.socket, *args: Any) -> Any:
            address = args[position] if len(args) > abs(position) or position == -1 else None
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
                refuse(f"{name} {address}")
            return original(self, *args)

        return guarded

    def guard_name(name: str) -> Callable[..., Any]:
        original = getattr(socket, name)

        def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
            if not is_loopback(host):
                refuse(f"{name} {host!r}")
            return original(host, *args, **kwargs)

        return guarded

    with pytest.MonkeyPatch.context() as patch:
        # sendto's address is its last argument, after the data and optional flags
        for method, position in (("connect", 0), ("connect_ex", 0), ("sendto", -1)):
            patch.setattr(socket.socket, method, guard_address(method, position))
        for function in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
            patch.setattr(socket, function, guard_name(function))
        yield attempts


@pytest.fixture(autouse=True)
def no_network(network_attempts: list[str]) -> Iterator[None]:
    """Fail also the test whose thread, or whose code, swallowed the refusal."""
    network_attempts.clear()
    yield
    if network_attempts:
        tried = "; ".join(network_attempts)
        network_attempts.clear()
        pytest.fail(f"a test tried to reach beyond loopback: {tried}")


@pytest.fixture
def record_property(record_property: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    """Record NumPy numbers as plain ones: a parallel worker that meets one it cannot send stops the whole run."""
    return lambda name, value: record_property(name, np.asarray(value).tolist())

"""What holds for every request: headers, the size of a body, the host and origin it comes from.

A plain ASGI layer around the application, so that no route can forget it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Bytes of a body; a question has at most 2000 characters.
LARGEST_BODY = 16 * 1024
LONGEST_PATH = 2048

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # the origin of our own forms must arrive, addresses of ours nowhere else
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
TLS_HEADER = ("Strict-Transport-Security", "max-age=31536000")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_CHANGES = {"POST", "PUT", "PATCH", "DELETE"}


class TooLargeError(Exception):
    """A body grew over the limit while it was read."""


class Rules:
    """Refuse what no route should see, and put the headers on everything that leaves.

    Parameters
    ----------
    app : ASGIApp
    hosts : collection of str
        Accepted names of this server, without port: a page of another name that
        resolves to this machine is refused. Empty: any, which is for a proxy that
        checks them.
    tls : bool
        Clients come through TLS.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = LOOPBACK, *, tls: bool = False) -> None:
        self._app, self._hosts, self._tls = app, frozenset(hosts), tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if self._tls:
                    headers[TLS_HEADER[0]] = TLS_HEADER[1]
            await send(message)

        read = 0

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > LARGEST_BODY:
                raise TooLargeError
            return message

        refusal = self._refusal(scope)
        if refusal is not None:
            await _answer(sending, *refusal)
            return
        try:
            await self._app(scope, receiving, sending)
        except TooLargeError:
            if not began:
                await _answer(sending, *_TOO_LARGE)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts and _name(host) not in self._hosts:
            return 421, "this server does not go by that name"
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > LONGEST_PATH:
            return 414, "the address is too long"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "Content-Length must be a number"
        if int(length[:12]) > LARGEST_BODY:
            return _TOO_LARGE
        if scope["method"] in _CHANGES:
            origin = headers.get("origin")
            if origin is not None and origin.partition("://")[2] != host:
                return 403, "a change must come from this page"
            if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return 403, "a change must come from this page"
        return None


_TOO_LARGE = (413, f"a request may hold at most {LARGEST_BODY} bytes")


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets; nothing if it is none."""
    found = _HOST.fullmatch(host)
    return found.group(1).strip("[]").lower() if found else ""


async def _answer(send: Any, status: int, text: str) -> None:
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

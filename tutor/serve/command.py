"""``tutor serve`` and its verbs ``link``, ``revoke`` and ``secret``."""

from __future__ import annotations

import argparse
import ipaddress
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from statml import console
from statml.errors import InputError, MissingExtraError, ServiceError
from tutor import settings as tutor_settings

PORT = 8765
LOGINS, RECORDS = "logins.sqlite", "class.sqlite"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_parser(subparsers: Any) -> None:
    """Add ``serve`` to the tutor's command line."""
    serve = subparsers.add_parser(
        "serve",
        help="the tutor as a web page for a class",
        description=(
            "Serve the tutor as one web page. Students enter by single-use links (tutor serve link STUDENT), "
            "instructors by a secret (tutor serve secret). Binds this machine alone; for a class put a proxy "
            "that speaks TLS in front and say --behind-tls."
        ),
        epilog="example: tutor serve --port 8765     tutor serve link student-07",
    )
    serve.add_argument("--port", type=int, default=PORT, help=f"0 takes a free one (default: {PORT})")
    serve.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1")
    serve.add_argument(
        "--behind-tls",
        action="store_true",
        help="clients come through a proxy that speaks TLS: cookies are Secure, other addresses may be bound",
    )
    serve.add_argument(
        "--public-url", metavar="URL", help="what the class types, e.g. https://tutor.example.edu"
    )
    serve.add_argument("--provider", choices=tutor_settings.PROVIDERS, help="as for `tutor ask`")
    serve.add_argument("--base-url", metavar="URL", help="the model server, e.g. http://127.0.0.1:8080/v1")
    serve.add_argument("--model", metavar="NAME", help="the model's name on that server")
    serve.add_argument(
        "--max-tokens", type=int, metavar="N", help="stop asking models after N tokens of a conversation"
    )
    serve.add_argument("--max-tokens-student", type=int, metavar="N", help="... after N tokens of a student")
    serve.add_argument("--workers", type=int, default=2, metavar="N", help="threads that answer (default: 2)")
    serve.add_argument("--json", action="store_true", help="print the address as JSON once it is bound")
    serve.set_defaults(run=_serve)
    verbs = serve.add_subparsers(metavar="VERB", required=False)

    link = verbs.add_parser("link", help="print a login link: one student, once, within 15 minutes")
    link.add_argument("student", metavar="STUDENT", help="a pseudonym")
    link.add_argument("--url", help="address of the page (default: that of the server last started)")
    link.add_argument("--json", action="store_true", help="print it as JSON")
    link.set_defaults(run=_link)

    revoke = verbs.add_parser("revoke", help="end every session and link of a student")
    revoke.add_argument("student", metavar="STUDENT")
    revoke.set_defaults(run=_revoke)

    secret = verbs.add_parser("secret", help="print a new secret for the instructor's pages, once")
    secret.set_defaults(run=_secret)


def _serve(args: argparse.Namespace) -> int:
    try:
        import uvicorn

        from tutor.serve.application import build
    except ImportError as error:
        raise MissingExtraError(
            "tutor serve needs fastapi and uvicorn: pip install 'statml[tutor]'"
        ) from error
    from tutor.budget import Budget
    from tutor.library.default import open_index
    from tutor.library.search import EMPTY
    from tutor.providers import open_provider
    from tutor.serve.access import House
    from tutor.serve.desk import Desk
    from tutor.serve.room import open_room

    settings = tutor_settings.load().with_options(
        provider=args.provider, base_url=args.base_url, model=args.model
    )
    if settings.provider == "extractive" and (args.base_url or args.model):
        raise InputError(
            "--base-url and --model need --provider openai; the extractive provider asks no model"
        )
    if args.workers < 1:
        raise InputError(f"--workers must be at least 1, got {args.workers}")
    public = checked_url(args.public_url, "--public-url") if args.public_url else ""
    hosts = accepted_hosts(args.host, public, behind_tls=args.behind_tls)
    provider = open_provider(settings)  # a forbidden server or a missing key is found out first
    with open_index(settings) as (index, _):
        if not index.library.stats().documents:
            raise InputError(EMPTY)
    logins, records = open_logins(settings), private(settings.home / RECORDS)
    budget = Budget(run_tokens=args.max_tokens, student_tokens=args.max_tokens_student)
    listening = bind(args.host, args.port)
    url = public or address(listening)
    logins.set_url(url)
    desk = Desk(lambda: open_room(settings, records, budget), workers=args.workers)
    house = House(logins, records, desk, provider.name, provider.model, args.behind_tls, public)
    if args.json:
        console.print_json({"url": url, "port": listening.getsockname()[1], "provider": provider.name})
    else:
        print(f"the tutor is at {url}   (Ctrl-C stops it)")
        print("let a student in:   tutor serve link STUDENT")
    sys.stdout.flush()
    config = uvicorn.Config(
        build(house, hosts),
        log_level="warning",
        access_log=False,  # addresses hold the tokens of links
        server_header=False,
        proxy_headers=False,
        limit_concurrency=200,
        h11_max_incomplete_event_size=16 * 1024,
        http="h11",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])
    return console.EXIT_OK


def _link(args: argparse.Namespace) -> int:
    logins = open_logins(tutor_settings.load())
    base = checked_url(args.url, "--url") if args.url else logins.url() or f"http://127.0.0.1:{PORT}"
    link = f"{base}/login/{logins.link(args.student)}"
    if args.json:
        console.print_json({"student": args.student, "link": link, "minutes": 15})
    else:
        print(link)
    return console.EXIT_OK


def _revoke(args: argparse.Namespace) -> int:
    ended = open_logins(tutor_settings.load()).revoke(args.student)
    print(f"ended {ended} sessions and links of {console_name(args.student)}")
    return console.EXIT_OK


def _secret(args: argparse.Namespace) -> int:
    print(open_logins(tutor_settings.load()).new_secret())
    print("shown once; an earlier secret and its sessions have ended", file=sys.stderr)
    return console.EXIT_OK


def open_logins(settings: tutor_settings.Settings) -> Any:
    """The logins of this tutor's home."""
    from tutor.serve.logins import Logins

    return Logins(settings.home / LOGINS)


def private(path: Path) -> Path:
    """A file that its owner alone can read."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise ServiceError(f"{path} cannot be written: {error}") from error
    return path


def accepted_hosts(host: str, public: str, *, behind_tls: bool) -> tuple[str, ...]:
    """Names the server answers to, if this address may be bound at all.

    Raises
    ------
    InputError
        An address other than this machine's without TLS in front, or a public
        address that is not https.

    Examples
    --------
    >>> accepted_hosts("127.0.0.1", "", behind_tls=False)
    ('127.0.0.1', 'localhost', '::1')
    """
    if not behind_tls:
        if not _loopback(host):
            raise InputError(
                f"--host {host} would send logins in the clear: put a proxy that speaks TLS in front and say "
                "--behind-tls, or leave --host at 127.0.0.1"
            )
        if public and not _loopback(urlsplit(public).hostname or ""):
            raise InputError("--public-url needs --behind-tls")
        return _LOOPBACK
    if public and not public.startswith("https://"):
        raise InputError(f"--public-url must begin with https:// when --behind-tls is given, got {public}")
    return (*_LOOPBACK, urlsplit(public).hostname or "") if public else ()


def checked_url(url: str, label: str) -> str:
    """Scheme, host and port of an address, without a path."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/")
        good = good and not (parts.query or parts.fragment or parts.username or parts.port == 0)
    except ValueError:
        good = False
    if not good:
        raise InputError(f"{label} must be an address such as https://tutor.example.edu, got {url!r}")
    return f"{parts.scheme}://{parts.netloc}"


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises
    ------
    InputError
        The port is taken, or is none.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port must be 0 to 65535, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # whoever reads the address may come before the loop runs
    except OSError as error:
        listening.close()
        raise InputError(
            f"--host {host} --port {port} cannot be bound ({error.strerror}); --port 0 takes a free one"
        ) from None
    return listening


def address(listening: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def console_name(text: str) -> str:
    """A name without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""``tutor provider check``: what a model server can do, asked of it or remembered."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from statml import console
from statml.errors import InputError, ServiceError
from tutor import settings as tutor_settings
from tutor.providers.capabilities import Capabilities, remember, remembered
from tutor.providers.endpoint import Endpoint


def add_parser(subparsers: Any) -> None:
    """Add ``provider`` to the tutor's command line."""
    provider = subparsers.add_parser("provider", help="find out what a model server can do")
    verbs = provider.add_subparsers(metavar="VERB", required=True)
    check = verbs.add_parser(
        "check",
        help="ask the server for one thing after the other and print what it does",
        description=(
            "Sends about ten short requests to the server of the settings or the options (forms of JSON, "
            "streaming, log-probabilities, vectors) and prints what came of each. What is found is remembered "
            "for a week, so that questions are put the way this server takes them. The key is never shown."
        ),
        epilog="example: tutor provider check --provider openai --base-url http://127.0.0.1:8080/v1 --model NAME",
    )
    check.add_argument("--provider", choices=tutor_settings.PROVIDERS, help="as for `tutor ask`")
    check.add_argument("--base-url", metavar="URL", help="the model server, e.g. http://127.0.0.1:8080/v1")
    check.add_argument("--model", metavar="NAME", help="the model's name on that server")
    check.add_argument("--known", action="store_true", help="send nothing: print what is remembered")
    check.add_argument("--json", action="store_true", help="print it as JSON")
    check.set_defaults(run=_check)


def _check(args: argparse.Namespace) -> int:
    settings = tutor_settings.load().with_options(
        provider=args.provider, base_url=args.base_url, model=args.model
    )
    if settings.provider == "extractive":
        raise InputError(
            "the provider extractive asks no server, so there is nothing to check; name one with "
            "--provider openai --base-url URL --model NAME"
        )
    if args.known:
        if settings.provider == "local":
            raise InputError(
                "the local server is new at each start: nothing is remembered of it; drop --known"
            )
        address = tutor_settings.without_credentials(settings.base_url)
        known = remembered(settings.home, address, settings.model)
        if known.age is None:
            raise InputError(
                f"nothing is remembered of {settings.model or 'a model'} at {address or 'no address'}, or it is "
                "older than a week; `tutor provider check` asks"
            )
        rows = [{"name": name, "state": state, "detail": ""} for name, state in known.states.items()]
        _print(args, settings, (address, settings.model), known, rows, {})
        return console.EXIT_OK
    with _open_endpoint(settings) as endpoint:
        rows, took = _asked(settings, endpoint)
        if settings.provider == "openai":
            remember(settings.home, endpoint.shown, endpoint.model, endpoint.known)
        _print(args, settings, (endpoint.shown, endpoint.model), endpoint.known, rows, took)
    return console.EXIT_OK


@contextmanager
def _open_endpoint(settings: tutor_settings.Settings) -> Iterator[Endpoint]:
    """The server of the settings, of which nothing is believed yet."""
    from tutor.providers import open_provider
    from tutor.providers.local import LocalProvider
    from tutor.providers.openai_compatible import OpenAICompatibleProvider

    provider = open_provider(settings)
    if isinstance(provider, LocalProvider):
        try:
            yield provider.client().endpoint
        finally:
            provider.close()
    else:
        assert isinstance(provider, OpenAICompatibleProvider)
        yield Endpoint(
            settings.base_url,
            settings.model,
            api_key_env=settings.api_key_env,
            offline=settings.offline,
            timeout=settings.timeout,
            retries=0,
        )


def _asked(
    settings: tutor_settings.Settings, endpoint: Endpoint
) -> tuple[list[dict[str, str]], dict[str, int]]:
    """Every finding as a row, each logged as the call it is, and the tokens they took."""
    from tutor.chat.options import RECORDS, STUDENT, private
    from tutor.providers.base import CallRecord, Choice, Message, Reply, Usage
    from tutor.providers.probe import probe
    from tutor.records import Records
    from tutor.records.calls import Calls

    rows, usage = [], Usage()
    with Records(private(settings.home / RECORDS)) as records:
        calls = Calls(records, STUDENT)

        def log(name: str, reply: Reply | None, error: str | None) -> None:
            asked = (Message("user", f"check of {name}"),)
            call = CallRecord(settings.provider, endpoint.model, asked, None, {}, reply, error, 0.0)
            calls.log(call, purpose="check")

        try:
            for found in probe(endpoint):
                said = f"{found.state} {found.detail}".strip()
                log(found.capability, Reply((Choice(said),), endpoint.model, found.usage), None)
                rows.append({"name": found.capability, "state": found.state, "detail": found.detail})
                usage += found.usage
        except ServiceError as error:
            log("the server", None, str(error))
            raise
    return rows, dataclasses.asdict(usage)


def _print(
    args: argparse.Namespace,
    settings: tutor_settings.Settings,
    asked: tuple[str, str],
    known: Capabilities,
    rows: list[dict[str, str]],
    took: dict[str, int],
) -> None:
    age = known.age or timedelta(0)
    address, model = asked
    if args.json:
        console.print_json(
            {
                "provider": settings.provider,
                "base_url": address,
                "model": model,
                "at": known.at,
                "age_seconds": round(age.total_seconds()),
                "format": known.format,
                "capabilities": rows,
                "tokens": took,
            }
        )
        return
    from tutor.library.display import printable

    print(printable(f"{address}  {model}"))
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        print(printable(f"  {row['name']:{width}}  {row['state']:8}{row['detail']}").rstrip())
    print(f"JSON of a given shape is asked for by {known.format}")
    if took:
        kept = "; it is remembered for a week" if settings.provider == "openai" else ""
        print(f"this took {sum(took.values())} tokens{kept}")
    else:
        print(f"learned {_ago(age)} ago; nothing was sent")


def _ago(age: timedelta) -> str:
    """An age in its largest whole unit.

    Examples
    --------
    >>> _ago(timedelta(hours=50))
    '2 days'
    """
    for unit, seconds in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if age.total_seconds() >= seconds:
            return f"{int(age.total_seconds() // seconds)} {unit}"
    return f"{int(age.total_seconds())} seconds"

"""``tutor ask`` and ``tutor library add|stats|verify``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from statml import console
from statml.errors import InputError
from tutor import settings as tutor_settings
from tutor.library.chunks import Document, Rejected
from tutor.library.ingest import SUFFIXES, read
from tutor.library.store import AddReport, Library


def add_parser(subparsers: Any) -> None:
    """Add ``ask`` and ``library`` to the tutor's command line."""
    _add_ask(subparsers)
    library = subparsers.add_parser(
        "library",
        help="what the tutor answers from: add, stats, verify",
        description="The library is one SQLite file in the tutor's folder (TUTOR_HOME).",
        epilog="example: tutor library add --demo papers.jsonl notes/",
    )
    verbs = library.add_subparsers(metavar="VERB", required=True)
    add = verbs.add_parser(
        "add",
        help="add files, folders or the demo collection",
        description=(
            "Add sources to the library. Adding the same file again changes nothing; a changed document is "
            f"replaced. Read are {', '.join(SUFFIXES)} (JSON lines with id, title and abstract; Markdown; "
            "course assignments). What cannot be read is reported and skipped."
        ),
        epilog="example: tutor library add --demo papers.jsonl notes/",
    )
    add.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="a file or a folder")
    add.add_argument("--demo", action="store_true", help="the bundled abstracts, the course and the docs")
    add.add_argument("--json", action="store_true", help="print the result as JSON")
    add.set_defaults(run=_run_add)
    stats = verbs.add_parser(
        "stats", help="count what the library holds", epilog="example: tutor library stats --json"
    )
    stats.add_argument("--json", action="store_true", help="print the numbers as JSON")
    stats.set_defaults(run=_run_stats)
    verify = verbs.add_parser(
        "verify",
        help="check the library against its hashes",
        description="Exit code 0 if the library is sound, 1 if not.",
        epilog="example: tutor library verify",
    )
    verify.add_argument("--json", action="store_true", help="print the faults as JSON")
    verify.set_defaults(run=_run_verify)


def _add_ask(subparsers: Any) -> None:
    ask = subparsers.add_parser(
        "ask",
        help="answer a question from the library, with verified quotes",
        description=(
            "Answer a question from the library. Every claim carries a quote found verbatim in its source; "
            "where the sources do not support an answer the tutor says so (exit code 0 too)."
        ),
        epilog='example: tutor ask "How does the Large Magellanic Cloud perturb the halo?" --json',
    )
    ask.add_argument("question", help="in plain English, in quotation marks")
    ask.add_argument("--json", action="store_true", help="print the answer as JSON")
    ask.add_argument(
        "--provider",
        choices=tutor_settings.PROVIDERS,
        help="extractive quotes the sources and needs no model (default); openai asks a model server",
    )
    ask.add_argument("--base-url", metavar="URL", help="the model server, e.g. http://127.0.0.1:8080/v1")
    ask.add_argument("--model", metavar="NAME", help="the model's name on that server")
    ask.add_argument("--k", type=int, default=5, metavar="N", help="passages looked at (default: 5)")
    ask.set_defaults(run=_run_ask)


def _run_ask(args: argparse.Namespace) -> int:
    from tutor.library.answer import ask, checked_question
    from tutor.library.default import open_library
    from tutor.library.search import BM25Retriever
    from tutor.providers import open_provider

    settings = tutor_settings.load().with_options(
        provider=args.provider, base_url=args.base_url, model=args.model
    )
    if settings.provider == "extractive" and (args.base_url or args.model):
        raise InputError(
            "--base-url and --model need --provider openai; the extractive provider asks no model"
        )
    if args.k < 1:
        raise InputError(f"--k must be at least 1, got {args.k}")
    checked_question(args.question)
    # a forbidden server or a missing key is found out before the library is read
    open_provider(settings)
    library, is_default = open_library(settings)
    with library:
        retriever = BM25Retriever(library.chunks())
        stats = library.stats()
        if is_default:
            print(
                f"no library yet: reading the default one ({stats.documents} documents) into memory; "
                "`tutor library add` keeps one of your own",
                file=sys.stderr,
            )
        answer = ask(args.question, retriever, open_provider(settings, weight=retriever.weight), k=args.k)
    if args.json:
        console.print_json(answer.to_dict() | {"library": {"default": is_default, **asdict(stats)}})
    else:
        from tutor.library.display import open_console, show

        show(answer, stats, open_console())
    return console.EXIT_OK


def _run_add(args: argparse.Namespace) -> int:
    from tutor.library.default import default_documents

    if not args.paths and not args.demo:
        raise InputError("nothing to add: name a PATH, or --demo for the bundled collection")
    named = read(args.paths)  # a path that does not exist ends it here, before anything is written

    def items() -> Iterator[Document | Rejected]:
        if args.demo:
            yield from default_documents()
        yield from named

    settings = tutor_settings.load()
    with Library(settings.library_path) as library:
        report = library.add(console.progress(items(), "adding"))
    for rejected in report.rejected:
        print(f"skipped {rejected.where}: {rejected.reason}", file=sys.stderr)
    if not report.added + report.updated + report.unchanged:
        raise InputError(f"nothing could be added: {_first_reason(report)}")
    if args.json:
        console.print_json(asdict(report))
    else:
        print(
            f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged, "
            f"{len(report.rejected)} skipped; generation {report.generation}"
        )
    return console.EXIT_OK


def _first_reason(report: AddReport) -> str:
    if not report.rejected:
        return f"no file of a known kind ({', '.join(SUFFIXES)}) was found"
    return f"{report.rejected[0].where} {report.rejected[0].reason}"


def _run_stats(args: argparse.Namespace) -> int:
    with Library(tutor_settings.load().library_path) as library:
        stats = library.stats()
    if args.json:
        console.print_json(asdict(stats))
        return console.EXIT_OK
    rows: Iterable[tuple[str, object]] = (
        ("documents", stats.documents),
        *((f"  {kind}", number) for kind, number in stats.kinds.items()),
        ("passages", stats.chunks),
        ("words", stats.words),
        ("generation", stats.generation),
        ("corpus sha256", stats.corpus_sha256),
    )
    for name, value in rows:
        print(f"{name:<16}{value}")
    return console.EXIT_OK


def _run_verify(args: argparse.Namespace) -> int:
    with Library(tutor_settings.load().library_path) as library:
        faults = library.verify()
    if args.json:
        console.print_json({"sound": not faults, "faults": faults})
    else:
        for fault in faults:
            print(fault)
        print("the library is sound" if not faults else f"{len(faults)} faults: add the sources anew")
    return console.EXIT_FAILED if faults else console.EXIT_OK

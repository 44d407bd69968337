"""``tutor library add|embed|search|stats|verify|evaluate``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from statml import console
from statml.errors import InputError, MissingExtraError, ServiceError
from tutor import settings as tutor_settings
from tutor.library.chunks import Document, Rejected
from tutor.library.store import AddReport, Library
from tutor.settings import Settings

_RERANK = "compare the best passages of both ways once more, word by word (about a second)"


def add_parser(subparsers: Any) -> None:
    """Add ``library`` to the tutor's command line."""
    from tutor.library.ingest import SUFFIXES

    library = subparsers.add_parser(
        "library",
        help="what the tutor answers from: add, embed, search, stats, verify, evaluate",
        description="The library is one SQLite file in the tutor's folder (TUTOR_HOME), its indexes beside it.",
        epilog="example: tutor library add --demo papers.jsonl notes/",
    )
    verbs = library.add_subparsers(metavar="VERB", required=True)
    add = _verb(
        verbs,
        "add",
        _run_add,
        "add files, folders, the demo collection, or papers from arXiv",
        "tutor library add --demo papers.jsonl notes/",
        "Add sources to the library and encode them. Adding the same file again changes nothing; a changed "
        "document is replaced; what was stopped goes on when run again. "
        f"Read are {', '.join(SUFFIXES)}. What cannot be read is reported and skipped. "
        "Only --arxiv and --arxiv-since use the network.",
    )
    add.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="a file or a folder")
    add.add_argument("--demo", action="store_true", help="the bundled abstracts, the course and the docs")
    add.add_argument(
        "--arxiv", metavar="QUERY", help='numbers or a search of arXiv: "cat:astro-ph.GA AND abs:dust"'
    )
    add.add_argument(
        "--arxiv-since", metavar="DAY", help="all of astro-ph changed since YYYY-MM-DD (slow, can be resumed)"
    )
    add.add_argument("--arxiv-until", metavar="DAY", default="", help="end of --arxiv-since (default: today)")
    add.add_argument("--limit", type=int, metavar="N", help="most papers taken from arXiv")
    add.add_argument("--no-vectors", action="store_true", help="leave the encoding to `tutor library embed`")
    embed = _verb(
        verbs,
        "embed",
        _run_embed,
        "make the sentence vectors that are missing",
        "tutor library embed --anew",
        "Encode the passages that have no vector yet; stopped at any moment, it goes on when run again.",
    )
    embed.add_argument(
        "--anew", action="store_true", help="drop all vectors first (after changing the model)"
    )
    search = _verb(
        verbs,
        "search",
        _run_search,
        "find passages",
        'tutor library search "stellar ages" --year 2020-2025 --category astro-ph.GA',
        "Find passages by words and by meaning.",
    )
    search.add_argument("query", help="words or a question, in quotation marks")
    search.add_argument("--year", metavar="Y[-Y]", help="only sources of this year or these years")
    search.add_argument(
        "--category", action="append", default=[], metavar="C", help="only this category; may be given again"
    )
    search.add_argument("--k", type=int, default=10, metavar="N", help="passages shown (default: 10)")
    search.add_argument(
        "--by", choices=("hybrid", "vectors", "words", "ranks"), default="hybrid", help="default: hybrid"
    )
    search.add_argument(
        "--diversity", type=float, default=0.0, metavar="D", help="0 (default) to 1: push repetitions down"
    )
    search.add_argument("--rerank", action="store_true", help=_RERANK)
    _verb(verbs, "stats", _run_stats, "count what the library holds", "tutor library stats --json")
    _verb(
        verbs,
        "verify",
        _run_verify,
        "check the library against its hashes",
        "tutor library verify",
        "Exit code 0 if the library is sound, 1 if not.",
    )
    evaluate = _verb(
        verbs,
        "evaluate",
        _run_evaluate,
        "measure how well search finds what it should",
        "tutor library evaluate --corpus docs.jsonl --queries queries.jsonl --json",
        "Recall, nDCG and MRR of BM25, vectors and both, with bootstrap intervals; by default on the questions "
        "that come with the tutor, over the course and the docs.",
    )
    evaluate.add_argument(
        "--corpus", type=Path, metavar="DOCS", help="JSON lines: id, title, text, year?, categories?"
    )
    evaluate.add_argument(
        "--queries", type=Path, metavar="QUERIES", help='JSON lines: id, text, relevant {"id": grade}'
    )
    evaluate.add_argument(
        "--library", action="store_true", help="questions on real abstracts, over the library you have"
    )
    evaluate.add_argument("--rerank", action="store_true", help=_RERANK)


def _verb(
    verbs: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    example: str,
    description: str = "",
) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=description or None, epilog=f"example: {example}"
    )
    verb.add_argument("--json", action="store_true", help="print the result as JSON")
    verb.set_defaults(run=run)
    return verb


def _run_add(args: argparse.Namespace) -> int:
    from tutor.library.default import default_documents
    from tutor.library.ingest import read

    if not (args.paths or args.demo or args.arxiv or args.arxiv_since):
        raise InputError("nothing to add: name a PATH, or --demo for the bundled collection")
    named = read(args.paths)  # a path that does not exist ends it here, before anything is written

    def items() -> Iterator[Document | Rejected]:
        if args.demo:
            yield from default_documents()
        yield from named

    settings = tutor_settings.load()
    with Library(settings.library_path) as library:
        report = library.add(console.progress(items(), "adding")) if args.paths or args.demo else None
        reports = [report, *_from_arxiv(args, settings, library)]
        report = _together([one for one in reports if one is not None])
        for rejected in report.rejected:
            print(f"skipped {rejected.where}: {rejected.reason}", file=sys.stderr)
        if not report.added + report.updated + report.unchanged:
            raise InputError(f"nothing could be added: {_first_reason(report)}")
        embedded = None if args.no_vectors else _embed(library, settings)
        if embedded is not None:
            report = _together([report], library.generation)
    if args.json:
        console.print_json(asdict(report) | {"vectors": embedded})
        return console.EXIT_OK
    print(
        f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged, "
        f"{len(report.rejected)} skipped; generation {report.generation}"
    )
    if embedded is not None and embedded["embedded"]:
        print(_embedded_line(embedded))
    return console.EXIT_OK


def _from_arxiv(args: argparse.Namespace, settings: Settings, library: Library) -> Iterator[AddReport]:
    if not (args.arxiv or args.arxiv_since):
        return
    if settings.offline:
        raise ServiceError("TUTOR_OFFLINE forbids arXiv; unset it, or add a file you downloaded")
    from tutor.library.ingest import arxiv

    def told(progress: arxiv.Progress) -> None:
        rest = progress.total - progress.received
        left = f", about {max(rest, 0) * arxiv.PAUSE / 1000:.0f} s left" if progress.total else ""
        print(f"arXiv: {progress.received} of {progress.total or '?'}{left}", file=sys.stderr)

    connection = arxiv.Connection()
    if args.arxiv:
        yield arxiv.search(
            library, args.arxiv, fetch=connection, limit=100 if args.limit is None else args.limit, told=told
        )
    if args.arxiv_since:
        yield arxiv.harvest(
            library, args.arxiv_since, args.arxiv_until, fetch=connection, limit=args.limit, told=told
        )


def _together(reports: list[AddReport], generation: int | None = None) -> AddReport:
    return AddReport(
        sum(one.added for one in reports),
        sum(one.updated for one in reports),
        sum(one.unchanged for one in reports),
        tuple(rejected for one in reports for rejected in one.rejected),
        reports[-1].generation if generation is None else generation,
    )


def _first_reason(report: AddReport) -> str:
    if not report.rejected:
        return "no file of a known kind was found, or arXiv knows no such paper"
    return f"{report.rejected[0].where} {report.rejected[0].reason}"


def _embed(library: Library, settings: Settings, *, anew: bool = False) -> dict[str, Any] | None:
    """Make the missing vectors and bring the indexes up to them; None where none are wanted or can be made."""
    from tutor.library.display import progress_bar
    from tutor.library.index.embedding import open_embedder
    from tutor.library.index.hybrid import LibraryIndex
    from tutor.library.index.stored import embed, forget, vector_stats

    try:
        embedder = open_embedder(settings, many=True)
    except MissingExtraError as error:
        print(f"no vectors, search goes by words: {error}", file=sys.stderr)
        embedder = None
    if embedder is None:
        return None
    if anew:
        forget(library)
    stats = vector_stats(library)
    with progress_bar("encoding", stats.passages - stats.vectors) as told:
        report = embed(library, embedder, done=told)
    LibraryIndex(library, embedder, folder=settings.home, vectors=settings.vectors)
    return {**asdict(report), "rate": round(report.rate, 1)}


def _embedded_line(embedded: dict[str, Any]) -> str:
    return (
        f"{embedded['embedded']} passages encoded by {embedded['model']} in {embedded['seconds']:.0f} s "
        f"({embedded['rate']} a second)"
    )


def _run_embed(args: argparse.Namespace) -> int:
    settings = tutor_settings.load()
    if settings.embedder == "none":
        raise InputError("TUTOR_EMBEDDER is none: name a model to encode with, such as minilm")
    with Library(settings.library_path) as library:
        library.reading()
        embedded = _embed(library, settings, anew=args.anew)
    if embedded is None:
        raise MissingExtraError("no vectors could be made: install statml[tutor]")
    if args.json:
        console.print_json(embedded)
    else:
        print(_embedded_line(embedded) if embedded["embedded"] else "every passage has its vector")
    return console.EXIT_OK


def _run_search(args: argparse.Namespace) -> int:
    from tutor.library.default import open_index
    from tutor.library.index.passages import Filter

    if args.k < 1:
        raise InputError(f"--k must be at least 1, got {args.k}")
    if not args.query.strip():
        raise InputError('the query is empty; search for something, for example "stellar ages"')
    only = Filter(_years(args.year), tuple(args.category))
    settings = tutor_settings.load()
    with open_index(
        settings, diversity=args.diversity, words_only=args.by == "words", rerank=args.rerank
    ) as (index, _):
        hits = index.search(args.query, args.k, only=only, mode=args.by)
        details = {hit.chunk.source_id: index.library.document(hit.chunk.source_id).details for hit in hits}
        by = args.by if index.has_vectors or args.by != "hybrid" else "words"
    if args.json:
        found = [
            {
                "source_id": hit.chunk.source_id,
                "title": hit.chunk.title,
                "section": hit.chunk.section,
                "text": hit.chunk.text,
                "start": hit.chunk.start,
                "end": hit.chunk.end,
                "score": round(hit.score, 6),
                "url": hit.chunk.url,
                "year": details[hit.chunk.source_id].get("year"),
                "categories": details[hit.chunk.source_id].get("categories", []),
                "local_only": bool(details[hit.chunk.source_id].get("local_only")),
            }
            for hit in hits
        ]
        console.print_json({"query": args.query, "by": by, "hits": found})
        return console.EXIT_OK
    from tutor.library.display import open_console, show_hits

    show_hits(hits, open_console())
    return console.EXIT_OK


def _years(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, dash, last = text.partition("-")
    last = last if dash else first
    if not all(year.isdigit() and len(year) == 4 for year in (first, last)):
        raise InputError(f"--year must be a year or two, such as 2024 or 2020-2025, got {text!r}")
    return int(first), int(last)


def _run_stats(args: argparse.Namespace) -> int:
    from tutor.library.index.stored import vector_stats

    with Library(tutor_settings.load().library_path) as library:
        stats, vectors = library.stats(), vector_stats(library)
    if args.json:
        console.print_json(asdict(stats) | {"vectors": asdict(vectors)})
        return console.EXIT_OK
    rows = (
        ("documents", stats.documents),
        *((f"  {kind}", number) for kind, number in stats.kinds.items()),
        ("passages", stats.chunks),
        ("words", stats.words),
        ("vectors", vectors.vectors),
        ("  of the model", vectors.model or "none: run `tutor library embed`"),
        ("  length", vectors.dimension),
        ("generation", stats.generation),
        ("corpus sha256", stats.corpus_sha256),
    )
    for name, value in rows:
        print(f"{name:<16}{value}")
    return console.EXIT_OK


def _run_verify(args: argparse.Namespace) -> int:
    from tutor.library.index.stored import verify_vectors

    with Library(tutor_settings.load().library_path) as library:
        faults = library.verify() + verify_vectors(library)
    if args.json:
        console.print_json({"sound": not faults, "faults": faults})
    else:
        for fault in faults:
            print(fault)
        print("the library is sound" if not faults else f"{len(faults)} faults: add the sources anew")
    return console.EXIT_FAILED if faults else console.EXIT_OK


def _run_evaluate(args: argparse.Namespace) -> int:
    from tutor.library.evaluation.command import evaluate

    return evaluate(args)

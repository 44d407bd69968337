"""``tutor library evaluate``."""

from __future__ import annotations

import argparse
from dataclasses import replace

from statml import console
from statml.errors import InputError
from tutor import settings as tutor_settings
from tutor.library.default import open_index, second_look
from tutor.library.display import progress_bar
from tutor.library.evaluation.benchmark import (
    Report,
    course_sections,
    questions,
    read_corpus,
    read_queries,
    run,
)
from tutor.library.index.embedding import open_embedder
from tutor.library.index.hybrid import LibraryIndex
from tutor.library.index.stored import embed
from tutor.library.store import Library


def evaluate(args: argparse.Namespace) -> int:
    """Run the benchmark the arguments name; print its table or its JSON."""
    settings = tutor_settings.load()
    if args.library and (args.corpus or args.queries):
        raise InputError("--library asks the tutor's own questions; leave out --corpus and --queries")
    if bool(args.corpus) != bool(args.queries):
        raise InputError("--corpus and --queries go together: documents, and questions about them")
    if args.library:
        with open_index(replace(settings, vectors="mapped"), rerank=args.rerank) as (index, is_default):
            if is_default:
                raise InputError(
                    "there is no library: run `tutor library add PATH` with a collection of abstracts"
                )
            report = run(index, questions("abstracts"))
    else:
        # the texts are read, so that a bad line is told before anything is encoded
        queries = read_queries(args.queries) if args.queries else questions("course")
        corpus = read_corpus(args.corpus) if args.corpus else list(course_sections())
        library = Library(None)
        library.add(corpus)
        embedder = open_embedder(settings, many=True)
        if embedder is not None:
            with progress_bar("encoding", library.stats().chunks) as told:
                embed(library, embedder, done=told)
        reranker = second_look(embedder) if args.rerank else None
        report = run(LibraryIndex(library, embedder, reranker=reranker), queries)
    if args.json:
        console.print_json(report.to_dict())
    else:
        print(table(report))
    return console.EXIT_OK


def table(report: Report) -> str:
    """The report as text: a row for each way of search, means with 95 % intervals."""
    lines = [
        f"{report.queries} questions, {report.documents} documents, "
        f"vectors by {report.model or 'none'}; mean [95 % interval over questions]"
    ]
    names = list(next(iter(report.ways.values())))
    lines.append(f"{'':18s}" + "".join(f"{name:>24s}" for name in names))
    for way, found in [*report.ways.items(), *report.differences.items()]:
        cells = (f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in found.values())
        lines.append(f"{way:18s}" + "".join(f"{cell:>24s}" for cell in cells))
    if report.missing:
        lines.append(
            f"{len(report.missing)} relevant documents are not in the corpus: {report.missing[0]}, ..."
        )
    return "\n".join(lines)

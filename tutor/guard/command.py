"""``tutor guard build`` and ``tutor guard evaluate``: for instructors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from statml import console


def add_parser(subparsers: Any) -> None:
    """Add ``guard`` to the tutor's command line."""
    guard = subparsers.add_parser(
        "guard",
        help="the solution guard: make its fingerprints, measure what gets past it (for instructors)",
        description=(
            "The guard keeps assignments' solutions out of what the tutor shows. It needs the instructor's "
            "folder ($STATML_INSTRUCTOR, or instructor/ in a checkout)."
        ),
        epilog="example: tutor guard evaluate --json",
    )
    verbs = guard.add_subparsers(metavar="VERB", required=True)
    build = verbs.add_parser("build", help="write the one-way fingerprints a student's installation carries")
    build.add_argument("--out", required=True, metavar="FILE", help="the file of fingerprints to write")
    build.set_defaults(run=_build)
    evaluate = verbs.add_parser(
        "evaluate", help="leak rate of each disguise of the solutions, rate of harmless texts held back"
    )
    evaluate.add_argument(
        "--shipped", action="store_true", help="measure the fingerprints of a student's installation instead"
    )
    evaluate.add_argument("--json", action="store_true", help="print the report as JSON")
    evaluate.set_defaults(run=_evaluate)


def _build(args: argparse.Namespace) -> int:
    from tutor.guard.sources import build

    number = build(Path(args.out))
    print(f"{args.out}: fingerprints of {number} functions and answers; no solution can be read from them")
    return console.EXIT_OK


def _evaluate(args: argparse.Namespace) -> int:
    from tutor.guard.evaluation import report

    found = report(full=not args.shipped)
    if args.json:
        console.print_json(found.to_dict())
        return console.EXIT_OK
    print(f"{'disguise':24} leaked  text shown")
    for row in found.leaks:
        print(f"{row.way:24} {row.leaked:3d}/{row.functions:<3d} {row.shown:6.0%}")
    print(f"held back of {found.harmless} harmless texts: {len(found.held_back)}")
    for name in found.held_back:
        print(f"   {name}")
    if found.held_back_later is not None:
        print(f"... of a student from whom every function was kept back before: {len(found.held_back_later)}")
        for name in found.held_back_later:
            print(f"   {name}")
    return console.EXIT_OK

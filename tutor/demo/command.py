"""``tutor demo``: the main job on real input, from the fit to the grade book, as one page."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from statml import console
from statml.errors import InputError, ServiceError

_DESCRIPTION = """\
Run everything once, offline: fit Teff of real stars and test the intervals, ask
the tutor a question it can answer and one it cannot, grade the sample class in
a sandbox. Writes report.html and gradebook.csv.
"""
_EPILOG = "example: tutor demo --out build/demo   (about a minute on two cores)"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``demo``."""
    parser = subparsers.add_parser(
        "demo",
        help="the whole product on real stars, as one page",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", metavar="DIR", default="build/demo", help="folder for the page (build/demo)")
    parser.add_argument("--json", action="store_true", help="print the numbers of the page as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    # Heavy imports wait until somebody wants the demonstration.
    from course.assignment import instructor_folder
    from tutor.demo.questions import ask_both
    from tutor.demo.report import Demonstration, write_report
    from tutor.demo.stars import judge
    from tutor.grading import grade_class
    from tutor.sandbox import Sandbox, detect

    start = time.monotonic()
    out = Path(args.out)
    samples = instructor_folder() / "samples" / "05_bayesian_regression"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out is {out}, where no folder can be made: {error.strerror}") from error

    _say("1/4  fit Teff of real Gaia XP stars with three models")
    stars = judge(console.progress)
    for row in stars.rows:
        _say(
            f"     {row['model']}: 68 % covers {row['coverage_68']:.1%}, 95 % covers {row['coverage_95']:.1%}"
        )

    _say("2/4  ask the tutor two questions")
    asked = ask_both()
    for one in asked:
        answer = one.answer
        _say(
            f"     {answer.question} -> {'abstains' if answer.abstained else f'{len(answer.claims)} quoted claims'}"
        )

    _say("3/4  grade the sample class")
    sandbox: Sandbox | None = None
    no_sandbox = None
    try:
        sandbox = detect()
    except ServiceError as error:
        no_sandbox = str(error)
        _say(f"     not executed: {no_sandbox}")

    def graded_so_far(done: int, total: int, student: str) -> None:
        if student:
            _say(f"     [{done + 1}/{total}] {student}")

    graded = grade_class(samples, "05", out / "class", sandbox=sandbox, progress=graded_so_far)

    _say("4/4  write the page")
    demonstration = Demonstration(stars, asked, graded, no_sandbox, time.monotonic() - start)
    page = write_report(demonstration, out)
    if args.json:
        console.print_json(demonstration.to_dict())
    else:
        print(f"{page}   ({demonstration.seconds:.0f} s)")
    return console.EXIT_OK


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

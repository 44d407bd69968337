"""``tutor grade SUBMISSIONS --assignment 05 --out DIR``."""

from __future__ import annotations

import argparse
import sys
import time

from course.schema import Result
from statml import console
from tutor.grading.outputs import GRADEBOOK, as_json
from tutor.grading.pipeline import ClassReport, grade_class
from tutor.sandbox import detect

_DESCRIPTION = """\
Grade a class. SUBMISSIONS holds one folder or one notebook per student.

Tests run in a sandbox and their points are final. Written answers get drafts
with the passages they rest on; a person decides. A run that was stopped goes on
where it was: give the same command again.
"""
_EPILOG = """\
example: tutor grade instructor/samples/05_bayesian_regression --assignment 05 --out graded
exit codes: 0 done, 2 bad input or no sandbox, 130 stopped (what was finished is kept)
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb ``grade``."""
    parser = subparsers.add_parser(
        "grade",
        help="run a class's tests in a sandbox and draft its written answers",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "submissions", metavar="SUBMISSIONS", help="folder with <student>/<file> or <student>.ipynb"
    )
    parser.add_argument("--assignment", required=True, metavar="NN", help="number of the assignment, e.g. 05")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for gradebook, results and feedback"
    )
    parser.add_argument(
        "--sandbox",
        choices=("required", "none"),
        default="required",
        help="required (default): refuse without a working sandbox; none: run no code, mark tests 'not executed'",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the results as JSON (students by pseudonym)"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    sandbox = detect() if args.sandbox == "required" else None
    start = time.monotonic()
    report = grade_class(args.submissions, args.assignment, args.out, sandbox=sandbox, progress=_progress)
    if args.json:
        console.print_json(_as_json(report))
    else:
        _print_table(report, time.monotonic() - start, sandbox.name if sandbox else None)
    return console.EXIT_OK


def _progress(done: int, total: int, student: str) -> None:
    if student:
        print(f"[{done + 1}/{total}] {_printable(student)}", file=sys.stderr, flush=True)


def _as_json(report: ClassReport) -> dict[str, object]:
    return {
        "assignment": report.card.number,
        "executed": report.executed,
        "computed": report.computed,
        "reused": report.reused,
        "out": str(report.out),
        "results": [as_json(result) for result in report.results.values()],
    }


def _print_table(report: ClassReport, seconds: float, sandbox: str | None) -> None:
    test_max = report.card.public_points + report.card.hidden_points
    width = max(len("student"), *(len(_printable(student)) for student in report.results))
    print(f"{'student':{width}}  tests /{test_max:g}  draft  flags")
    for student, result in report.results.items():
        tests = f"{result.test_points:g}" if result.executed else "not executed"
        print(f"{_printable(student):{width}}  {tests:>9}  {result.draft_points:5g}  {_flags(result)}")
    ran = f"in the {sandbox} sandbox" if sandbox else "no code was executed"
    print(f"\n{report.computed} graded, {report.reused} unchanged, {seconds:.0f} s, {ran}")
    print("Points of tests are final; drafts wait for a person.")
    print(f"Grade book: {report.out / GRADEBOOK}; pages: {report.out / 'feedback'}")


def _flags(result: Result) -> str:
    flags = [*result.flags, *(flag for item in result.criteria for flag in item.flags)]
    shown = dict.fromkeys(flag.partition(":")[0] for flag in flags)
    return " ".join(flag for flag in shown if flag not in {"uncalibrated", "human_only"})


def _printable(name: str) -> str:
    # a file name may hold escape sequences a terminal would obey
    return "".join(c if c.isprintable() else "?" for c in name)

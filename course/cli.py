"""The command ``course``: for students a self-check, for instructors the tools around an assignment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from statml import console
from statml.errors import InputError, MissingExtraError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return console.run(_parser(), argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="course",
        description="Assignments: read them, check your own work, build what students get.",
        epilog="A student's first command: course check 05 assignment.ipynb",
    )
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND")

    verb = _verb(verbs, "list", "list the assignments", "course list")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(run=_list)

    verb = _verb(verbs, "show", "show an assignment: points, functions, text", "course show 05")
    verb.add_argument("assignment", help="number, for instance 05")
    verb.add_argument("--json", action="store_true", help="print the card as JSON")
    verb.set_defaults(run=_show)

    verb = _verb(
        verbs,
        "check",
        "run the public tests on your own work",
        "course check 05 assignment.ipynb",
        "The tests run in this process, without the protection and limits of the grader's sandbox: "
        "use it for code you wrote yourself. Exit code 1 says that something is still missing.",
    )
    verb.add_argument("assignment", help="number, for instance 05")
    verb.add_argument("work", type=Path, help="your notebook (.ipynb) or percent script (.py)")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(run=_check)

    verb = _verb(
        verbs,
        "lint",
        "check that an assignment is whole and gives nothing away",
        "course lint --all",
        "Exit code 1 says that a check found a fault.",
    )
    verb.add_argument("assignment", nargs="?", help="number, for instance 05")
    verb.add_argument("--all", action="store_true", help="every assignment, and the syllabus")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(run=_lint)

    verb = _verb(
        verbs, "build", "write what a student may have to a folder", "course build --student --out bundle"
    )
    verb.add_argument("assignment", nargs="*", help="numbers; all by default")
    verb.add_argument(
        "--student", action="store_true", required=True, help="the student's half (there is no other build)"
    )
    verb.add_argument("--out", type=Path, required=True, help="new or empty folder")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.set_defaults(run=_build)

    verb = _verb(
        verbs, "schema", "print the JSON schema of card, rubric and result", "course schema > schema.json"
    )
    verb.set_defaults(run=_schema)
    return parser


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    example: str,
    more: str = "",
) -> argparse.ArgumentParser:
    description = text[0].upper() + text[1:] + "." + (f" {more}" if more else "")
    return verbs.add_parser(name, help=text, description=description, epilog=f"example: {example}")


def _list(args: argparse.Namespace) -> int:
    assignment = _assignment_module()
    cards = [assignment.load(number).card for number in assignment.numbers()]
    if args.json:
        console.print_json([{"number": c.number, "title": c.title, "points": c.max_points} for c in cards])
        return console.EXIT_OK
    for card in cards:
        print(f"{card.number}  {card.title}  ({card.max_points:g} points, chapter {card.chapter})")
    return console.EXIT_OK


def _show(args: argparse.Namespace) -> int:
    assignment = _assignment_module().load(args.assignment)
    card = assignment.card
    if args.json:
        console.print_json(card.model_dump(mode="json"))
        return console.EXIT_OK
    print(f"{card.number}  {card.title}\n{card.summary}\n")
    print(f"points: public tests {card.public_points:g}, hidden tests {card.hidden_points:g},", end=" ")
    print(", ".join(f"{task.id} {task.points:g}" for task in card.written), end="")
    print(f", AI use {card.ai_use_points:g}; {card.max_points:g} in all\n")
    for task in card.functions:
        print(f"  {task.signature}\n      -> {task.returns}")
    for question in card.written:
        print(f"\n{question.id}: {question.prompt}")
    print(f"\ntext:         {assignment.starter}\npublic tests: {assignment.public_tests}")
    return console.EXIT_OK


def _check(args: argparse.Namespace) -> int:
    assignment = _assignment_module().load(args.assignment)
    from course.ai_use import read_ai_use
    from course.submission import ANSWER_MARKER, InProcessSubmission, read_submission
    from course.testing import run_tests

    text = read_submission(args.work)
    results = run_tests(assignment.public_tests, InProcessSubmission(text), visibility="public")
    words = {
        task.id: len(ANSWER_MARKER.sub("", text.answers[task.id].source).split())
        if task.id in text.answers
        else 0
        for task in assignment.card.written
    }
    ai_use = read_ai_use(text)
    earned = sum(result.points for result in results)
    complete = earned == assignment.card.public_points and all(words.values()) and ai_use.complete
    if args.json:
        console.print_json(
            {
                "assignment": assignment.card.number,
                "own_process": True,
                "tests": [result.model_dump(mode="json") for result in results],
                "public_points": earned,
                "hidden_points_pending": assignment.card.hidden_points,
                "words": words,
                "ai_use_missing": list(ai_use.missing),
            }
        )
        return console.EXIT_OK if complete else console.EXIT_FAILED
    print("Your code runs in this very process, without the sandbox and the limits of the grader.\n")
    for result in results:
        print(f"{result.status:8} {result.points:g}/{result.max_points:g}  {result.title}")
        if result.message:
            print(f"         {result.message}")
    print(f"\npublic tests: {earned:g} of {assignment.card.public_points:g} points", end="; ")
    print(f"hidden tests for {assignment.card.hidden_points:g} points run when you hand in")
    for name, count in words.items():
        print(f"{name}: {count} words" if count else f"{name}: no answer yet")
    print("AI use: " + ("; ".join(ai_use.missing) or "complete"))
    return console.EXIT_OK if complete else console.EXIT_FAILED


def _lint(args: argparse.Namespace) -> int:
    assignment = _assignment_module()
    if bool(args.assignment) == args.all:
        raise InputError("give the number of one assignment, or --all")
    from course.lint import lint, syllabus_faults

    report: dict[str, list[dict[str, object]]] = {}
    faults = syllabus_faults() if args.all else []
    for number in assignment.numbers() if args.all else [args.assignment]:
        loaded = assignment.load(number)
        report[number] = []
        for check in console.progress(lint(loaded), f"lint {number}"):
            report[number].append({"check": check.name, "made": check.made, "faults": list(check.faults)})
            faults += check.faults
            if not args.json:
                mark = "not made" if not check.made else "fault" if check.faults else "ok"
                print(f"{number}  {mark:8}  {check.name}")
                for fault in check.faults:
                    print(f"              {fault}")
    if args.json:
        console.print_json({"faults": len(faults), "syllabus": syllabus_faults(), "assignments": report})
    elif any(not check["made"] for checks in report.values() for check in checks):
        print("The instructor's folder is not here (STATML_INSTRUCTOR): its checks were not made.")
    return console.EXIT_FAILED if faults else console.EXIT_OK


def _build(args: argparse.Namespace) -> int:
    _assignment_module()
    from course.bundle import build_student_bundle

    files = build_student_bundle(args.out, args.assignment or None)
    if args.json:
        console.print_json({"out": str(args.out), "files": [str(p.relative_to(args.out)) for p in files]})
        return console.EXIT_OK
    print(f"{args.out}: {len(files)} files, no solution, hidden test or rubric among them")
    for path in files:
        print(f"  {path.relative_to(args.out)}")
    return console.EXIT_OK


def _schema(args: argparse.Namespace) -> int:
    _assignment_module()
    from course.schema import SCHEMA_VERSION, Card, Result, Rubric

    console.print_json(
        {
            "schema_version": SCHEMA_VERSION,
            "card": Card.model_json_schema(),
            "rubric": Rubric.model_json_schema(),
            "result": Result.model_json_schema(),
        }
    )
    return console.EXIT_OK


def _assignment_module() -> ModuleType:
    """`course.assignment`, or one sentence about the extra that brings what it needs."""
    try:
        from course import assignment
    except ModuleNotFoundError as error:
        raise MissingExtraError("this command needs pydantic: pip install 'statml[course]'") from error
    return assignment


if __name__ == "__main__":
    sys.exit(main())

"""The tutor's command line: ``astrotutor VERB``, with ``tutor`` as its short name."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from statml import console
from tutor.chat import ask_command as ask
from tutor.chat import command as chat
from tutor.demo import command as demo
from tutor.grading import command as grading
from tutor.guard import command as guard
from tutor.library import library_command as library
from tutor.providers import command as model
from tutor.providers import provider_command as provider
from tutor.serve import command as serve


def build_parser() -> argparse.ArgumentParser:
    """The whole parser; each part of the tutor adds its own verbs."""
    parser = argparse.ArgumentParser(
        prog="tutor",
        description=(
            "A tutor that answers from its sources with verified quotes, and grades with evidence. "
            "Everything runs offline unless you name a model server."
        ),
        epilog='example: tutor ask "What is Kurucz-a1?"   (docs/tutor.md tells the rest)',
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('statml')}")
    verbs = parser.add_subparsers(metavar="VERB")
    for part in (ask, library, chat, serve, grading, guard, demo, model, provider):
        part.add_parser(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0 done, 1 failed, 2 bad input, 130 stopped)."""
    return console.run(build_parser(), argv)

"""The `statml` command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from statml import __version__, console


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``statml``."""
    parser = argparse.ArgumentParser(prog="statml", description="Statistical machine learning for astronomy.")
    parser.add_argument("--version", action="version", version=f"statml {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the ``statml`` script."""
    return console.run(build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())

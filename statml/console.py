"""What the command lines share: one way to fail, one way to show progress.

A command function takes the parsed arguments and returns an exit code.
Expected failures (`StatmlError`) become one line on stderr and exit code 2,
Ctrl-C becomes 130; a genuine bug keeps its traceback.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from statml.errors import StatmlError

T = TypeVar("T")

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def run(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Parse `argv`, call the chosen command's ``run`` and turn failures into exit codes."""
    args = parser.parse_args(argv)
    command: Callable[[argparse.Namespace], int] | None = getattr(args, "run", None)
    if command is None:
        parser.print_help()
        return EXIT_USAGE
    try:
        return command(args)
    except StatmlError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print(f"{parser.prog}: stopped; what was finished is kept", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_OK


def print_json(value: Any) -> None:
    """Write `value` to stdout as indented JSON (for ``--json``)."""
    print(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False))


def progress(items: Iterable[T], description: str, *, total: int | None = None) -> Iterable[T]:
    """Iterate with a progress bar on stderr; silent where stderr is not a terminal."""
    from tqdm import tqdm

    return tqdm(items, desc=description, total=total, disable=not sys.stderr.isatty(), leave=False)

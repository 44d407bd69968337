"""The `statml` command line: ``statml SYSTEM figure|results|simulate|fit``.

Systems are the packages of `statml.research`. `figure` and `results` are the same for all: they call
``figure.figure()`` and ``results.headline()`` of the system. `simulate` and `fit` are its own: its module
``command`` has functions ``add_simulate(parser)`` and ``add_fit(parser)`` that add arguments and set ``run``;
a system without one of them has no such verb. Nothing of a system is imported before it is named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from statml import __version__, console, research
from statml.errors import InputError
from statml.headline import records, table

OWN_VERBS = ("simulate", "fit")
PICTURES = (".png", ".pdf", ".svg")


def systems() -> list[str]:
    """Names of the research systems that have something to run."""
    # by their files: finding a module would import its package
    folders = sorted(folder for root in research.__path__ for folder in Path(root).iterdir())
    return [folder.name for folder in folders if (folder / "results.py").is_file()]


def build_parser(argv: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of ``statml``; the system that `argv` names has its verbs, the others only their names."""
    parser = argparse.ArgumentParser(
        prog="statml",
        description="Statistical machine learning for astronomy.",
        epilog="example: statml abundances results --json",
    )
    parser.add_argument("--version", action="version", version=f"statml {__version__}")
    names = parser.add_subparsers(metavar="SYSTEM", title="research systems")
    for name in systems():
        system = names.add_parser(name, help=f"statml {name} figure | results | simulate | fit")
        system.set_defaults(run=_shows_help(system))
        if name in argv:
            _add_verbs(system, name)
    return parser


def _shows_help(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        parser.print_help()
        return console.EXIT_USAGE

    return run


def _add_verbs(parser: argparse.ArgumentParser, name: str) -> None:
    package = import_module(f"statml.research.{name}")
    parser.description = package.__doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = parser.add_subparsers(metavar="VERB")
    figure = verbs.add_parser("figure", help="draw the picture of the paper's main claim")
    figure.add_argument(
        "--out", type=Path, default=Path(f"{name}.png"), help=f"{', '.join(PICTURES)} (default: {name}.png)"
    )
    figure.add_argument("--dpi", type=int, default=150, help="dots per inch (default: 150)")
    figure.add_argument("--json", action="store_true", help="print the path as JSON")
    figure.set_defaults(run=_figure(name))
    results = verbs.add_parser("results", help="the paper's numbers beside ours, computed now")
    results.add_argument("--json", action="store_true", help="print rows as JSON")
    results.set_defaults(run=_results(name))
    if find_spec(f"statml.research.{name}.command"):
        command = import_module(f"statml.research.{name}.command")
        for verb in OWN_VERBS:
            _add_own(verbs, verb, command)


def _add_own(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], verb: str, command: ModuleType
) -> None:
    add = getattr(command, f"add_{verb}", None)
    if add is not None:
        add(verbs.add_parser(verb, help=(add.__doc__ or "").split("\n")[0], description=add.__doc__))


def _figure(name: str) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        if args.out.suffix not in PICTURES:
            raise InputError(
                f"--out is {str(args.out)!r}; accepted are names that end in {', '.join(PICTURES)}"
            )
        if not args.out.parent.is_dir():
            raise InputError(
                f"--out is {str(args.out)!r}, in a folder that does not exist; accepted is a file in one that does"
            )
        if args.dpi < 20:
            raise InputError(f"--dpi is {args.dpi}; accepted is a whole number of at least 20")
        drawn = import_module(f"statml.research.{name}.figure").figure()
        drawn.savefig(args.out, dpi=args.dpi)
        console.print_json({"saved": str(args.out)}) if args.json else print(f"saved {args.out}")
        return console.EXIT_OK

    return run


def _results(name: str) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        rows = import_module(f"statml.research.{name}.results").headline()
        console.print_json(records(rows)) if args.json else print(table(rows))
        return console.EXIT_OK

    return run


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the ``statml`` script."""
    argv = sys.argv[1:] if argv is None else argv
    return console.run(build_parser(argv), argv)


if __name__ == "__main__":
    sys.exit(main())

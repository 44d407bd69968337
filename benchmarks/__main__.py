"""``python -m benchmarks [names] [--quick] [--json] [--out DIR]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import report
from statml import console
from statml.errors import InputError

ROOT = Path(__file__).parents[1]
# The record is kept in the repository; a quick look is not.
RECORDS = ROOT / "benchmarks" / "results"
QUICK = ROOT / "build" / "benchmarks"


def _regression(quick: bool) -> dict[str, Any]:
    from benchmarks import regression

    if quick:
        return regression.benchmark([1_000, 10_000], 10, 3)
    return regression.benchmark([10_000, 30_000, 100_000, 300_000, 1_000_000], 50, 3)


def _gls(quick: bool) -> dict[str, Any]:
    from benchmarks import gls

    if quick:
        return gls.benchmark([1_000, 10_000], [5], 3)
    return gls.benchmark([10_000, 100_000, 1_000_000], [20, 50], 3)


def _errors_in_variables(quick: bool) -> dict[str, Any]:
    from benchmarks import errors_in_variables

    if quick:
        return errors_in_variables.benchmark([300, 1_000], 3)
    return errors_in_variables.benchmark([1_000, 10_000, 100_000, 1_000_000], 3)


def _classification(quick: bool) -> dict[str, Any]:
    from benchmarks import classification

    if quick:
        return classification.benchmark([1_000, 10_000], 8, 3)
    return classification.benchmark([10_000, 100_000, 1_000_000], 20, 3)


def _robust(quick: bool) -> dict[str, Any]:
    from benchmarks import robust

    if quick:
        return robust.benchmark([300, 1_000], 3, 3)
    return robust.benchmark([1_000, 10_000, 100_000], 5, 3)


def _kelly(quick: bool) -> dict[str, Any]:
    from benchmarks import kelly

    if quick:
        return kelly.benchmark(300, *[kelly.Length(2 if i else 4, 300, 300) for i in range(3)])
    return kelly.benchmark(10_000, kelly.OURS, kelly.MARGINAL, kelly.LATENT)


def _sampling(quick: bool) -> dict[str, Any]:
    from benchmarks import sampling

    return sampling.benchmark(quick)


def _decomposition(quick: bool) -> dict[str, Any]:
    from benchmarks import decomposition

    if quick:
        return decomposition.benchmark([1_000, 5_000], 60, 3)
    return decomposition.benchmark([10_000, 30_000, 100_000], 1_000, 3)


def _two_point(quick: bool) -> dict[str, Any]:
    from benchmarks import two_point

    if quick:
        return two_point.benchmark([1_000, 10_000], 3)
    return two_point.benchmark([10_000, 100_000, 300_000], 3)


def _mixture(quick: bool) -> dict[str, Any]:
    from benchmarks import mixture

    if quick:
        return mixture.benchmark([300, 1_000], 3, 3, 3)
    return mixture.benchmark([1_000, 10_000, 100_000], 5, 10, 3)


def _training(quick: bool) -> dict[str, Any]:
    from benchmarks import training

    if quick:
        return training.benchmark(2_000, [128], 1, 3)
    return training.benchmark(20_000, [64, 256, 1024], 3, 7)


def _xp_labels(quick: bool) -> dict[str, Any]:
    from benchmarks import xp_labels

    if quick:
        return xp_labels.benchmark(members=1, splits=2, name="gaia_xp")
    return xp_labels.benchmark()


def _state_space(quick: bool) -> dict[str, Any]:
    from benchmarks import state_space

    if quick:
        return state_space.benchmark([300, 3_000], [100], 3, 50)
    return state_space.benchmark([1_000, 10_000, 100_000, 1_000_000], [100, 1_000], 7)


def _gp_dense(quick: bool) -> dict[str, Any]:
    from benchmarks import gp_dense

    if quick:
        return gp_dense.benchmark([200, 500], 3)
    return gp_dense.benchmark([500, 1_000, 2_000, 5_000], 3)


def _abundances(quick: bool) -> dict[str, Any]:
    from benchmarks import abundances

    if quick:
        return abundances.benchmark([5, 12], 3)
    return abundances.benchmark([5, 10, 20, 42], 15)


def _retrieval(quick: bool) -> dict[str, Any]:
    from benchmarks import retrieval

    if quick:
        return retrieval.benchmark(3_000, 20, ("mapped",))
    return retrieval.benchmark(100_000, 60, ("mapped", "chroma"))


def _abundance_simulation(quick: bool) -> dict[str, Any]:
    from benchmarks import abundance_simulation

    if quick:
        return abundance_simulation.benchmark([128], [3_200], [4], 2)
    return abundance_simulation.benchmark([128, 256, 512], [3_200, 51_200], [1, 4, 16, 42], 3)


FAMILIES: dict[str, Callable[[bool], dict[str, Any]]] = {
    "regression": _regression,
    "gls": _gls,
    "errors_in_variables": _errors_in_variables,
    "classification": _classification,
    "robust": _robust,
    "kelly": _kelly,
    "sampling": _sampling,
    "decomposition": _decomposition,
    "mixture": _mixture,
    "training": _training,
    "two_point": _two_point,
    "abundance_simulation": _abundance_simulation,
    "abundances": _abundances,
    "gp_dense": _gp_dense,
    "state_space": _state_space,
    "xp_labels": _xp_labels,
    "retrieval": _retrieval,
}


def _layout(name: str) -> tuple[Callable[[dict[str, Any]], str], Callable[[dict[str, Any], Path], None]]:
    """How a record is printed and drawn."""
    if name == "kelly":  # effective samples a second, not seconds against n
        from benchmarks import kelly

        return kelly.tables, kelly.draw
    if name == "decomposition":
        from benchmarks import decomposition

        return decomposition.tables, report.draw
    if name == "state_space":
        from benchmarks import state_space

        return state_space.tables, state_space.draw
    if name == "abundances":
        from benchmarks import abundances

        return abundances.tables, report.draw
    if name == "retrieval":  # milliseconds of one search against targets, no peers
        from benchmarks import retrieval

        return retrieval.tables, retrieval.draw
    if name == "sampling":
        from benchmarks import sampling

        return sampling.tables, sampling.draw
    if name == "training":  # turns of the same steps, not seconds against n
        from benchmarks import training

        return training.tables, training.draw
    if name == "xp_labels":
        from benchmarks import xp_labels

        return xp_labels.tables, xp_labels.draw
    if name == "abundance_simulation":
        from benchmarks import abundance_simulation

        return abundance_simulation.tables, abundance_simulation.draw
    return report.tables, report.draw


def run(args: argparse.Namespace) -> int:
    """Measure the chosen families, print and save."""
    for name in args.names:
        if name not in FAMILIES:
            raise InputError(f"name is {name!r}; accepted are {', '.join(FAMILIES)}")
    folder = args.out or (QUICK if args.quick else RECORDS)
    records = []
    for name in args.names or FAMILIES:
        record = FAMILIES[name](args.quick)
        tables, draw = _layout(name)
        paths = report.save(record, folder, draw)
        records.append(record)
        if not args.json:
            print(tables(record))
            print("saved " + ", ".join(map(str, paths)))
    if args.json:
        console.print_json(records)
    return console.EXIT_OK


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare answers with other libraries, then time ours beside theirs in one run.",
        epilog="example: python -m benchmarks regression --quick. The full run takes several minutes and 6 GB; "
        "the machine should be idle.",
    )
    command.add_argument(
        "names", nargs="*", metavar="name", help=f"families to measure (default: all): {', '.join(FAMILIES)}"
    )
    command.add_argument("--quick", action="store_true", help="small problems, a look at what is printed")
    command.add_argument("--json", action="store_true", help="print the record as JSON")
    command.add_argument("--out", type=Path, help="folder of the record and the figure")
    command.set_defaults(run=run)
    return command


if __name__ == "__main__":
    sys.exit(console.run(parser()))

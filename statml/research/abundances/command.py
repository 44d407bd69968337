"""What this system adds to ``statml abundances``: the verbs `simulate` and `fit`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

from statml import console
from statml.errors import InputError
from statml.research.abundances.channels import load_elements
from statml.research.abundances.correlation import as_correlation, correlation_matrix
from statml.research.abundances.drift import DRIFTS
from statml.research.abundances.environment import Environment
from statml.research.abundances.observation import through_beam
from statml.research.abundances.r_process import MEAD_STARS, PARAMETERS, infer_r_process
from statml.research.abundances.samples import SAMPLES, load_sample
from statml.research.abundances.simulate import simulate
from statml.research.abundances.trials import TRIALS, known_element_trials, verdicts


def add_simulate(parser: argparse.ArgumentParser) -> None:
    """Maps of elements in the Sun's neighbourhood, and their correlations beside the theory's."""
    parser.add_argument("--elements", default="O,Mg,Fe", help="symbols, with commas (default: O,Mg,Fe)")
    parser.add_argument(
        "--box", type=float, default=8.0, help="side of the periodic square in kpc (default: 8)"
    )
    parser.add_argument(
        "--beam", type=float, default=60.0, help="standard deviation of a Gaussian beam in pc (default: 60)"
    )
    parser.add_argument("--grid", type=int, default=256, help="cells along a side (default: 256)")
    parser.add_argument("--realisations", type=int, default=4, help="independent maps (default: 4)")
    parser.add_argument(
        "--drift", choices=DRIFTS, default="isotropic", help="how clusters move (default: isotropic)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda", "auto"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write maps to this .npz file")
    parser.add_argument("--json", action="store_true", help="print correlations as JSON")
    parser.set_defaults(run=_simulate)


def _simulate(args: argparse.Namespace) -> int:
    if args.out is not None and args.out.suffix != ".npz":
        raise InputError(f"--out is {str(args.out)!r}; accepted is a name that ends in .npz")
    if args.out is not None and not args.out.parent.is_dir():
        raise InputError(
            f"--out is {str(args.out)!r}, in a folder that does not exist; accepted is a file in one that does"
        )
    env = Environment.fiducial()
    elements = [
        through_beam(element, args.beam * u.pc) for element in load_elements(args.elements.split(","))
    ]
    fields = simulate(
        env,
        elements,
        box=args.box * u.kpc,
        grid=args.grid,
        realisations=args.realisations,
        drift=args.drift,
        device=args.device,
        rng=args.seed,
    )
    if args.out is not None:
        np.savez(args.out, maps=fields.maps, symbols=fields.symbols, box_kpc=args.box)
    cov = fields.covariance().mean + fields.missing_variance
    simulated = as_correlation(cov)
    theory = correlation_matrix(elements, env, drift=args.drift).values
    pairs = [(i, j) for i in range(len(elements)) for j in range(i)]
    rows = [
        {"first": fields.symbols[j], "second": fields.symbols[i], "simulated": round(float(simulated[i, j]), 4),
         "theory": round(float(theory[i, j]), 4)}
        for i, j in pairs
    ]  # fmt: skip
    if args.json:
        console.print_json(
            {
                "tier": "synthetic",
                "realisations": args.realisations,
                "beam_pc": args.beam,
                "correlations": rows,
            }
        )
    else:
        print(
            f"synthetic, {args.realisations} realisations of {args.box:g} kpc, through a beam of {args.beam:g} pc"
        )
        for row in rows:
            print(
                f"{row['first']:>3s} {row['second']:3s} simulated {row['simulated']:.3f}  theory {row['theory']:.3f}"
            )
    return console.EXIT_OK


def add_fit(parser: argparse.ArgumentParser) -> None:
    """The channel of an element from its observed correlations, after trials with known elements."""
    parser.add_argument("symbol", nargs="?", default="Eu", help="element (default: Eu)")
    parser.add_argument(
        "--sample", choices=SAMPLES, default="mead25", help="observed correlations (default: mead25)"
    )
    parser.add_argument(
        "--stars", type=int, default=MEAD_STARS, help=f"stars behind them (default: {MEAD_STARS})"
    )
    parser.add_argument("--delays", choices=("median", "full"), default="median")
    parser.add_argument("--drift", choices=DRIFTS, default="isotropic")
    parser.add_argument("--json", action="store_true", help="print the posterior as JSON")
    parser.set_defaults(run=_fit)


def _fit(args: argparse.Namespace) -> int:
    options: dict[str, Any] = {"stars": args.stars, "delays": args.delays, "drift": args.drift}
    sample = load_sample(args.sample)
    posterior = infer_r_process(sample, args.symbol, **options)
    symbols = [symbol for symbol in TRIALS if symbol in sample.symbols and symbol != args.symbol]
    trials = known_element_trials(sample, symbols, **options)
    found = {
        "symbol": args.symbol,
        "tier": "real",
        "parameters": {name: posterior.statement(name) for name in PARAMETERS},
        "interval_over_prior": {name: round(posterior.shrinkage(name), 3) for name in PARAMETERS},
        "trials": {
            trial.posterior.symbol: {
                "truth": f"{trial.channel}, {trial.delay:.0f} Myr, {trial.width:.0f} pc",
                "delay": trial.posterior.statement("delay"),
                "width": trial.posterior.statement("width"),
            }
            for trial in trials
        },
        "verdicts": verdicts(trials),
    }
    if args.json:
        console.print_json(found)
        return console.EXIT_OK
    print(f"{args.symbol} from {len(posterior.partners)} correlations of {args.sample} (real)")
    for name in PARAMETERS:
        print(
            f"  {posterior.statement(name)}   (68 % interval over that of the prior: {posterior.shrinkage(name):.2f})"
        )
    print("known elements treated as unknown")
    for trial in trials:
        print(
            f"  {trial.posterior.symbol:3s} {trial.channel} {trial.delay:.0f} Myr {trial.width:.0f} pc:",
            end=" ",
        )
        print("; ".join(f"{name} {trial.posterior.statement(name)}" for name in ("delay", "width")))
    for name, said in verdicts(trials).items():
        print(f"  {name}: {said}")
    return console.EXIT_OK

"""Simulate the fields whose correlation functions are bundled as `correlation_length_mocks`.

A metal of core-collapse supernovae (injected over 60 pc, after 10 Myr) in the fiducial environment, whose
correlation length is 1 kpc, on periodic squares of 12 kpc; two windows of 6 kpc at opposite corners of each, which do not
close on themselves; independent noise on every pixel that makes the total variance 1.3 times the true one. The
correlation function of each window is taken about the window's own mean.

    python datasets/correlation_length_mocks/build.py [--realisations 400] [--out FILE]

Realisations are seeded one by one: the first ones are the same whatever their number. They agree between machines to the
rounding of single precision, and are stored with four significant digits.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from astropy import units as u

from statml import console
from statml.research.abundances import CCSN, Element, Environment, covariance, simulate
from statml.statistics import field_correlation

SEED = 20250714
BOX, GRID = 12 * u.kpc, 384
DILUTION = 1.3
# In pixels of 31.25 pc.
EDGES = np.array([1.5, 2.5, 3.5, 5, 7, 10, 14, 20, 28, 40, 56, 76, 96])
METAL = Element("metal", {CCSN: 1.0}, {CCSN: 10 * u.Myr})


def correlation_functions(
    realisations: int, seed: int, env: Environment, progress: bool = True
) -> dict[str, np.ndarray]:
    """Separations in kpc, and xi (2 realisations, bins) and variance (2 realisations,) of all windows."""
    rng = np.random.default_rng(seed)
    streams = rng.spawn(realisations)
    noise = np.sqrt((DILUTION - 1) * covariance(METAL, METAL, env))
    half, found = GRID // 2, []
    for stream in console.progress(streams, "mocks") if progress else streams:
        field = simulate(env, [METAL], box=BOX, grid=GRID, rng=stream, progress=False).maps[0, 0, 0]
        for corner in (slice(0, half), slice(half, GRID)):
            window = field[corner, corner] + noise * stream.standard_normal((half, half))
            found.append(field_correlation(window, EDGES))
    pixel = (BOX / GRID).to_value(u.kpc)
    return {
        "separation": found[0].separation * pixel,
        "edges": EDGES * pixel,
        "xi": np.array([each.xi for each in found]),
        "variance": np.array([each.variance for each in found]),
    }


def main(argv: list[str] | None = None) -> int:
    """Simulate and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realisations", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("mocks.csv"))
    args = parser.parse_args(argv)
    found = correlation_functions(args.realisations, SEED, Environment.fiducial())
    bins = len(found["separation"])
    lines = ["number," + ",".join(f"xi_{b}" for b in range(bins)) + ",variance"]
    for number, (xi, variance) in enumerate(zip(found["xi"], found["variance"])):
        lines.append(f"{number}," + ",".join(f"{value:.4g}" for value in (*xi, variance)))
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(args.out, "separations in kpc:", ", ".join(f"{r:.5f}" for r in found["separation"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Four labels of 35,326 real stars from their Gaia XP spectra: errors and coverage on stars held out.

Tier: real. Spectra are Gaia's, labels APOGEE's, one row for each star, so that no star is on two sides of
a split. Five splits; in each a fifth of the stars is held out, a tenth of the others is kept for
recalibration, and an ensemble is trained on the rest. The mean absolute errors stand beside those of
a plain network (343-256-128-4) measured on one split of the same stars: 97 K, 0.224, 0.139, 0.046.

Coverage is that of central intervals of the observed label, its catalogue error included: of the raw
mixture, and after split conformal recalibration (`statml.uncertainty.Recalibrated`) in quarters of the predicted
temperature, for all held-out stars and in these quarters.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold

from benchmarks.measurement import machine
from statml import datasets
from statml.neural import JointMLPRegressor, Training
from statml.neural.ensemble import mixture_of
from statml.uncertainty import PredictiveDistribution, Recalibrated, pit

Array = np.ndarray
LABELS = ("teff", "logg", "fe_h", "alpha_m")
BAR = {"teff": 97.0, "logg": 0.224, "fe_h": 0.139, "alpha_m": 0.046}
WITHIN = 1.03  # of the bar
COVERAGE = {0.68: (0.64, 0.72), 0.95: (0.93, 0.97)}
HOTTEST = 7500.0
# Fluxes are in units of their median: linear where noise rules, logarithmic above.
SOFTENING = 0.1
TRAINING = Training(epochs=40, batch_size=512, learning_rate=4e-3, schedule="one_cycle", ema=0.998)
SETTINGS: dict[str, Any] = {"likelihood": "student_t", "dropout": 0.1, "draws": 0, "input_limit": 8.0}


def stars(name: str = "gaia_xp_library") -> dict[str, Array]:
    """Features and their errors, labels and theirs, and identifiers, of stars with all four labels."""
    table = datasets.load(name)
    labelled = np.isfinite(np.column_stack([table[label] for label in LABELS])).all(axis=1)
    table = table[labelled & (table["teff"] < HOTTEST)]
    flux, error = np.array(table["flux"]), np.array(table["flux_err"])
    # One pixel in the blue can have an error of fifty medians; beyond 1 it says nothing more.
    scaled = np.minimum(error / np.hypot(flux, SOFTENING), 1.0)
    return {
        "X": np.arcsinh(flux / SOFTENING),
        "X_err": scaled,
        "Y": np.column_stack([table[label] for label in LABELS]),
        "Y_err": np.column_stack([table[f"{label}_err"] for label in LABELS]),
        "group": np.array(table["source_id"]),
    }


def predict(
    data: dict[str, Array], train: Array, test: Array, members: int, seed: int
) -> list[PredictiveDistribution]:
    """An ensemble trained on some stars, its distributions of the observed labels of others."""
    answers = []
    for member in range(members):
        network = JointMLPRegressor(training=TRAINING, random_state=1000 * seed + member, **SETTINGS)
        network.fit(
            data["X"][train], data["Y"][train], X_err=data["X_err"][train], y_err=data["Y_err"][train]
        )
        answers.append(network.predict_dist(data["X"][test], y_err=data["Y_err"][test]))
    return [mixture_of(label) for label in zip(*answers)]


def held_out(data: dict[str, Array], train: Array, test: Array, members: int, seed: int) -> dict[str, Array]:
    """Means and ranks, raw and recalibrated, of the held-out labels: arrays (n, 4)."""
    order = np.random.default_rng(seed).permutation(train)
    tenth = len(order) // 10
    calibration, train = order[:tenth], order[tenth:]
    both = predict(data, train, np.concatenate([calibration, test]), members, seed)
    # Each quarter of the predicted temperature has ranks of its own: what is known of a star is no secret.
    quarter = np.searchsorted(np.quantile(both[0].mean[:tenth], [0.25, 0.5, 0.75]), both[0].mean)
    means, raw, mended = [], [], []
    for j, label in enumerate(both):
        seen = pit(label[:tenth], data["Y"][calibration, j])
        ranks = [seen[quarter[:tenth] == q] for q in range(4)]
        new = label[tenth:]
        means.append(new.mean)
        raw.append(pit(new, data["Y"][test, j]))
        mended.append(pit(Recalibrated(new, ranks, quarter[tenth:]), data["Y"][test, j]))
    return {
        "mean": np.column_stack(means),
        "raw": np.column_stack(raw),
        "recalibrated": np.column_stack(mended),
    }


def covered(ranks: Array, level: float) -> float:
    """Fraction inside central intervals, from ranks F(y)."""
    return float(np.mean(np.abs(ranks - 0.5) <= level / 2))


def summary(data: dict[str, Array], parts: list[tuple[Array, dict[str, Array]]]) -> dict[str, Any]:
    """Errors of each split and coverage over all held-out stars."""
    rows = np.concatenate([test for test, _ in parts])
    joined = {name: np.concatenate([part[name] for _, part in parts]) for name in parts[0][1]}
    quarter = np.searchsorted(np.quantile(joined["mean"][:, 0], [0.25, 0.5, 0.75]), joined["mean"][:, 0])
    result: dict[str, Any] = {}
    for j, label in enumerate(LABELS):
        errors = [float(np.mean(np.abs(part["mean"][:, j] - data["Y"][test, j]))) for test, part in parts]
        cover = {
            kind: {
                str(level): {
                    "all": covered(joined[kind][:, j], level),
                    "by_quarter_of_teff": [covered(joined[kind][quarter == q, j], level) for q in range(4)],
                }
                for level in COVERAGE
            }
            for kind in ("raw", "recalibrated")
        }
        result[label] = {
            "mae": float(np.mean(np.abs(joined["mean"][:, j] - data["Y"][rows, j]))),
            "mae_of_splits": errors,
            "bar": BAR[label],
            "ratio": float(np.mean(errors)) / BAR[label],
            "coverage": cover,
        }
    return result


def benchmark(members: int = 3, splits: int = 5, name: str = "gaia_xp_library") -> dict[str, Any]:
    """Train and test on every split."""
    before = machine()
    data = stars(name)
    parts, seconds = [], []
    folds = GroupKFold(splits, shuffle=True, random_state=0).split(data["X"], groups=data["group"])
    for seed, (train, test) in enumerate(folds):
        begin = time.perf_counter()
        parts.append((test, held_out(data, train, test, members, seed)))
        seconds.append(time.perf_counter() - begin)
        print(f"split {seed}: {seconds[-1]:.0f} s", flush=True)
    return {
        "family": "xp_labels",
        "tier": "real",
        "machine": before,
        "stars": len(data["X"]),
        "splits": splits,
        "members": members,
        "seconds_of_splits": seconds,
        "labels": summary(data, parts),
    }


def tables(record: dict[str, Any]) -> str:
    """The record as text."""
    where = record["machine"]
    lines = [
        f"xp_labels (real): {record['stars']:,} stars, {record['splits']} splits by star, ensembles of {record['members']}",
        f"{where['cpu']}, {where['cores']} cores, load before {where['load_before']}, {where['date']}; "
        f"{np.median(record['seconds_of_splits']):.0f} s a split",
        "",
        f"{'label':8s} {'MAE':>8s} {'bar':>7s} {'ratio':>6s}   coverage at 68 % and 95 %: raw, recalibrated",
    ]
    for name, label in record["labels"].items():
        cover = "   ".join(
            f"{label['coverage'][kind]['0.68']['all']:.3f} {label['coverage'][kind]['0.95']['all']:.3f}"
            for kind in ("raw", "recalibrated")
        )
        lines.append(f"{name:8s} {label['mae']:8.4g} {label['bar']:7g} {label['ratio']:6.3f}   {cover}")
    lines += [
        "",
        "recalibrated coverage at 68 % and 95 % in quarters of the predicted temperature, coolest first",
    ]
    for name, label in record["labels"].items():
        of = label["coverage"]["recalibrated"]
        quarters = zip(of["0.68"]["by_quarter_of_teff"], of["0.95"]["by_quarter_of_teff"])
        lines.append(f"{name:8s} " + "   ".join(f"{low:.3f} {high:.3f}" for low, high in quarters))
    return "\n".join(lines)


def draw(record: dict[str, Any], path: Path) -> None:
    """Observed coverage of each label, raw and recalibrated, beside the bar of the errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    place = np.arange(len(LABELS))
    labels = record["labels"]
    for j, name in enumerate(LABELS):
        ratios = np.array(labels[name]["mae_of_splits"]) / BAR[name]
        left.plot(np.full(len(ratios), j), ratios, "o", color="#1b4f9c", alpha=0.6)
    left.axhline(WITHIN, color="#c8553d", lw=1)
    left.set(ylabel="mean absolute error / bar", xticks=place, xticklabels=LABELS)
    for kind, colour in (("raw", "#c8553d"), ("recalibrated", "#1b4f9c")):
        for level, (low, high) in COVERAGE.items():
            right.axhspan(low, high, color="0.92")
            values = [labels[name]["coverage"][kind][str(level)]["all"] for name in LABELS]
            right.plot(place, values, "o", color=colour, label=kind if level == 0.68 else None)
    right.set(ylabel="held-out coverage", xticks=place, xticklabels=LABELS, ylim=(0.6, 1))
    right.legend(frameon=False)
    figure.savefig(path, dpi=130)

"""The first part of the demonstration: Teff of real stars, by three models, with their calibration.

The models see the same training stars and are judged on the same held-out ones:
the assignment's reference solution, the regressor the library ships, and a
Gaussian with one scatter for all stars, which is there to be caught.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.pipeline import make_pipeline

import course
from course.spectra import BinnedStars, binned_stars, split
from course.submission import InProcessSubmission, SubmissionError, read_submission
from statml import datasets
from statml.errors import ServiceError
from statml.regression import BayesianLinearRegression, SpectrumFeatures, spectral_regressor
from statml.uncertainty import predict_dist

Array = np.ndarray
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.8, 0.9, 0.95)
SEED = 0
CALIBRATION_STARS = 800


@dataclass(frozen=True)
class Judged:
    """One model on the held-out stars.

    Attributes
    ----------
    name : str
    center : array (n,)
        Predicted Teff [K].
    low, high : dict of arrays (n,)
        Interval ends [K] by nominal level.
    """

    name: str
    center: Array
    low: dict[float, Array]
    high: dict[float, Array]

    def inside(self, teff: Array, level: float) -> Array:
        """Which observed values lie in the interval of the level, (n,) booleans."""
        return (self.low[level] <= teff) & (teff <= self.high[level])

    def half_width(self, level: float = 0.68) -> float:
        """Median half-width of the interval [K]."""
        return float(np.median(self.high[level] - self.low[level]) / 2)

    def row(self, teff: Array) -> dict[str, Any]:
        """The numbers of the report's table."""
        quarters = np.array_split(np.argsort(self.center), 4)
        inside = self.inside(teff, 0.68)
        return {
            "model": self.name,
            "coverage_68": float(inside.mean()),
            "coverage_95": float(self.inside(teff, 0.95).mean()),
            "coverage_68_by_quartile": [float(inside[rows].mean()) for rows in quarters],
            "half_width_68_K": self.half_width(),
            "rms_K": float(np.sqrt(np.mean((self.center - teff) ** 2))),
        }


@dataclass(frozen=True)
class StarsReport:
    """Held-out stars and what the three models said of them."""

    teff: Array
    n_train: int
    n_calibration: int
    models: list[Judged]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row of numbers for each model."""
        return [model.row(self.teff) for model in self.models]

    def sigma(self, level: float) -> float:
        """Standard deviation of the coverage of a calibrated model, from both finite samples."""
        return float(np.sqrt(level * (1 - level) * (1 / len(self.teff) + 1 / self.n_calibration)))


def judge(progress: Callable[[Iterable[float], str], Iterable[float]]) -> StarsReport:
    """Fit the three models on real stars and predict others.

    Raises
    ------
    DataNotFoundError
        The instructor's folder with the reference solution is not there.
    """
    train, new = split(binned_stars(), seed=SEED, train_fraction=0.7)
    models = [_reference(train, new, progress)]
    flux, new_flux = _spectra(train), _spectra(new)
    shipped = spectral_regressor(calibration_size=CALIBRATION_STARS, random_state=SEED)
    gaussian = make_pipeline(SpectrumFeatures(), BayesianLinearRegression())
    name = gaussian.steps[-1][0]
    fits = {
        "statml's shipped regressor": shipped.fit(flux, train.teff, y_err=train.teff_err),
        "Gaussian with one scatter": gaussian.fit(flux, train.teff, **{f"{name}__y_err": train.teff_err}),
    }
    for label, fitted in fits.items():
        prediction = predict_dist(fitted, new_flux, y_err=new.teff_err)
        ends = {level: prediction.interval(level) for level in LEVELS}
        low, high = ({level: end[side] for level, end in ends.items()} for side in (0, 1))
        models.append(Judged(label, prediction.mean, low, high))
    return StarsReport(new.teff, len(train.teff), CALIBRATION_STARS, models)


def _reference(train: BinnedStars, new: BinnedStars, progress: Any) -> Judged:
    solution = InProcessSubmission(read_submission(course.load("05").solution()))
    low, high = {}, {}
    center = np.empty(0)
    for level in progress(LEVELS, "reference solution"):
        arguments = (train.flux, train.flux_err, train.teff, train.teff_err, new.flux, new.flux_err, level)
        try:
            answer = solution.call("fit_predict_teff", *arguments)
        except SubmissionError as error:
            raise ServiceError(f"the reference solution of assignment 05 does not run: {error}") from error
        center, low[level], high[level] = np.asarray(answer)
    return Judged("reference solution", center, low, high)


def _spectra(stars: BinnedStars) -> Array:
    """Full-resolution spectra (392 to 992 nm) of binned stars, in their order."""
    table = datasets.load("gaia_xp")
    source = np.asarray(table["source_id"])
    order = np.argsort(source)
    found = order[np.searchsorted(source, stars.source_id, sorter=order)]
    return np.asarray(table["flux"])[found][:, 28:328]


def prediction_figure(report: StarsReport) -> Figure:
    """Predicted against observed Teff with 68 % intervals, and the residuals below."""
    model = report.models[0]
    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    shown = np.random.default_rng(SEED).choice(
        len(report.teff), size=min(250, len(report.teff)), replace=False
    )
    x, center = report.teff[shown], model.center[shown]
    error = np.array([center - model.low[0.68][shown], model.high[0.68][shown] - center])
    inside = model.inside(report.teff, 0.68)[shown]
    for mask, color, label in ((inside, "#1f77b4", "inside"), (~inside, "#d95f02", "outside")):
        style = {"fmt": "o", "ms": 3, "lw": 0.8, "color": color, "alpha": 0.75}
        top.errorbar(x[mask], center[mask], error[:, mask], label=f"{label} its 68 % interval", **style)
        bottom.errorbar(x[mask], center[mask] - x[mask], error[:, mask], **style)
    ends = np.array([3950.0, 7050.0])
    top.plot(ends, ends, color="0.35", lw=1)
    bottom.axhline(0, color="0.35", lw=1)
    top.set(ylabel="predicted from the XP spectrum [K]", xlim=ends, ylim=(3600, 7500))
    bottom.set(xlabel="APOGEE Teff [K]", ylabel="predicted − observed [K]", ylim=(-1300, 1300))
    top.legend(frameon=False, loc="upper left", title=f"{len(shown)} of {len(report.teff)} held-out stars")
    return figure


def calibration_figure(report: StarsReport) -> Figure:
    """Observed minus nominal coverage of the three models, with the 3 sigma band of a calibrated one."""
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.subplots()
    nominal = np.array(LEVELS)
    band = 3 * np.array([report.sigma(level) for level in LEVELS])
    axes.fill_between(nominal, -band, band, color="0.9", label="calibrated, 3 sigma")
    axes.axhline(0, color="0.5", lw=0.8)
    for model, color, marker in zip(report.models, ("#1f77b4", "#1b9e77", "#d95f02"), "os^"):
        seen = np.array([model.inside(report.teff, level).mean() for level in LEVELS])
        axes.plot(nominal, seen - nominal, color=color, marker=marker, ms=5, label=model.name)
    axes.set(xlabel="nominal coverage", ylabel="observed − nominal", xlim=(0.05, 1))
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    axes.set_ylim(-0.1, 0.2)
    return figure

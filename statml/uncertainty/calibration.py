"""Are the intervals right? Coverage, probability integral transform, scores.

A predictive distribution is calibrated when the true values fall below its
p-quantile a fraction p of the time. `calibration_report` tests that on held-out
data in two ways: the fraction inside central intervals at several levels
(binomial errors), and the uniformity of u = F(y), the probability integral
transform (PIT; a chi-square test over equal bins). A model can pass at 95 % and
fail at 68 %, which is why one level is never enough.

References: Gneiting, Balabdaoui & Raftery (2007), J. R. Stat. Soc. B 69, 243.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from statml.errors import InputError, InputTypeError
from statml.plain_numbers import refuse_quantity
from statml.uncertainty.distributions import PredictiveDistribution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
LEVELS = (0.5, 0.68, 0.9, 0.95)
# Chance that a calibrated model is flagged: 0.1 % by the PIT test, at most 0.27 % by each level.
PIT_ALPHA = 1e-3
COVERAGE_SIGMAS = 3.0
COVERAGE_ALPHA = 2 * float(stats.norm.sf(COVERAGE_SIGMAS))


def pit(prediction: PredictiveDistribution, y: Any) -> Array:
    """Probability integral transform F_i(y_i), shape (n,); uniform for calibrated predictions."""
    return prediction.cdf(_targets(prediction, y))


def covered_fraction(prediction: PredictiveDistribution, y: Any, level: float = 0.68) -> float:
    """Fraction of y inside the central interval of the given level."""
    low, high = prediction.interval(level)
    y = _targets(prediction, y)
    return float(np.mean((low <= y) & (y <= high)))


def coverage_pvalue(inside: int, n: int, level: float) -> float:
    """Two-sided p value of `inside` out of n values covered, exactly binomial.

    Three standard deviations would not do: at 95 % and n = 20 they flag 1.6 % of calibrated models.
    """
    below, above = stats.binom.cdf(inside, n, level), stats.binom.sf(inside - 1, n, level)
    return float(min(1.0, 2 * min(below, above)))


def pit_test(u: Array) -> float:
    """P value of the chi-square test that PIT values are uniform, over at least 5 values a bin."""
    bins = int(np.clip(len(u) // 5, 2, 20))
    counts = np.histogram(u, bins=bins, range=(0, 1))[0]
    return float(stats.chisquare(counts).pvalue)


@dataclass(frozen=True, eq=False)
class CalibrationReport:
    """Calibration on held-out data; print it, or draw it with `figure`.

    Attributes
    ----------
    levels, covered, covered_err : arrays (k,)
        Nominal level, observed fraction, its binomial standard error at the nominal level.
    pit : array (n,)
        Probability integral transforms.
    pit_pvalue : float
        Of their uniformity.
    crps, log_score : float
        Mean scores; the log score is the mean log density (larger is better).
    sharpness : float
        Median half-width of the 68 % interval, in the units of y.
    target : {"observed", "true"}
        Which y the intervals were made for.
    """

    levels: Array
    covered: Array
    covered_err: Array
    pit: Array
    pit_pvalue: float
    crps: float
    log_score: float
    sharpness: float
    target: str

    @property
    def misses(self) -> list[str]:
        """What is wrong, one sentence each; empty for a calibrated model."""
        found = [
            f"{nominal:.0%} intervals cover {seen:.1%} ({(seen - nominal) / error:+.1f} sigma)"
            for nominal, seen, error in zip(self.levels, self.covered, self.covered_err)
            if coverage_pvalue(round(seen * len(self.pit)), len(self.pit), nominal) < COVERAGE_ALPHA
        ]
        if self.pit_pvalue < PIT_ALPHA:
            found.append(f"probability integral transforms are not uniform (p = {self.pit_pvalue:.1e})")
        return found

    @property
    def calibrated(self) -> bool:
        """No level with a binomial p value beyond 3 sigma (0.27 %), and PIT p value at least 0.001."""
        return not self.misses

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON; the PIT values are left out."""
        values = {
            k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(self).items() if k != "pit"
        }
        return values | {"n": len(self.pit), "calibrated": self.calibrated, "misses": self.misses}

    def __str__(self) -> str:
        lines = [f"calibration of {len(self.pit)} predictions of the {self.target} y"]
        for nominal, seen, error in zip(self.levels, self.covered, self.covered_err):
            lines.append(f"  {nominal:4.0%} interval covers {seen:6.1%} +- {error:.1%}")
        lines.append(
            f"  PIT p = {self.pit_pvalue:.3g}   CRPS = {self.crps:.4g}   log score = {self.log_score:.4g}"
        )
        lines.append(f"  median 68% half-width = {self.sharpness:.4g}")
        lines.extend(f"  MISCALIBRATED: {miss}" for miss in self.misses)
        return "\n".join(lines)

    def figure(self) -> Figure:
        """Two panels: observed against nominal coverage, and the histogram of the PIT."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        nominal = np.linspace(0.02, 0.98, 49)
        distance = np.abs(self.pit - 0.5) * 2
        seen = np.array([np.mean(distance <= level) for level in nominal])
        error = np.sqrt(nominal * (1 - nominal) / len(self.pit))
        left.fill_between(
            nominal, nominal - 3 * error, nominal + 3 * error, color="0.88", label="3 sigma, calibrated"
        )
        left.plot([0, 1], [0, 1], color="0.5", lw=0.8)
        left.plot(nominal, seen, color="C0", lw=2, label=f"{self.target} y")
        left.set(xlabel="nominal coverage", ylabel="observed coverage", xlim=(0, 1), ylim=(0, 1))
        left.legend(frameon=False, loc="upper left")
        bins = int(np.clip(len(self.pit) // 25, 5, 20))
        right.hist(self.pit, bins=bins, range=(0, 1), color="C0", alpha=0.7)
        expected = len(self.pit) / bins
        right.axhspan(
            expected - 3 * np.sqrt(expected), expected + 3 * np.sqrt(expected), color="0.5", alpha=0.2
        )
        right.axhline(expected, color="0.5", lw=0.8)
        right.set(xlabel="PIT  F(y)", ylabel="count", xlim=(0, 1), title=f"p = {self.pit_pvalue:.2g}")
        return figure


def calibration_report(
    prediction: PredictiveDistribution, y: Any, *, levels: Any = LEVELS, target: str = "observed"
) -> CalibrationReport:
    """Test predictions against held-out values.

    Parameters
    ----------
    prediction : PredictiveDistribution
        Of n held-out rows, best from `cross_predict_dist` or a test set.
    y : array (n,)
        What was measured there.
    levels : sequence of float
        Nominal levels of the central intervals.
    target : {"observed", "true"}
        Whether the predictions include the errors of `y` (observed) or not (true).

    Raises
    ------
    InputError
        Lengths differ, y holds NaN, or there are fewer than 20 values.

    Examples
    --------
    >>> import numpy as np
    >>> from statml.uncertainty import Gaussian
    >>> y = np.random.default_rng(1).normal(size=2000)
    >>> calibration_report(Gaussian(np.zeros(2000), 1.0), y).calibrated
    True
    >>> calibration_report(Gaussian(np.zeros(2000), 1.2), y).calibrated
    False
    """
    if target not in ("observed", "true"):
        raise InputError(f"target is {target!r}; accepted are 'observed' and 'true'")
    y = _targets(prediction, y)
    if len(y) < 20:
        raise InputError(f"y has {len(y)} values; a calibration test needs at least 20")
    nominal = np.asarray(levels, float)
    covered = np.array([covered_fraction(prediction, y, level) for level in nominal])
    u = pit(prediction, y)
    if np.any(np.isnan(u)):
        raise InputError("prediction has a cdf that is NaN; accepted are predictions with finite parameters")
    low, high = prediction.interval(0.68)
    return CalibrationReport(
        levels=nominal,
        covered=covered,
        covered_err=np.sqrt(nominal * (1 - nominal) / len(y)),
        pit=u,
        pit_pvalue=pit_test(u),
        crps=float(np.mean(prediction.crps(y))),
        log_score=float(np.mean(prediction.log_prob(y))),
        sharpness=float(np.median(high - low) / 2),
        target=target,
    )


def _targets(prediction: PredictiveDistribution, y: Any) -> Array:
    if not isinstance(prediction, PredictiveDistribution):
        raise InputTypeError(
            f"prediction is a {type(prediction).__name__}; accepted is a PredictiveDistribution, "
            "as predict_dist gives it"
        )
    refuse_quantity("y", y)
    y = np.asarray(y, float)
    if y.shape != (len(prediction),):
        raise InputError(
            f"y has shape {y.shape}; accepted is ({len(prediction)},), one value for each prediction"
        )
    if np.any(np.isnan(y)):
        raise InputError("y contains NaN; accepted are the measured values")
    return y

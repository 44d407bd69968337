"""One page on class predictions: what is found, how purely, and whether the probabilities are right."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from statml.classification import metrics
from statml.classification.intervals import LEVEL, Estimate
from statml.classification.reliability import Reliability, reliability
from statml.errors import InputError
from statml.uncertainty.empirical import Categorical

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray
# Chance that right probabilities are flagged, over all tests of a report.
ALPHA = 1e-3


@dataclass(frozen=True, eq=False)
class ClassificationReport:
    """Class predictions against true classes; print it, or draw it with `figure`.

    Attributes
    ----------
    classes : array (k,)
    confusion : array (k, k)
        True classes in rows, most probable ones in columns.
    scores : dict of Estimate
        ``accuracy``, ``balanced_accuracy``, ``log_loss``, ``brier_score``.
    by_class : dict of dict of Estimate
        For each class (as text) ``completeness``, ``purity``, ``f1_score``, ``roc_auc`` of it against the rest.
    reliability : dict of Reliability
        Of each class (for two, of the second), and of the most probable one (``top``, for more than two).
    level : float
        Of the intervals.
    """

    classes: Array
    confusion: Array
    scores: dict[str, Estimate]
    by_class: dict[str, dict[str, Estimate]]
    reliability: dict[str, Reliability]
    level: float

    @property
    def misses(self) -> list[str]:
        """What is wrong with the probabilities, one sentence each; empty for calibrated ones."""
        allowed = ALPHA / len(self.reliability)
        return [
            f"probabilities of {name if name != 'top' else 'the most probable class'} are wrong "
            f"(p = {each.pvalue:.1e}): calibration error {each.calibration_error:.3f}, "
            f"right ones have {each.calibration_error_band[0]:.3f}"
            for name, each in self.reliability.items()
            if each.pvalue < allowed
        ]

    @property
    def calibrated(self) -> bool:
        """No reliability test below 0.001 divided by their number."""
        return not self.misses

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and text, for JSON."""
        return {
            "n": int(self.confusion.sum()),
            "level": self.level,
            "classes": [str(label) for label in self.classes],
            "confusion": self.confusion.tolist(),
            "scores": {name: asdict(estimate) for name, estimate in self.scores.items()},
            "by_class": {
                label: {name: asdict(estimate) for name, estimate in row.items()}
                for label, row in self.by_class.items()
            },
            "reliability": {
                name: {
                    "predicted": each.predicted.tolist(),
                    "observed": each.observed.tolist(),
                    "error": each.error.tolist(),
                    "count": each.count.tolist(),
                    "pvalue": each.pvalue,
                    "calibration_error": each.calibration_error,
                    "calibration_error_band": list(each.calibration_error_band),
                }
                for name, each in self.reliability.items()
            },
            "calibrated": self.calibrated,
            "misses": self.misses,
        }

    def __str__(self) -> str:
        n = int(self.confusion.sum())
        lines = [f"{n} predictions of {len(self.classes)} classes, {self.level:.0%} intervals"]
        lines += [f"  {name.replace('_', ' '):18s}{estimate}" for name, estimate in self.scores.items()]
        width = max(12, *(len(label) for label in self.by_class)) + 2
        lines.append(
            " " * width + "".join(f"{name:22s}" for name in ("completeness", "purity", "AUC")).rstrip()
        )
        for label, row in self.by_class.items():
            shown = (row["completeness"], row["purity"], row["roc_auc"])
            lines.append(
                (f"{label:>{width - 2}s}  " + "".join(f"{estimate!s:22s}" for estimate in shown)).rstrip()
            )
        lines.append("  true (rows) as predicted (columns)")
        lines += [
            f"{label:>{width - 2}s}  " + "".join(f"{int(count):7d}" for count in row)
            for label, row in zip(map(str, self.classes), self.confusion)
        ]
        for name, each in self.reliability.items():
            lines.append(
                f"  reliability of {name}: p = {each.pvalue:.2g}, calibration error "
                f"{each.calibration_error:.3f} (if right {each.calibration_error_band[0]:.3f}, "
                f"99% below {each.calibration_error_band[1]:.3f})"
            )
        return "\n".join(lines + [f"  MISCALIBRATED: {miss}" for miss in self.misses])

    def figure(self) -> Figure:
        """Two panels: the reliability diagram with its consistency band, and the confusion matrix."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.4, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        name = "top" if "top" in self.reliability else next(iter(self.reliability))
        draw_reliability(left, self.reliability[name])
        what = "most probable class" if name == "top" else name
        left.set(xlabel=f"predicted probability, {what}", ylabel="observed fraction")
        draw_confusion(right, self.confusion, self.classes)
        return figure


def classification_report(prediction: Categorical, y: Any, *, level: float = LEVEL) -> ClassificationReport:
    """Compare class probabilities with the true classes of rows that were not used in the fit.

    Parameters
    ----------
    prediction : Categorical
    y : array (n,)
    level : float
        Of all intervals.

    Returns
    -------
    ClassificationReport

    Raises
    ------
    InputError
        Fewer than 20 rows, lengths differ, or y has classes the prediction does not know.

    Examples
    --------
    >>> rng = np.random.default_rng(3)
    >>> p = rng.beta(0.5, 0.5, size=500)
    >>> y = rng.uniform(size=500) < p
    >>> report = classification_report(Categorical(np.column_stack([1 - p, p]), [False, True]), y)
    >>> report.calibrated
    True
    >>> print(report.scores["accuracy"])
    0.806 [0.788, 0.823]
    """
    if not isinstance(prediction, Categorical):
        raise InputError(
            f"prediction is a {type(prediction).__name__}; accepted is a Categorical, as predict_dist gives it"
        )
    classes = prediction.classes
    tested = list(classes[1:]) if len(classes) == 2 else list(classes)
    of_class = {str(label): reliability(prediction, y, label=label) for label in tested}
    if len(classes) > 2:
        of_class["top"] = reliability(prediction, y, label="top")
    by_label = (metrics.completeness, metrics.purity, metrics.f1_score, metrics.roc_auc)
    overall = (metrics.accuracy, metrics.balanced_accuracy, metrics.log_loss, metrics.brier_score)
    return ClassificationReport(
        classes=classes,
        confusion=metrics.confusion_matrix(prediction, y),
        scores={score.__name__: score(prediction, y, level=level) for score in overall},
        by_class={
            str(label): {score.__name__: score(prediction, y, label=label, level=level) for score in by_label}
            for label in classes
        },
        reliability=of_class,
        level=level,
    )


def draw_reliability(axes: Axes, found: Reliability, *, color: str = "C0", label: str | None = None) -> None:
    """Observed against predicted fractions, with the 3 sigma band of right probabilities."""
    order = np.argsort(found.predicted)
    p, error = found.predicted[order], found.error[order]
    axes.fill_between(
        p,
        np.clip(p - 3 * error, 0, 1),
        np.clip(p + 3 * error, 0, 1),
        color="0.88",
        lw=0,
        label="3 sigma, right",
    )
    axes.plot([0, 1], [0, 1], color="0.5", lw=0.8)
    axes.plot(p, found.observed[order], "o-", color=color, ms=4, lw=1.4, label=label or "observed")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def draw_confusion(axes: Axes, confusion: Array, classes: Array) -> None:
    """Counts on a map of each true class's shares."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [str(label) for label in classes]
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{confusion[row, column]}\n{share:.0%}",
            ha="center",
            va="center",
            color="white" if share > 0.5 else "0.2",
            fontsize=9,
        )
    axes.set(xlabel="predicted class", ylabel="true class")

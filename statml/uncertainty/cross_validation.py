"""Held-out predictive distributions and scikit-learn scorers that pass errors along.

scikit-learn cuts ``X`` and ``y`` for each fold; the errors have to be cut with
them, for the fit as well as for the prediction. `cross_predict_dist` does, and
`crps`, `log_score` and `coverage` do so inside ``cross_val_score`` and
``GridSearchCV`` (with metadata routing, request ``y_err`` by ``set_score_request``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRequest

from statml.errors import InputError, InputTypeError
from statml.uncertainty.calibration import covered_fraction
from statml.uncertainty.distributions import PredictiveDistribution
from statml.uncertainty.measurement import feature_covariance, refuse_quantities
from statml.uncertainty.propagation import propagate, transformers

Array = np.ndarray

FIT_ERRORS = ("X_err", "X_cov", "y_err", "y_cov", "xy_cov")
PREDICT_ERRORS = ("X_err", "X_cov", "y_err", "y_cov")


def predict_dist(estimator: Any, X: Any, **errors: Any) -> PredictiveDistribution:
    """``estimator.predict_dist(X, **errors)``, through pipelines and searches too.

    Errors of X pass through the transformers of a pipeline, see `statml.uncertainty.propagation`.

    Raises
    ------
    InputError
        Errors of X are given, and a transformer of the pipeline cannot carry them.
    InputTypeError
        The estimator predicts no distributions.
    """
    errors = {name: value for name, value in errors.items() if value is not None}
    if hasattr(estimator, "best_estimator_"):
        return predict_dist(estimator.best_estimator_, X, **errors)
    if isinstance(estimator, Pipeline):
        X, errors = _through_transformers(estimator, X, errors)
        return predict_dist(estimator.steps[-1][1], X, **errors)
    if not hasattr(estimator, "predict_dist"):
        raise InputTypeError(
            f"{type(estimator).__name__} has no predict_dist; accepted are statml estimators"
        )
    return estimator.predict_dist(X, **errors)


def _through_transformers(
    pipeline: Pipeline, X: Any, errors: dict[str, Any], y: Any = None
) -> tuple[Any, dict[str, Any]]:
    """X before the last step, and the errors with it; with `y` the transformers are fitted on the way."""
    steps = [step for step in transformers(pipeline) if step is not pipeline.steps[-1][1]]
    if not steps:
        return X, errors
    shape = np.shape(X)
    stack = None
    if "X_err" in errors or "X_cov" in errors:
        stack = feature_covariance(shape[0], shape[1], errors.get("X_err"), errors.get("X_cov"))
    for step in steps:
        if y is not None:
            step.fit(X, y)
        if stack is None:
            X = step.transform(X)
        else:
            X, stack = propagate(step, X, stack)
    others = {name: value for name, value in errors.items() if name not in ("X_err", "X_cov")}
    return X, others if stack is None else others | {"X_cov": stack}


def cross_predict_dist(
    estimator: Any, X: Any, y: Any, *, cv: Any = 5, groups: Any = None, observed: bool = True, **errors: Any
) -> PredictiveDistribution:
    """Held-out predictive distribution of every row, in input order.

    Parameters
    ----------
    estimator : estimator with `predict_dist`, or a pipeline that ends in one
    X : array (n, d)
    y : array (n,)
    cv : int or splitter
        As in scikit-learn, stratified for classifiers; every row must be held out exactly once.
    groups : array (n,), optional
        For splitters that keep groups together.
    observed : bool
        Pass the errors of y to the prediction, so that it is of the observed y;
        False predicts the true y.
    **errors
        ``X_err, X_cov, y_err, y_cov, xy_cov``: cut with the rows, passed to `fit`
        and (but for ``xy_cov``) to `predict_dist`. Errors of X go to the prediction
        alone where `fit` of the estimator takes X as exact, as least squares does.

    Returns
    -------
    PredictiveDistribution
        Of length n, without a joint covariance.

    Examples
    --------
    >>> import numpy as np
    >>> from statml.regression import LinearRegression
    >>> X = np.arange(20.0)[:, None]
    >>> cross_predict_dist(LinearRegression(), X, X[:, 0], y_err=0.1, cv=4).mean[:2].round(6) + 0.0
    array([0., 1.])
    """
    unknown = set(errors) - set(FIT_ERRORS)
    if unknown:
        raise InputTypeError(
            f"{sorted(unknown)[0]} is not an error argument; accepted are {', '.join(FIT_ERRORS)}"
        )
    refuse_quantities(X=X, y=y)
    X, y = X if hasattr(X, "shape") else np.asarray(X), np.asarray(y)
    given = {name: value for name, value in errors.items() if value is not None}
    exact = getattr(_last_step(estimator), "fit_refuses", {})
    usable = {
        name: value for name, value in given.items() if name not in ("X_err", "X_cov") or name not in exact
    }
    parts, order = [], []
    for train, test in check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y, groups):
        fitted = fit_with_errors(clone(estimator), _cut(X, train), y[train], take_rows(usable, train, len(y)))
        names = [name for name in PREDICT_ERRORS if observed or not name.startswith("y_")]
        held_out = {name: value for name, value in take_rows(given, test, len(y)).items() if name in names}
        parts.append(predict_dist(fitted, _cut(X, test), **held_out))
        order.append(test)
    rows = np.concatenate(order)
    if len(rows) != len(y) or len(np.unique(rows)) != len(y):
        raise InputError(
            "cv must hold out every row exactly once; accepted are KFold, GroupKFold and the like"
        )
    return PredictiveDistribution.concatenate(parts)[np.argsort(rows)]


def _cut(values: Any, rows: Array) -> Any:
    return values.iloc[rows] if hasattr(values, "iloc") else values[rows]


def take_rows(errors: dict[str, Any], rows: Array, n: int) -> dict[str, Any]:
    """Cut every error argument of n rows to the given ones; numbers stay as they are.

    Raises
    ------
    InputError
        An argument has another number of rows.
    """
    arrays = {name: value if hasattr(value, "shape") else np.asarray(value) for name, value in errors.items()}
    for name, value in arrays.items():
        if value.shape != () and value.shape[0] != n:
            raise InputError(f"{name} has shape {value.shape}; accepted are {n} rows, as X has")
    return {name: value if value.shape == () else _cut(value, rows) for name, value in arrays.items()}


def fit_with_errors(estimator: Any, X: Any, y: Any, errors: dict[str, Any]) -> Any:
    """Fit in place; errors of X are carried through the transformers of a pipeline to its last step.

    Raises
    ------
    InputError
        They cannot be: the reason is named.
    """
    of_x = [name for name in ("X_err", "X_cov", "xy_cov") if name in errors]
    inner = _inner_pipeline(estimator)
    if inner is None or not of_x or get_config()["enable_metadata_routing"]:
        return estimator.fit(X, y, **fit_arguments(estimator, errors))
    if inner is not estimator:
        raise InputError(
            f"{of_x[0]} cannot pass through a search to the last step of its Pipeline; "
            "search without it, then fit best_estimator_ with cross_predict_dist"
        )
    if "xy_cov" in errors:
        raise InputError(
            "xy_cov cannot pass through the transformers of a Pipeline; "
            "accepted is the last step alone, with X, X_cov and xy_cov transformed"
        )
    X, errors = _through_transformers(estimator, X, errors, y)
    estimator.steps[-1][1].fit(X, y, **errors)
    return estimator


def _inner_pipeline(estimator: Any) -> Pipeline | None:
    """The pipeline with transformers that an estimator is, or searches over."""
    if isinstance(estimator, GridSearchCV | RandomizedSearchCV):
        estimator = estimator.estimator
    return estimator if isinstance(estimator, Pipeline) and len(estimator) > 1 else None


def _last_step(estimator: Any) -> Any:
    if isinstance(estimator, GridSearchCV | RandomizedSearchCV):
        return _last_step(estimator.estimator)
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def fit_arguments(estimator: Any, errors: dict[str, Any]) -> dict[str, Any]:
    """The errors under the names `fit` takes them by: a pipeline's last step has its own.

    With scikit-learn's metadata routing they keep their names, and go where they are requested.
    """
    if get_config()["enable_metadata_routing"]:
        return errors
    if isinstance(estimator, GridSearchCV | RandomizedSearchCV):
        return fit_arguments(estimator.estimator, errors)
    if isinstance(estimator, Pipeline):
        return {f"{estimator.steps[-1][0]}__{name}": value for name, value in errors.items()}
    return errors


class DistributionScorer:
    """A scikit-learn scorer of predictive distributions; larger is better.

    Parameters
    ----------
    score : callable
        ``score(prediction, y) -> float``.
    name : str

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_val_score
    >>> from statml.regression import LinearRegression
    >>> from statml.uncertainty import crps
    >>> X = np.random.default_rng(0).normal(size=(40, 1))
    >>> cross_val_score(LinearRegression(), X, X[:, 0] + 1, scoring=crps).shape
    (5,)
    """

    def __init__(self, score: Callable[[PredictiveDistribution, Array], float], name: str) -> None:
        self._score = score
        self._name = name
        self._request = MetadataRequest(owner=self)

    def __call__(self, estimator: Any, X: Any, y: Any, **errors: Any) -> float:
        """Score held-out rows; `errors` are those of `predict_dist`."""
        return float(self._score(predict_dist(estimator, X, **errors), np.asarray(y, float)))

    def set_score_request(self, **requests: bool | str | None) -> DistributionScorer:
        """A copy that asks scikit-learn's metadata routing for the named error arguments."""
        unknown = set(requests) - set(PREDICT_ERRORS)
        if unknown:
            raise InputTypeError(
                f"{sorted(unknown)[0]} cannot be requested; accepted are {', '.join(PREDICT_ERRORS)}"
            )
        copy = DistributionScorer(self._score, self._name)
        for name, alias in requests.items():
            copy._request.score.add_request(param=name, alias=alias)
        return copy

    def get_metadata_routing(self) -> MetadataRequest:
        """What this scorer asks for."""
        return self._request

    def __repr__(self) -> str:
        return f"<scorer {self._name}>"


def _mean_crps(prediction: PredictiveDistribution, y: Array) -> float:
    return -float(np.mean(prediction.crps(y)))


def _mean_log_prob(prediction: PredictiveDistribution, y: Array) -> float:
    return float(np.mean(prediction.log_prob(y)))


class _CoverageMiss:
    """Minus the distance between observed and nominal coverage; a class, so that scorers pickle."""

    def __init__(self, level: float) -> None:
        self.level = level

    def __call__(self, prediction: PredictiveDistribution, y: Array) -> float:
        return -abs(covered_fraction(prediction, y, self.level) - self.level)


crps = DistributionScorer(_mean_crps, "crps")
log_score = DistributionScorer(_mean_log_prob, "log_score")
coverage = DistributionScorer(_CoverageMiss(0.68), "coverage(0.68)")


def coverage_scorer(level: float = 0.68) -> DistributionScorer:
    """A scorer: minus the distance between observed and nominal coverage at `level`."""
    if not 0 < level < 1:
        raise InputError(f"level is {level!r}; accepted is a probability between 0 and 1")
    return DistributionScorer(_CoverageMiss(level), f"coverage({level})")

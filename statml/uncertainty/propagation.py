"""Errors of X on their way through the transformers of a pipeline.

A transformer with `propagate` (the bases of `statml.regression`) carries them along
itself. Those of scikit-learn that are affine, z = M x + c, turn S into M S M^T
exactly. Any other is refused by name: an error that a transformer would drop, or
leave in the wrong units, is worse than none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectorMixin
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from statml.errors import InputError
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray

AFFINE = "StandardScaler, RobustScaler, MinMaxScaler, MaxAbsScaler, PCA and feature selection"


def propagate(transformer: Any, X: Any, errors: CovarianceStack) -> tuple[Any, CovarianceStack]:
    """Transformed rows and their covariances.

    Parameters
    ----------
    transformer : fitted transformer, Pipeline of transformers, None or "passthrough"
    X : array (n, d)
    errors : CovarianceStack
        Of shape (n, d, d).

    Raises
    ------
    InputError
        The transformer neither has `propagate` nor is known to be affine.

    Examples
    --------
    >>> import numpy as np
    >>> scaler = StandardScaler().fit([[0.0], [4.0]])
    >>> Z, errors = propagate(scaler, np.array([[2.0]]), CovarianceStack.from_std([[1.0]]))
    >>> Z, errors.to_dense()
    (array([[0.]]), array([[[0.25]]]))
    """
    if transformer is None or isinstance(transformer, str):  # "passthrough"
        return X, errors
    if isinstance(transformer, Pipeline):
        for step in transformers(transformer):
            X, errors = propagate(step, X, errors)
        return X, errors
    if hasattr(transformer, "propagate"):
        return transformer.propagate(X, X_cov=errors)
    return transformer.transform(X), errors.transformed(_slopes(transformer))


def transformers(pipeline: Pipeline) -> Iterator[Any]:
    """The steps of a pipeline that change X; all of them where the last one predicts nothing."""
    steps = [step for _, step in pipeline.steps]
    last = steps[-1]
    if hasattr(last, "predict") or hasattr(last, "predict_dist"):
        steps = steps[:-1]
    return (step for step in steps if step is not None and step != "passthrough")


def _slopes(transformer: Any) -> Array:
    """M of an affine transformer, (m, d), or its diagonal, (d,)."""
    if isinstance(transformer, StandardScaler | RobustScaler):
        d = transformer.n_features_in_
        return np.ones(d) if transformer.scale_ is None else 1 / transformer.scale_
    if isinstance(transformer, MaxAbsScaler):
        return 1 / transformer.scale_
    if isinstance(transformer, MinMaxScaler) and not transformer.clip:
        return transformer.scale_
    if isinstance(transformer, PCA):
        components = transformer.components_
        if not transformer.whiten:
            return components
        return components / np.sqrt(transformer.explained_variance_)[:, None]
    if isinstance(transformer, SelectorMixin):
        return np.eye(transformer.n_features_in_)[transformer.get_support()]
    raise InputError(
        f"X_err or X_cov cannot pass through {type(transformer).__name__}; accepted are transformers with "
        f"propagate, such as statml.regression.PolynomialBasis, and {AFFINE}"
    )

"""Labels from low-resolution spectra: a fixed feature map and the regressor the library ships.

A linear model needs features in which the label is nearly linear. The logarithm
of the binned flux turns extinction and temperature into sums, whitened principal
components take out what neighbouring bins share, and products of the leading
ones bend the line; clipping keeps an odd spectrum from being extrapolated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted, validate_data

from statml.errors import InputError
from statml.plain_numbers import refuse_quantity
from statml.regression.bayesian import BayesianLinearRegression
from statml.uncertainty.conformal import ConformalRegressor

Array = np.ndarray


class SpectrumFeatures(TransformerMixin, BaseEstimator):
    """Log of binned flux, whitened principal components, and products of the first few.

    Parameters
    ----------
    n_bins : int
        Bins of (nearly) equal numbers of neighbouring pixels.
    n_components : int
        Principal components kept; at most what the data allow.
    n_products : int
        Leading components whose squares and products are added.
    clip : float
        Components are limited to this many standard deviations.
    floor : float
        Least binned flux before the logarithm, in the units of the flux.

    Attributes
    ----------
    pca_ : sklearn.decomposition.PCA
        Of the log binned flux, whitening.
    """

    def __init__(
        self,
        *,
        n_bins: int = 40,
        n_components: int = 40,
        n_products: int = 8,
        clip: float = 3.0,
        floor: float = 0.01,
    ) -> None:
        self.n_bins = n_bins
        self.n_components = n_components
        self.n_products = n_products
        self.clip = clip
        self.floor = floor

    def fit(self, X: Any, y: Any = None) -> SpectrumFeatures:
        """Find the components of the spectra `X`, shape (n, pixels); `y` is not used.

        Raises
        ------
        InputError
            A parameter that is not positive.
        """
        for name in ("n_bins", "n_components", "clip", "floor"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)!r}; accepted are values > 0")
        refuse_quantity("X", X)
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        logs = self._log_bins(X)
        self.pca_ = PCA(min(self.n_components, logs.shape[1], len(logs) - 1), whiten=True).fit(logs)
        # A component without variance would be whitened to noise of infinite size.
        largest = max(float(self.pca_.explained_variance_[0]), np.finfo(float).tiny)
        self._kept = self.pca_.explained_variance_ > 1e-12 * largest
        return self

    def transform(self, X: Any) -> Array:
        """Features of the spectra, shape (n, components + products)."""
        check_is_fitted(self)
        refuse_quantity("X", X)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        scores = np.clip(self.pca_.transform(self._log_bins(X))[:, self._kept], -self.clip, self.clip)
        first = scores[:, : self.n_products]
        left, right = np.triu_indices(first.shape[1])
        return np.column_stack([scores, first[:, left] * first[:, right]])

    def _log_bins(self, X: Array) -> Array:
        edges = np.linspace(0, X.shape[1], min(self.n_bins, X.shape[1]) + 1).astype(int)
        sums = np.add.reduceat(X, edges[:-1], axis=1)
        return np.log(np.maximum(sums / np.diff(edges), self.floor))


def spectral_regressor(
    *, calibration_size: int | float = 0.35, random_state: Any = None
) -> ConformalRegressor:
    """A label from spectra, with intervals that cover: the regressor this library ships for it.

    Student-t scatter whose width follows the features, on `SpectrumFeatures`,
    recalibrated by split conformal prediction.

    Parameters
    ----------
    calibration_size : int or float
        Rows, or their fraction, kept for calibration; use at least 800.
    random_state : int, Generator or None
        Draws them.

    Returns
    -------
    ConformalRegressor
        Unfitted.

    Examples
    --------
    >>> from statml import datasets
    >>> stars = datasets.load("gaia_xp")[:600]
    >>> flux, teff = stars["flux"].data[:, 28:328], stars["teff"].data
    >>> model = spectral_regressor(random_state=0).fit(flux, teff, y_err=stars["teff_err"].data)
    >>> low, high = model.predict_dist(flux[:3]).interval(0.68)
    >>> low.shape
    (3,)
    """
    line = BayesianLinearRegression(tails="student_t", scatter_model="features")
    pipeline: Pipeline = make_pipeline(SpectrumFeatures(), line)
    return ConformalRegressor(pipeline, calibration_size=calibration_size, random_state=random_state)

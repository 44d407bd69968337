r"""Principal components of data whose pixels have their own errors, or are missing.

    x_ij = mu_j + sum_l a_il u_lj + scatter_ij + noise_ij
    a_il ~ N(0, lambda_l),   scatter_ij ~ N(0, s^2),   noise_ij ~ N(0, X_err_ij^2)

PCA fits the pixel with the largest noise first, and a gap that is filled with a mean
pulls every axis towards nothing happening there. Here a pixel weighs 1 / (X_err^2 + s^2)
and a missing one (NaN in X, or X_err = inf) nothing: it is integrated out, which is
right as long as pixels are not missing *because* of their value. Fitted is the maximum
of the likelihood over mu, the subspace, lambda and s^2 (`statml.decomposition.factor_em`).

Without errors and gaps this is probabilistic PCA. Posteriors of scores hold at the
fitted axes; predictions of pixels include, to first order, that mean and axes are fitted.

Sources: Tipping & Bishop (1999, J. R. Stat. Soc. B 61, 611); the weighted problem in
astronomy: Tsalmantza & Hogg (2012, ApJ 753, 122); Bailey (2012, PASP 124, 1015);
arXiv:2506.12230, chapter 10.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from statml.compute import Device, Namespace, generator, namespace
from statml.decomposition.factor_em import (
    Factors,
    Pixels,
    climb,
    normal_equations,
    posterior,
    start,
    unpacked,
)
from statml.decomposition.principal_axes import upright
from statml.decomposition.scores import ScoreDistribution
from statml.errors import InputError, InputTypeError
from statml.uncertainty.contract import one_sentence
from statml.uncertainty.measurement import refuse_arguments, refuse_quantities, target_covariance
from statml.uncertainty.parametric import Gaussian
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray


class HeteroscedasticPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Principal components with an error for each pixel, gaps allowed.

    Parameters
    ----------
    n_components : int
        At most the smaller side of X.
    scatter : "fit" or float
        Standard deviation s, common to all pixels, of what components and errors leave
        over; fitted, or fixed. 0 takes the errors at their word.
    tol : float
        Stop when a step of EM gains less than this in log likelihood for each row.
    max_iter : int
        Steps at most; a warning tells if they were not enough.
    device : {"cpu", "cuda", "auto"}
    random_state : int, Generator or None
        Of the randomized subspace the search starts from.

    Attributes
    ----------
    mean_ : array (d,)
    components_ : array (k, d)
        Orthonormal axes; the largest entry of each is positive.
    score_variance_ : array (k,)
        lambda, variances of the true scores, largest first.
    scatter_ : float
        s.
    loadings_cov_ : array (d, k + 1, k + 1)
        Of each pixel's entries of lambda^(1/2) u and of its mean, to first order: as if the
        scores of the training rows were known as well as their posteriors say.
    n_iter_ : int
    log_likelihood_path_ : array (n_iter_ + 1,)
        Log likelihood of all rows; it never falls.
    n_components_ : int

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(size=(300, 1)) * [3.0, 2.0, 1.0]
    >>> err = rng.uniform(0.1, 1.0, truth.shape)
    >>> X = truth + err * rng.normal(size=truth.shape)
    >>> X[rng.random(X.shape) < 0.2] = np.nan
    >>> pca = HeteroscedasticPCA(1, scatter=0.0, random_state=0).fit(X, X_err=err)
    >>> (pca.components_ * np.sqrt(pca.score_variance_)).round(1)
    array([[3.2, 2.1, 1. ]])
    >>> pca.transform_dist(X[:2], X_err=err[:2]).std.shape
    (2, 1)
    """

    refuses: ClassVar[dict[str, str]] = {
        "X_cov": "its pixels are independent given the scores; pass their standard deviations as X_err"
    }

    def __init__(
        self,
        n_components: int = 2,
        *,
        scatter: float | Literal["fit"] = "fit",
        tol: float = 1e-6,
        max_iter: int = 1000,
        device: Device = "cpu",
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.scatter = scatter
        self.tol = tol
        self.max_iter = max_iter
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, X_err: Any = None, X_cov: Any = None) -> HeteroscedasticPCA:
        """Maximise the likelihood.

        Parameters
        ----------
        X : array (n, d)
            NaN where a pixel is missing.
        y : None
            Not used.
        X_err : float or array (n, d), optional
            Standard deviations; inf where a pixel is missing. Without them the noise is
            the fitted scatter.

        Raises
        ------
        InputError
            A parameter or an error that is not accepted, or a pixel no row has observed.
        """
        refuse_arguments(self, "fit", self.refuses, X_cov=X_cov)
        device, scatter = self._namespace(), self._checked_scatter()
        X = self._rows(X, fit=True, X_err=X_err)
        k = self._checked_count(min(X.shape))
        values, variances = self._measured(X, X_err, scatter=1.0 if scatter is None else scatter)
        missing = np.isinf(variances)
        unseen = np.flatnonzero(np.all(missing, axis=0))
        if len(unseen):
            raise InputError(
                f"column {unseen[0]} of X is missing in every row; accepted are columns with data"
            )
        lowest, highest = (s * np.max(np.where(missing, -np.inf, s * values), axis=0) for s in (-1, 1))
        if np.all(lowest == highest):
            raise InputError("X does not vary; accepted are rows that differ")
        mean, loadings, variance = start(values, variances, k, generator(self.random_state))
        if scatter is not None:
            variance = scatter**2
        pixels = Pixels(device.asarray(values), device.asarray(variances), device)
        first = Factors(device.asarray(mean), device.asarray(loadings), variance)
        found, path, converged = climb(
            pixels, first, fit_variance=scatter is None, tol=self.tol, max_iter=self.max_iter
        )
        if not converged:
            warnings.warn(
                f"HeteroscedasticPCA stopped after max_iter={self.max_iter} steps, the last of which gained "
                f"{(path[-1] - path[-2]) / len(X):.1e} for each row; raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        self._keep(device.to_numpy(found.mean), device.to_numpy(found.loadings), found.variance)
        self.log_likelihood_path_, self.n_iter_ = np.array(path), len(path) - 1
        turned = self._factors(device)
        information = normal_equations(pixels, turned, posterior(pixels, turned))[0]
        self.loadings_cov_ = np.linalg.inv(device.to_numpy(information))
        return self

    def _keep(self, mean: Array, loadings: Array, variance: float) -> None:
        """Turn the loadings to principal axes."""
        axes, lengths, _ = np.linalg.svd(loadings, full_matrices=False)
        self.mean_, self.components_ = mean, upright(axes.T)
        self.score_variance_ = lengths**2
        self.scatter_ = float(np.sqrt(variance))
        self.n_components_ = len(lengths)

    def transform(self, X: Any, *, X_err: Any = None) -> Array:
        """Posterior means of the scores, shape (n, k), in the units of X; see `transform_dist`."""
        return self.transform_dist(X, X_err=X_err).mean

    def fit_transform(self, X: Any, y: Any = None, *, X_err: Any = None) -> Array:
        """Fit, then the scores of the same rows with the same errors."""
        return self.fit(X, X_err=X_err).transform(X, X_err=X_err)

    def transform_dist(self, X: Any, *, X_err: Any = None) -> ScoreDistribution:
        """The posterior of the scores of each row.

        Parameters
        ----------
        X : array (n, d)
            NaN where a pixel is missing; a row may miss all.
        X_err : float or array (n, d), optional
            Standard deviations. Without them the noise is the fitted scatter alone.

        Returns
        -------
        ScoreDistribution
            Prior N(0, lambda) times likelihood: a row of poor data is drawn towards 0,
            and its covariance is that of the truth around the mean.

        Raises
        ------
        InputError
            The errors are not accepted, or there are neither errors nor scatter.
        """
        return self._posterior(X, X_err)[0]

    def propagate(self, X: Any, *, X_err: Any = None, X_cov: Any = None) -> tuple[Array, CovarianceStack]:
        """Means and covariances of the scores, for pipelines (`statml.uncertainty.predict_dist`).

        An `X_cov` is accepted where it holds independent errors.
        """
        if isinstance(X_cov, CovarianceStack) and X_cov.variances is not None and X_err is None:
            X_err, X_cov = np.sqrt(X_cov.variances), None
        refuse_arguments(self, "propagate", self.refuses, X_cov=X_cov)
        scores = self.transform_dist(X, X_err=X_err)
        return scores.mean, scores.stack

    def score_samples(self, X: Any, *, X_err: Any = None) -> Array:
        """Log likelihood of the observed pixels of each row, shape (n,)."""
        return self._posterior(X, X_err)[1]

    def score(self, X: Any, y: Any = None, *, X_err: Any = None) -> float:
        """Mean log likelihood of a row."""
        return float(np.mean(self.score_samples(X, X_err=X_err)))

    def inverse_transform(self, scores: Any) -> Array:
        """The rows that scores of shape (n, k) stand for, shape (n, d)."""
        check_is_fitted(self)
        scores = np.asarray(scores, float)
        if scores.ndim != 2 or scores.shape[1] != len(self.components_):
            raise InputError(f"scores has shape {scores.shape}; accepted is (n, {len(self.components_)})")
        return self.mean_ + scores @ self.components_

    def reconstruct(self, X: Any, *, X_err: Any = None) -> tuple[Array, Array]:
        """The true value of every pixel, missing or not: means and standard deviations, each (n, d).

        The truth includes the scatter s. Where a pixel was observed, its own measurement counts
        as well as the components. The uncertainty of the fitted mean and axes is in the
        standard deviations, to first order.
        """
        mean, parts, _ = self._true_pixels(X, X_err)
        return mean, np.sqrt(sum(parts.values()))

    def impute(self, X: Any, *, X_err: Any = None) -> tuple[Array, Array]:
        """X with its missing pixels filled, and the errors of all pixels, each (n, d).

        Observed pixels and their errors are as given (0 where no errors were given);
        missing ones have the mean and standard deviation of their true value.
        """
        mean, std = self.reconstruct(X, X_err=X_err)
        values, variances = self._measured(self._rows(X, X_err=X_err), X_err, scatter=self.scatter_)
        missing = np.isinf(variances)
        given = np.sqrt(np.where(missing, 0.0, variances))
        return np.where(missing, mean, values), np.where(missing, std, given)

    def predict_missing(self, X: Any, *, X_err: Any = None, y_err: Any = None) -> Gaussian:
        """The missing pixels, row by row, as one distribution.

        Parameters
        ----------
        X, X_err
            As in `transform_dist`.
        y_err : float or array (m,), optional
            Errors of the values the m missing pixels will be compared with: then the
            distribution is that of the observed values, without them of the true ones.

        Returns
        -------
        Gaussian
            Of ``X[missing]``. ``variance_components``: parameter (mean and axes are fitted),
            input (the scores are uncertain), model (scatter), noise (`y_err`).
        """
        mean, parts, missing = self._true_pixels(X, X_err)
        chosen = {name: part[missing] for name, part in parts.items()}
        m = int(missing.sum())
        given = target_covariance(m, y_err, None)
        chosen["noise"] = np.zeros(m) if given is None else given.variance()
        return Gaussian(mean[missing], np.sqrt(sum(chosen.values())), variance_components=chosen)

    def _true_pixels(self, X: Any, X_err: Any) -> tuple[Array, dict[str, Array], Array]:
        """Means (n, d) of the true pixels, the parts of their variances, and which are missing."""
        X = self._rows(X, X_err=X_err)
        values, variances = self._measured(X, X_err, scatter=self.scatter_)
        scores, s2 = self._posterior(X, X_err)[0], self.scatter_**2
        missing = np.isinf(variances)
        # the part of a residual that is scatter and so belongs to the truth
        share = s2 / (variances + s2) if s2 > 0 else np.zeros_like(variances)
        model = self.inverse_transform(scores.mean)
        spread = np.einsum("nkl,kd,ld->nd", scores.cov, self.components_, self.components_, optimize=True)
        mean = model + share * np.where(missing, 0.0, values - model)
        parts = {
            "parameter": (1 - share) ** 2 * self._loading_variance(scores),
            "input": (1 - share) ** 2 * spread,
            "model": s2 * (1 - share),
        }
        return mean, parts, missing

    def _loading_variance(self, scores: ScoreDistribution) -> Array:
        """E[(z, 1)^T cov(W_j, mu_j) (z, 1)] of every row and pixel, shape (n, d)."""
        lengths = np.sqrt(self.score_variance_)
        inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        n, k = scores.mean.shape
        extended = np.column_stack([scores.mean * inverse, np.ones(n)])
        moments = extended[:, :, None] * extended[:, None, :]
        moments[:, :k, :k] += scores.cov * np.outer(inverse, inverse)
        return moments.reshape(n, -1) @ self.loadings_cov_.reshape(len(self.mean_), -1).T

    def _posterior(self, X: Any, X_err: Any) -> tuple[ScoreDistribution, Array]:
        X = self._rows(X, X_err=X_err)
        values, variances = self._measured(X, X_err, scatter=self.scatter_)
        device = self._namespace()
        lengths = np.sqrt(self.score_variance_)
        pixels = Pixels(device.asarray(values), device.asarray(variances), device)
        found = posterior(pixels, self._factors(device))
        cov = device.to_numpy(unpacked(found.packed, len(lengths))) * np.outer(lengths, lengths)
        scores = ScoreDistribution(device.to_numpy(found.mean) * lengths, cov)
        return scores, device.to_numpy(found.log_likelihood)

    def _factors(self, device: Namespace) -> Factors:
        """The fitted model on a device, its loadings along the principal axes."""
        loadings = self.components_.T * np.sqrt(self.score_variance_)
        return Factors(device.asarray(self.mean_), device.asarray(loadings), self.scatter_**2)

    def _measured(self, X: Array, X_err: Any, *, scatter: float) -> tuple[Array, Array]:
        """Values, 0 where missing, and variances, inf there."""
        err = np.zeros(X.shape) if X_err is None else pixel_errors(X, X_err)
        missing = np.isnan(X) | np.isinf(err)
        if scatter == 0 and np.any(err[~missing] == 0):
            what = "X_err is missing" if X_err is None else "X_err contains 0"
            raise InputError(f"{what} and the scatter is 0; accepted are errors > 0, or scatter='fit'")
        return np.where(missing, 0.0, X), np.where(missing, np.inf, err**2)

    def _rows(self, X: Any, *, fit: bool = False, X_err: Any = None) -> Array:
        if not fit:
            check_is_fitted(self)
        refuse_quantities(X=X, X_err=X_err)
        with one_sentence():
            return validate_data(
                self,
                X,
                reset=fit,
                dtype=np.float64,
                ensure_all_finite="allow-nan",
                ensure_min_samples=2 if fit else 1,
            )

    def _namespace(self) -> Namespace:
        return namespace(self.device)

    def _checked_scatter(self) -> float | None:
        """The fixed scatter, or None where it is to be fitted; the other settings are checked on the way."""
        if not self.tol >= 0:
            raise InputError(f"tol is {self.tol!r}; accepted are values >= 0")
        if not self.max_iter >= 1:
            raise InputError(f"max_iter is {self.max_iter!r}; accepted are integers >= 1")
        if isinstance(self.scatter, str) and self.scatter == "fit":
            return None
        if isinstance(self.scatter, str) or not 0 <= self.scatter < np.inf:
            raise InputError(f"scatter is {self.scatter!r}; accepted are 'fit' and finite numbers >= 0")
        return float(self.scatter)

    def _checked_count(self, most: int) -> int:
        k = self.n_components
        if isinstance(k, int | np.integer) and not isinstance(k, bool) and 1 <= k <= most:
            return int(k)
        raise InputError(f"n_components is {k!r}; accepted are 1 to {most}, the smaller side of X")

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def pixel_errors(X: Array, X_err: Any) -> Array:
    """Standard deviations of the pixels, shape (n, d); those of a missing pixel may be anything.

    Raises
    ------
    InputError
        The shape is wrong, or an error of an observed pixel is NaN or negative.
    """
    try:
        err = np.asarray(X_err, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputTypeError(
            f"X_err is a {type(X_err).__name__} that holds no numbers; accepted is an array"
        ) from error
    err = np.full(X.shape, float(err)) if err.ndim == 0 else err
    if err.shape != X.shape:
        raise InputError(f"X_err has shape {err.shape}; accepted is a number or {X.shape}, as X has")
    err = np.where(np.isnan(X), np.inf, err)
    if np.any(np.isnan(err)):
        raise InputError("X_err contains NaN where X does not; give inf for a pixel without information")
    if np.any(err < 0):
        raise InputError(f"X_err contains the negative value {err.min()}; accepted are values >= 0")
    return err

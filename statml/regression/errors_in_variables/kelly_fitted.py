"""A line fitted by Kelly's method: its draws, its predictions, its counterparts elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from statml.errors import InputError, MissingExtraError
from statml.regression.errors_in_variables.gibbs import Draws
from statml.regression.errors_in_variables.kelly_model import Moments, Points, product
from statml.regression.errors_in_variables.kelly_prior import FullPrior
from statml.regression.errors_in_variables.method import FittedLine, Measured
from statml.uncertainty.mixtures import GaussianMixture
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray
# Posterior draws a prediction is a mixture of.
PREDICTION_DRAWS = 100


@dataclass(frozen=True)
class KellyLine(FittedLine):
    """The posterior of `Kelly`.

    Attributes
    ----------
    params, params_cov, scatter
        Posterior mean and covariance of the line; posterior median of sigma.
    extras : dict
        ``posterior_``, ``rhat_``, ``ess_``, ``log_likelihood_``; see `Kelly`.
    posterior : Draws
    rows : Measured
    prior : FullPrior
    """

    params: Array
    params_cov: Array
    scatter: float
    extras: dict[str, Any]
    posterior: Draws
    rows: Measured
    prior: FullPrior

    def predict_dist(self, X: Array, X_cov: CovarianceStack | None, y_var: Array | None) -> GaussianMixture:
        """Distribution of the true y at each row; of the observed y where `y_var` (n,) is given.

        X without `X_cov` is the true x. With it, X is a measurement of a member of the
        population the fit has seen: its true x is pulled towards where the mixture
        has members, and the prediction with it.
        """
        draws = self._few_draws()
        mean, variance, share = self._of_true_y(X, X_cov, draws)  # (M, K, n) each
        noise = draws.scatter[0][:, None, None] ** 2
        measured = np.zeros(len(X)) if y_var is None else y_var
        stds = np.sqrt(variance + noise + measured)
        centre = np.sum(share * mean, axis=1)
        count = len(centre)
        within = np.sum(share * (variance + (mean - centre[:, None]) ** 2), axis=1)
        fitted = np.full(len(X), np.mean(noise))
        known = self.rows.y_var is not None
        components = {
            "parameter": np.mean((centre - centre.mean(axis=0)) ** 2, axis=0),
            "input": within.mean(axis=0),
            "noise": measured + (0 if known else fitted),
            "model": fitted if known else 0 * fitted,
        }
        flat = (count * mean.shape[1], len(X))
        return GaussianMixture(
            (share / count).reshape(flat).T,
            mean.reshape(flat).T,
            stds.reshape(flat).T,
            variance_components=components,
        )

    def _of_true_y(self, X: Array, X_cov: CovarianceStack | None, draws: Draws) -> tuple[Array, Array, Array]:
        """Mean, variance and weight of alpha + beta.xi in every draw and component, (M, K, n)."""
        n, d = X.shape
        params = draws.params[0]
        alpha = params[:, 0, None] if self.rows.intercept else 0.0
        slopes = params[:, params.shape[1] - d :]
        if X_cov is None:
            mean = (alpha + slopes @ X.T)[:, None]
            return mean, np.zeros(mean.shape), np.ones(mean.shape)
        # y exact and without scatter in B_k: its last pivot is the variance of eta given x.
        zeros = np.zeros(n)
        points = Points.of(X, zeros, X_cov.to_dense(), np.zeros((n, d)), zeros, np.zeros(n, bool))
        mixture = draws.weights[0], draws.centers[0], draws.covs[0]
        moments = Moments.of(params, np.zeros(len(params)), *mixture[1:], self.rows.intercept)
        _, pivots, white = points.factored(moments)
        quadratic = sum(u**2 / pivot for u, pivot in zip(white[:-1], pivots[:-1]))
        log_share = np.log(mixture[0])[..., None] - 0.5 * (quadratic + np.log(product(pivots[:-1])))
        return -white[-1], np.maximum(pivots[-1], 0), special.softmax(log_share, axis=1)

    def _few_draws(self) -> Draws:
        """Some draws, with the lines moved a little so that mean and covariance are those of all draws."""
        few = self.posterior.thinned(PREDICTION_DRAWS)
        lines = few.params[0]
        gap = lines - lines.mean(axis=0)
        own = gap.T @ gap / len(gap)
        try:
            turn = np.linalg.solve(np.linalg.cholesky(own), np.eye(len(own))).T
            gap = gap @ turn @ np.linalg.cholesky(self.params_cov).T
        except np.linalg.LinAlgError:  # fewer draws than parameters: the mean alone
            pass
        return Draws((self.params + gap)[None], few.scatter, few.weights, few.centers, few.covs)

    def to_inference_data(self) -> Any:
        """The draws as an ``arviz.InferenceData`` (from arviz 1.0 on, a ``DataTree``).

        Raises
        ------
        MissingExtraError
            arviz is not installed.
        """
        try:
            import arviz
        except ImportError as error:
            raise MissingExtraError("to_inference_data needs arviz: pip install 'statml[bayes]'") from error
        draws = self.extras["posterior_"]
        # arviz 1.0 takes a dictionary of groups, older versions one keyword for each.
        if int(arviz.__version__.split(".")[0]) >= 1:
            return arviz.from_dict({"posterior": draws})
        return arviz.from_dict(posterior=draws)

    def to_pymc(self, *, marginal: bool = True) -> Any:
        """The same model, with the same prior and data, as a ``pymc.Model``.

        Parameters
        ----------
        marginal : bool
            Integrate the true covariates out (few parameters, any errors). False keeps
            them as variables, as the model is usually written, and needs errors of X.

        Returns
        -------
        pymc.Model
            Variables ``params`` (intercept first), ``scatter``, ``weights``, ``centers``, ``covs``.

        Raises
        ------
        MissingExtraError
            pymc is not installed.
        InputError
            ``marginal=False`` and a row whose error of X is zero in some direction.
        """
        from statml.regression.errors_in_variables.kelly_pymc import model

        if not isinstance(marginal, bool):
            raise InputError(f"marginal is {marginal!r}; accepted are True and False")
        return model(self.rows, self.prior, self.posterior.weights.shape[2], marginal=marginal)

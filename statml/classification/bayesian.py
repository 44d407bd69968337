r"""Bayesian logistic regression: a normal prior, the posterior near its mode or all of it, the evidence.

    P(t = 1 | x) = sigma(a^T b),   b ~ N(m0, S0),   a = [1, x]

The posterior of b has no closed form. Laplace's approximation replaces it by the normal
distribution of the same mode and curvature (`statml.classification.laplace`), which
gives log odds their variance a^T S_N a and the prior its evidence; ``method="mcmc"``
draws from the posterior itself (`statml.classification.posterior_draws`).

Features with errors enter through the probability of each class averaged over what
the true features may be (`statml.classification.likelihood`).

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), ch. 9.
"""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from statml.classification.bayesian_priors import PriorPrecision, fit_under
from statml.classification.importance import LaplaceCheck, check_laplace
from statml.classification.laplace import LogPosterior
from statml.classification.likelihood import BernoulliRows
from statml.classification.log_odds import ClassPrior, LogOddsClassifier, log_prior_shift
from statml.classification.logistic_normal import Averaging, averaged_sigmoid
from statml.classification.population import NormalPopulation
from statml.classification.posterior_draws import posterior_draws
from statml.compute import generator
from statml.errors import InputError
from statml.regression.predictive import design
from statml.sampling.diagnostics import ESS_LIMIT, RHAT_LIMIT, ess, rhat
from statml.uncertainty.empirical import Categorical, Samples
from statml.uncertainty.measurement import feature_covariance
from statml.uncertainty.parametric import Gaussian
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray

# With input_prior="flat", a warning where errors make up more of the spread along the slopes.
WARN_RELIABILITY = 0.9
# Log odds of all draws held at once, and draws used where each needs an average over the errors of X.
_CHUNK, _DRAWS_WITH_ERRORS = 4_000_000, 1000


class BayesianLogisticRegression(LogOddsClassifier):
    """Two classes, a normal prior of the coefficients, and the posterior by Laplace or by Monte Carlo.

    Parameters
    ----------
    prior_precision : "evidence", float, array (p,) or (p, p)
        Precision of the prior, intercept first, mean 0. A number is that of each
        parameter in the units of X. "evidence" puts one precision on the slopes per
        standard deviation of their feature and lets the evidence choose it.
    penalise_intercept : bool
        Whether a number, or "evidence", is the precision of the intercept as well. If
        not, the constant at the mean of the features has a prior of width 10.
    fit_intercept : bool
        Fit a constant besides the slopes.
    method : {"laplace", "mcmc"}
        The normal approximation, or draws from the posterior itself (at the prior that
        `prior_precision` says, or that Laplace's evidence chose).
    input_prior : {"flat", "gaussian"}
        What is known of the true features besides their measurement, where errors of X
        are given: nothing, which is right while the errors are small against the spread
        of the features; or that they come from one normal population, found in `fit`.
    class_prior : None, "balanced" or array (2,)
        Class fractions of the population that is predicted; None: those of the training set.
    threshold : float or None
        `predict` gives the second class where its probability is at least this; None: the
        more probable class.
    averaging : {"exact", "probit"}
        How the sigmoid is averaged over uncertain log odds: the integral itself, or the
        probit approximation sigma(kappa(v) mu), up to 0.019 off.
    chains, draws, warmup : int
        Of ``method="mcmc"``.
    random_state : int, Generator or None
        Of ``method="mcmc"``.

    Attributes
    ----------
    params_, params_cov_ : arrays (p,), (p, p)
        Mode and Laplace's covariance, or posterior mean and covariance of the draws;
        intercept first, with the views `coef_`, `coef_cov_`, `coef_err_`, `intercept_`,
        `intercept_err_`.
    log_evidence_ : float
        Laplace's approximation, at the prior that was used; `check_laplace` has the
        integral by importance sampling.
    log_likelihood_ : float
        At the mode.
    prior_cov_ : array (p, p)
        Of the prior that was used, in the units of X.
    prior_width_ : float or None
        Prior width of the standardised slopes that the evidence chose.
    laplace_ : NormalApproximation
        Mode, factor of the covariance, evidence; also with ``method="mcmc"``.
    population_ : NormalPopulation or None
        Of the true features, where ``input_prior="gaussian"`` and `fit` was given errors.
    draws_, rhat_, ess_, acceptance_
        Draws (chains, draws, p), convergence and efficiency of ``method="mcmc"``.
    n_iter_ : int
        Newton steps of the last fit.

    See Also
    --------
    LogisticRegression : without a prior.

    Notes
    -----
    With errors of X in `fit`, the probability of each row is averaged over what its true
    features may be. Under the flat prior that undoes the flattening by the sigmoid, but not
    the dilution by measured features that spread more than true ones; a warning says so
    where it matters. "gaussian" undoes both where the true features are about normal. Mean
    slopes of 500 simulations of 1,000 rows, truth 2.00, Monte Carlo error 0.01:

    ============================  =======  ====  ========
    true features, errors         ignored  flat  gaussian
    ============================  =======  ====  ========
    N(0, 1), 0.3 to 0.7           1.38     1.56  2.00
    uniform (-4, 4), 0.4 to 1.0   1.54     1.99  2.22
    ============================  =======  ====  ========

    With ``averaging="probit"`` the 1.99 is 2.15: the approximation is poor where errors
    are wider than the boundary.

    Laplace's approximation is normal and the posterior is skewed; `check_laplace` measures
    it. Simulation-based calibration holds from 20 rows a parameter for up to 5 parameters
    and from 50 for 10; 100 rows for 10 are rejected, and of 200 the 68 % intervals cover 66 %. The prior width and
    the population of the features are point estimates.

    Examples
    --------
    >>> import numpy as np
    >>> colour = np.array([[0.2], [0.5], [0.6], [0.8], [0.9], [1.1], [1.2], [1.4]])
    >>> giant = np.array([0, 0, 0, 0, 1, 1, 1, 1])       # separated: no maximum of the likelihood
    >>> model = BayesianLogisticRegression(prior_precision=0.01).fit(colour, giant)
    >>> model.predict_proba([[0.2], [0.85]]).round(2)
    array([[0.93, 0.07],
           [0.5 , 0.5 ]])
    """

    refuses: ClassVar[dict[str, str]] = LogOddsClassifier.refuses

    def __init__(
        self,
        *,
        prior_precision: PriorPrecision = "evidence",
        penalise_intercept: bool = False,
        fit_intercept: bool = True,
        method: Literal["laplace", "mcmc"] = "laplace",
        input_prior: Literal["flat", "gaussian"] = "flat",
        class_prior: ClassPrior = None,
        threshold: float | None = None,
        averaging: Averaging = "exact",
        chains: int = 4,
        draws: int = 1000,
        warmup: int = 400,
        random_state: Any = None,
    ) -> None:
        self.prior_precision = prior_precision
        self.penalise_intercept = penalise_intercept
        self.fit_intercept = fit_intercept
        self.method = method
        self.input_prior = input_prior
        self.class_prior = class_prior
        self.threshold = threshold
        self.averaging = averaging
        self.chains = chains
        self.draws = draws
        self.warmup = warmup
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        X_err: Any = None,
        y_err: Any = None,
        X_cov: Any = None,
        y_cov: Any = None,
        xy_cov: Any = None,
    ) -> BayesianLogisticRegression:
        """Find the posterior.

        Parameters
        ----------
        X : array (n, d)
        y : array (n,)
            Two classes, of any type that sorts.
        X_err, X_cov : float, array (n, d) or CovarianceStack, optional
            Errors of X.
        y_err, y_cov, xy_cov
            Refused: a class has no error.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Not two classes, or a parameter or an error argument that is not accepted.

        Warns
        -----
        UserWarning
            The errors of X are a sizeable part of its spread, and the flat prior leaves slopes too small.
        ConvergenceWarning
            The chains disagree, or are worth fewer than 400 independent draws.
        """
        self._check_parameters()
        X, codes = self._training_data(X, y, X_err=X_err, y_err=y_err, y_cov=y_cov, xy_cov=xy_cov)
        shift = log_prior_shift(self.class_prior, self._two_classes(codes))
        self.prior_shift_ = float(shift[1] - shift[0])
        stack = feature_covariance(len(X), X.shape[1], X_err, X_cov)
        if stack is not None and not np.any(stack.trace_with(np.eye(X.shape[1]))):
            stack = None  # errors of zero are no errors, and the exact likelihood is cheaper
        self.population_ = None
        if stack is not None and self.input_prior == "gaussian":
            self.population_ = NormalPopulation.of(X, stack)
        rows = self._rows(X, codes, stack)
        self.prior_width_, prior, self.laplace_ = fit_under(
            self.prior_precision,
            rows,
            X,
            intercept=self.fit_intercept,
            penalise_intercept=self.penalise_intercept,
        )
        self._posterior = LogPosterior(rows, prior)
        self.prior_cov_ = prior.cov
        self.log_evidence_ = self.laplace_.log_evidence
        self.log_likelihood_ = self.laplace_.log_likelihood
        self.n_iter_ = self.laplace_.steps
        self.params_, self._factor = self.laplace_.mode, self.laplace_.factor
        if self.method == "mcmc":
            self._sample()
        self.params_cov_ = self._factor @ self._factor.T
        if stack is not None and self.population_ is None:
            self._warn_of_dilution(X, stack)
        return self

    def predict_latent_dist(self, X: Any, *, X_err: Any = None, X_cov: Any = None) -> Gaussian | Samples:  # type: ignore[override]
        """Distribution of the log odds of the second class.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : array (n, d) or CovarianceStack, optional
            Errors of X.

        Returns
        -------
        Gaussian
            Of Laplace's approximation, with its `variance_components` ``parameter`` and
            ``input`` and the joint `cov`.
        Samples
            One for each draw of ``method="mcmc"``; with errors of X each has its own draw of the features.
        """
        X, stack = self._features(X, X_err, X_cov)
        if self.method == "laplace":
            return self._latent_dist(X, None, stack)
        params = self._flat
        latent = params @ design(X, self.fit_intercept).T + self.prior_shift_
        parameter = latent.var(axis=0)
        if stack is None:
            return Samples(latent, variance_components={"parameter": parameter})
        spread = stack.project(params[:, self._first :])
        rng = generator(0 if self.random_state is None else self.random_state)
        latent = latent + np.sqrt(spread) * rng.standard_normal(latent.shape)
        # What the draws of the features add, their chance correlation with the parameters included.
        added = latent.var(axis=0) - parameter
        return Samples(latent, variance_components={"parameter": parameter, "input": added})

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> Categorical:
        """Class probabilities, averaged over the posterior and over the errors of X.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : array (n, d) or CovarianceStack, optional
            Errors of X.
        y_err, y_cov
            Refused: a class has no error.

        Returns
        -------
        Categorical
        """
        self._new_data(X, X_err=X_err, y_err=y_err, y_cov=y_cov)
        if self.method == "laplace":
            return super().predict_dist(X, X_err=X_err, X_cov=X_cov)
        X, stack = self._features(X, X_err, X_cov)
        params = self._flat
        if stack is not None:
            params = params[:: max(len(params) // _DRAWS_WITH_ERRORS, 1)]
        step = max(_CHUNK // len(params), 1)
        proba = np.concatenate(
            [
                self._averaged(X[i : i + step], None if stack is None else stack[i : i + step], params)
                for i in range(0, len(X), step)
            ]
        )
        return Categorical(proba / proba.sum(axis=1, keepdims=True), self.classes_)

    def check_laplace(self, size: int = 4000, *, rng: Any = 0) -> LaplaceCheck:
        """Laplace's approximation against the posterior, by importance sampling.

        Parameters
        ----------
        size : int
            Draws of the approximation.
        rng : int, Generator or None

        Returns
        -------
        LaplaceCheck
            Print it; ``reliable`` says whether the approximation may be used.

        Raises
        ------
        InputError
            `size` is below 100.
        """
        if not isinstance(size, Integral) or size < 100:
            raise InputError(f"size is {size!r}; accepted are whole numbers of 100 and more")
        return check_laplace(self._fitted_posterior(), self.laplace_, int(size), generator(rng))

    def to_pymc(self) -> Any:
        """The fitted model in PyMC: the same prior, data and errors.

        Returns
        -------
        pymc.Model
            ``params`` (p,), intercept first, made of standard normal ``whitened``; ``y`` observed.

        Raises
        ------
        MissingExtraError
            PyMC is not installed.
        """
        from statml.classification.pymc_model import logistic_model

        return logistic_model(self._fitted_posterior())

    # -- parts ---------------------------------------------------------------------------

    @property
    def _flat(self) -> Array:
        return self.draws_.reshape(-1, self.draws_.shape[2])

    @property
    def _first(self) -> int:
        return int(self.fit_intercept)

    def _params_root(self) -> Array:
        return self._factor

    def _fitted_posterior(self) -> LogPosterior:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        return self._posterior

    def _check_parameters(self) -> None:
        for name, accepted in (("method", ("laplace", "mcmc")), ("input_prior", ("flat", "gaussian"))):
            if getattr(self, name) not in accepted:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; accepted are {accepted[0]!r} and {accepted[1]!r}"
                )
        for name, least in (("chains", 2), ("draws", 4), ("warmup", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise InputError(f"{name} is {value!r}; accepted are whole numbers of {least} and more")

    def _features(self, X: Any, X_err: Any, X_cov: Any) -> tuple[Array, CovarianceStack | None]:
        """New features and their errors, seen in the light of the population where there is one."""
        X = self._new_data(X, X_err=X_err)
        stack = feature_covariance(len(X), X.shape[1], X_err, X_cov)
        if stack is None or self.population_ is None:
            return X, stack
        return self.population_.infer(X, stack)

    def _rows(self, X: Array, codes: Array, stack: CovarianceStack | None) -> BernoulliRows:
        if stack is not None and self.population_ is not None:
            X, stack = self.population_.infer(X, stack)
        return BernoulliRows(design(X, self.fit_intercept), codes, stack, self.averaging)

    def _sample(self) -> None:
        chain = posterior_draws(
            self._posterior,
            self.laplace_,
            chains=int(self.chains),
            draws=int(self.draws),
            warmup=int(self.warmup),
            rng=generator(self.random_state),
        )
        self.draws_, self.acceptance_ = chain.draws, chain.acceptance
        # Draws that do not vary (NaN) have not moved: no convergence either.
        self.rhat_ = np.nan_to_num(np.atleast_1d(rhat(chain.draws)), nan=np.inf)
        self.ess_ = np.atleast_1d(ess(chain.draws))
        self.params_ = chain.flat.mean(axis=0)
        gap = chain.flat - self.params_
        # The R of a QR decomposition: no covariance to be factorised.
        self._factor = np.asarray(np.linalg.qr(gap, mode="r")).T / np.sqrt(len(gap))
        if np.max(self.rhat_) > RHAT_LIMIT or np.min(self.ess_) < ESS_LIMIT:
            warnings.warn(
                f"the chains have split R-hat up to {np.max(self.rhat_):.3f} (good is below {RHAT_LIMIT}) and are "
                f"worth {np.min(self.ess_):.0f} independent draws (good is {ESS_LIMIT}): raise draws or warmup",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _warn_of_dilution(self, X: Array, stack: CovarianceStack) -> None:
        observed = np.var(X @ self.coef_)
        share = 1 - float(np.mean(stack.project(self.coef_)) / observed) if observed > 0 else 1.0
        if share < WARN_RELIABILITY:
            warnings.warn(
                f"errors make up {1 - share:.0%} of the spread of X along the slopes, and input_prior='flat' "
                "leaves the slopes too small by about that; use input_prior='gaussian'",
                UserWarning,
                stacklevel=3,
            )

    def _averaged(self, X: Array, stack: CovarianceStack | None, params: Array) -> Array:
        """Class probabilities (n, 2), averaged over parameters (m, p)."""
        latent = params @ design(X, self.fit_intercept).T + self.prior_shift_
        spread = np.zeros(1) if stack is None else stack.project(params[:, self._first :])
        return np.column_stack(
            [averaged_sigmoid(sign * latent, spread, self.averaging).mean(axis=0) for sign in (-1, 1)]
        )

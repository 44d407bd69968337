r"""Gaussian process classification: classes whose boundary has no fixed shape.

    P(t = 1 | x) = g(f(x)),   f ~ GP(0, k)

for two classes, with g the logistic function or the probit, and softmax of one f for each of more
classes. The posterior of f is not normal; Laplace's method (`statml.gp.laplace`, `softmax_laplace`)
or expectation propagation (`expectation_propagation`) puts a normal in its place, whose evidence
chooses the hyperparameters of the kernel. A probability is the average of g over what f may be, not
g of the most probable f, so it goes to one half where nothing is known.

Source: Rasmussen & Williams (2006), ch. 3 and 5; Ting, "Statistical Machine Learning for Astronomy"
(arXiv:2506.12230), ch. 15.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from statml.classification.softmax_normal import sampled_softmax
from statml.compute import Device, generator, resolve_device
from statml.errors import InputError, InputTypeError
from statml.gp.class_evidence import BinaryEvidence, Evidence, SoftmaxEvidence, maximise_evidence
from statml.gp.kernels import RBF, Kernel
from statml.gp.latent import LatentPosterior
from statml.gp.links import link_named
from statml.gp.semidefinite import SemidefiniteCovariance
from statml.gp.softmax_laplace import SoftmaxPosterior
from statml.gp.uncertain_features import feature_draws
from statml.uncertainty.contract import DistributionClassifier
from statml.uncertainty.empirical import Categorical
from statml.uncertainty.measurement import feature_covariance, refuse_arguments
from statml.uncertainty.parametric import Gaussian
from statml.uncertainty.stack import CovarianceStack

Array = np.ndarray
# Covariances between training points and new ones held at once.
_CHUNK = 8_000_000


class GaussianProcessClassifier(DistributionClassifier):
    """Classes with a Gaussian process behind them.

    Parameters
    ----------
    kernel : Kernel or None
        Of the latent function; of several classes all have the same. None: an `RBF` with one length scale
        that starts at the spread of the features.
    inference : {"laplace", "ep"}
        Laplace's method, or expectation propagation, which takes a few times as long and is closer to
        the truth; it is for two classes.
    link : {"logit", "probit"}
        Of two classes. The latent function is log odds, or in units of a threshold's noise.
    optimise : bool
        Choose the free hyperparameters by the evidence; else take the kernel as it is.
    restarts : int
        Further starts of the search, each hyperparameter up to a factor of ten away.
    device : {"cpu", "cuda", "auto"}
        Where matrices are factorised.
    random_state : int, Generator or None
        Of the restarts.

    Attributes
    ----------
    kernel_ : Kernel
        With the hyperparameters that were used.
    log_evidence_ : float
        Approximate log p(classes | X) there.
    classes_ : array (k,)
    n_iter_ : int
        Newton steps or sweeps of the last approximation.

    See Also
    --------
    statml.classification.BayesianLogisticRegression : a straight boundary, errors of X in `fit`.

    Notes
    -----
    The latent function has mean zero: far from all data the classes are equally probable. Add a
    `Constant` or `Linear` kernel to let them lean one way.

    Laplace's normal sits at the mode of a posterior that is skewed away from zero, so its probabilities
    are too near one half, the more the wider the prior of f; expectation propagation matches means. The
    time grows as n^3 (times the number of classes).

    Hyperparameters are point estimates. Classes that do not overlap set no upper limit to the width
    sigma of the kernel; give one with ``kernel.bounded(sigma=(0.1, 30.0))``.

    Examples
    --------
    >>> import numpy as np
    >>> colour = np.array([[0.2], [0.5], [0.6], [1.2], [1.4], [1.5], [2.1], [2.3]])
    >>> giant = np.array([0, 0, 0, 1, 1, 1, 0, 0])            # between two kinds of dwarf
    >>> model = GaussianProcessClassifier(RBF(0.4, sigma=3.0), optimise=False).fit(colour, giant)
    >>> model.predict_proba([[0.4], [1.35], [9.0]])[:, 1].round(2)
    array([0.16, 0.83, 0.5 ])
    """

    fit_refuses: ClassVar[dict[str, str]] = dict.fromkeys(
        ("X_err", "X_cov"),
        "the latent function is found at exact X; pass the errors of X to predict_dist, or use "
        "BayesianLogisticRegression, which takes them in fit",
    )

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        inference: Literal["laplace", "ep"] = "laplace",
        link: Literal["logit", "probit"] = "logit",
        optimise: bool = True,
        restarts: int = 0,
        device: Device = "cpu",
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.inference = inference
        self.link = link
        self.optimise = optimise
        self.restarts = restarts
        self.device = device
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
    ) -> GaussianProcessClassifier:
        """Find the hyperparameters and the posterior of the latent function.

        Parameters
        ----------
        X : array (n, d)
        y : array (n,)
            Two classes or more, of any type that sorts.
        X_err, X_cov, y_err, y_cov, xy_cov
            Refused; errors of X go to `predict_dist`.

        Returns
        -------
        self

        Raises
        ------
        InputError
            One class, an error argument, or a parameter that is not accepted.

        Warns
        -----
        ConvergenceWarning
            Expectation propagation has not settled.
        """
        self._check_parameters()
        refuse_arguments(self, "fit", self.fit_refuses, X_err=X_err, X_cov=X_cov)
        X, codes = self._training_data(X, y, X_err=X_err, y_err=y_err, y_cov=y_cov, xy_cov=xy_cov)
        kernel = RBF(_spread(X)) if self.kernel is None else self.kernel
        evidence = self._evidence(codes)
        self.X_train_ = X
        rows = self._tensor(X)
        if self.optimise and len(kernel.names) > 0:
            kernel = maximise_evidence(
                kernel, rows, evidence, restarts=int(self.restarts), rng=generator(self.random_state)
            )
        self.kernel_ = kernel
        with torch.no_grad():
            posterior = evidence.posterior(kernel.covariance(rows, None, self._theta()), None)
        if not posterior.converged:
            warnings.warn(
                f"{self.inference} has not settled after {posterior.steps} steps; use inference='laplace', "
                "or a kernel of smaller sigma",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.log_evidence_, self.n_iter_ = posterior.log_evidence, posterior.steps
        # The derivative, a matrix as large as the covariance, was for the search alone.
        self._posterior = replace(posterior, by_covariance=torch.empty(0, 0)).to("cpu")
        return self

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> Categorical:
        """Class probabilities, averaged over the latent function and over the errors of X.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : float, array (n, d) or CovarianceStack, optional
            Errors of X; averaged over quasi-random draws of the true features.
        y_err, y_cov
            Refused: a class has no error.

        Returns
        -------
        Categorical
        """
        X = self._new_data(X, X_err=X_err, y_err=y_err, y_cov=y_cov)
        stack = _errors(X, X_err, X_cov)
        if len(self.classes_) > 2:
            proba = sampled_softmax(*self._scores(X, stack))
            return Categorical(proba, self.classes_)
        link = link_named(self.link)
        draws = X[None] if stack is None else feature_draws(X, stack)
        proba = np.zeros((len(X), 2))
        for rows in draws:
            mean, variance = self._moments(rows)
            # Each class by itself, so that neither small probability is lost in 1 - p.
            proba += np.column_stack([link.average(sign * mean, variance) for sign in (-1, 1)])
        return Categorical(proba / proba.sum(axis=1, keepdims=True), self.classes_)

    def predict_latent_dist(self, X: Any, *, X_err: Any = None, X_cov: Any = None) -> Gaussian:
        """Distribution of the latent function: for the link "logit" the log odds of the second class.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : array (n, d) or CovarianceStack, optional
            Errors of X.

        Returns
        -------
        Gaussian
            With `variance_components` ``parameter`` and ``input``, and for exact X the joint `cov`.

        Raises
        ------
        InputError
            There are more than two classes; `predict_scores` is for those.
        """
        X = self._new_data(X, X_err=X_err)
        if len(self.classes_) > 2:
            raise InputError(
                f"predict_latent_dist is of one function and there are {len(self.classes_)} classes; "
                "use predict_scores"
            )
        stack = _errors(X, X_err, X_cov)
        mean, variance = self._moments(X)
        if stack is None:
            return Gaussian(
                mean,
                np.sqrt(variance),
                variance_components={"parameter": variance},
                cov=SemidefiniteCovariance(variance, lambda: self._joint(X)),
            )
        means, variances = (np.array(part) for part in zip(*map(self._moments, feature_draws(X, stack))))
        parts = {"parameter": variances.mean(axis=0), "input": means.var(axis=0)}
        return Gaussian(
            means.mean(axis=0), np.sqrt(parts["parameter"] + parts["input"]), variance_components=parts
        )

    def predict_scores(self, X: Any, *, X_err: Any = None, X_cov: Any = None) -> tuple[Array, Array]:
        """Latent functions of more than two classes, whose softmax is the probability.

        Parameters
        ----------
        X : array (n, d)
        X_err, X_cov : array (n, d) or CovarianceStack, optional
            Errors of X.

        Returns
        -------
        mean : array (n, k)
        covariance : array (n, k, k)
            Of the classes, row by row.

        Raises
        ------
        InputError
            There are two classes; `predict_latent_dist` is for those.
        """
        X = self._new_data(X, X_err=X_err)
        if len(self.classes_) == 2:
            raise InputError("predict_scores is of three classes and more; use predict_latent_dist for two")
        return self._scores(X, _errors(X, X_err, X_cov))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.inference == "laplace" and self.link == "logit"
        return tags

    # -- parts ---------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        if self.kernel is not None and not isinstance(self.kernel, Kernel):
            raise InputTypeError(
                f"kernel is a {type(self.kernel).__name__}; accepted is a kernel of statml.gp, for example RBF(1.0)"
            )
        if self.inference not in ("laplace", "ep"):
            raise InputError(f"inference is {self.inference!r}; accepted are 'laplace' and 'ep'")
        link_named(self.link)
        if not isinstance(self.restarts, Integral) or self.restarts < 0:
            raise InputError(f"restarts is {self.restarts!r}; accepted are whole numbers >= 0")

    def _evidence(self, codes: Array) -> Evidence:
        k = len(self.classes_)
        if k > 2:
            if self.inference == "ep" or self.link == "probit":
                raise InputError(
                    f"Only binary classification is supported by inference='ep' and link='probit', and y has {k} "
                    "classes; accepted for more are inference='laplace' and link='logit'"
                )
            return SoftmaxEvidence(self._tensor(codes == np.arange(k)[:, None]))
        return BinaryEvidence(
            self._tensor(2.0 * codes - 1), link_named(self.link), propagate=self.inference == "ep"
        )

    @property
    def _place(self) -> str:
        return resolve_device(self.device)

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(np.array(values, float), device=self._place)

    def _theta(self) -> Tensor:
        return self._tensor(self.kernel_.theta)

    def _moments(self, X: Array) -> tuple[Array, Array]:
        """Mean and variance of the latent function, (n,) each; of several (n, k) and (n, k, k)."""
        check_is_fitted(self)
        posterior: LatentPosterior | SoftmaxPosterior = self._posterior.to(self._place)
        train, theta = self._tensor(self.X_train_), self._theta()
        step = max(_CHUNK // (len(train) * max(len(self.classes_) - 1, 1)), 1)
        parts = []
        with torch.no_grad():
            for start in range(0, len(X), step):
                new = self._tensor(X[start : start + step])
                cross = self.kernel_.covariance(train, new, theta)
                moments = posterior.moments(cross, self.kernel_.variance(new, theta))
                parts.append([part.cpu().numpy() for part in moments])
        mean, variance = (np.concatenate(part) for part in zip(*parts))
        return mean, variance

    def _joint(self, X: Array) -> Array:
        """Joint posterior covariance of the latent function, (n, n)."""
        posterior: LatentPosterior = self._posterior.to(self._place)
        theta, new = self._theta(), self._tensor(X)
        with torch.no_grad():
            cross = self.kernel_.covariance(self._tensor(self.X_train_), new, theta)
            joint = posterior.covariance(cross, self.kernel_.covariance(new, None, theta))
        return joint.cpu().numpy()

    def _scores(self, X: Array, stack: CovarianceStack | None) -> tuple[Array, Array]:
        if stack is None:
            return self._moments(X)
        means, covariances = (np.array(part) for part in zip(*map(self._moments, feature_draws(X, stack))))
        mean = means.mean(axis=0)
        gap = means - mean
        return mean, covariances.mean(axis=0) + np.einsum("snc,snd->ncd", gap, gap) / len(gap)


def _errors(X: Array, X_err: Any, X_cov: Any) -> CovarianceStack | None:
    """The errors of X; None where all are zero, which is the exact prediction."""
    stack = feature_covariance(len(X), X.shape[1], X_err, X_cov)
    return None if stack is None or not np.any(stack.trace_with(np.eye(X.shape[1]))) else stack


def _spread(X: Array) -> float:
    """Typical distance of a row from the mean; 1 where all rows are equal."""
    return float(np.sqrt(X.var(axis=0).sum())) or 1.0

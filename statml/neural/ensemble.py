r"""Deep ensembles: the same network from other first weights, and what the networks disagree about.

    p(y | x) = 1/M sum_m p_m(y | x),     Var = mean_m v_m(x)  +  var_m m_m(x)

Each member says how y scatters; where there were no data the members differ, and the variance between
their means joins the ``parameter`` part. It is a spread of solutions that fit equally well, no
posterior: members that share a bias agree on it.

Source: Lakshminarayanan, Pritzel & Blundell (2017), arXiv:1612.01474; arXiv:2506.12230, chapter 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import MetaEstimatorMixin, clone

from statml.compute import generator
from statml.errors import InputError
from statml.uncertainty.contract import DistributionRegressor
from statml.uncertainty.cross_validation import fit_with_errors, predict_dist
from statml.uncertainty.distributions import COMPONENTS, PredictiveDistribution
from statml.uncertainty.mixtures import GaussianMixture, student_as_normals
from statml.uncertainty.parametric import Gaussian, StudentT

Array = np.ndarray


def mixture_of(parts: Sequence[PredictiveDistribution]) -> GaussianMixture:
    """The equal mixture of predictions of the same n rows.

    Parameters
    ----------
    parts : sequence of Gaussian, GaussianMixture or StudentT
        With variance components, to which the variance between their means is added as ``parameter``.

    Raises
    ------
    InputError
        There are none, their numbers of rows differ, or one is of another family.

    Examples
    --------
    >>> both = mixture_of([Gaussian([0.0], [1.0]), Gaussian([2.0], [1.0])])
    >>> both.mean, both.std.round(3)
    (array([1.]), array([1.414]))
    """
    if not parts or len({len(part) for part in parts}) > 1:
        raise InputError(
            f"parts have {[len(p) for p in parts]} rows; accepted are equally many, of one part or more"
        )
    pieces = [_normals(part) for part in parts]
    weights, means, stds = (np.concatenate(group, axis=1) for group in zip(*pieces))
    between = np.var([part.mean for part in parts], axis=0)
    components = None
    if all(part.variance_components for part in parts):
        components = {
            name: np.mean([p.variance_components[name] for p in parts], axis=0) for name in COMPONENTS
        }
        components["parameter"] = components["parameter"] + between
    return GaussianMixture(weights / len(parts), means, stds, variance_components=components)


def _normals(part: PredictiveDistribution) -> tuple[Array, Array, Array]:
    """Weights, means and standard deviations, each (n, K)."""
    if isinstance(part, GaussianMixture):
        return part.weights, part.means, part.stds
    if isinstance(part, Gaussian):
        return np.ones((len(part), 1)), part.mean[:, None], part.std[:, None]
    if isinstance(part, StudentT) and len(part) and np.ptp(part.df) == 0:
        weights, precisions = student_as_normals(float(part.df[0]))
        stds = part.scale[:, None] / np.sqrt(precisions)
        return np.broadcast_to(weights, stds.shape), np.broadcast_to(part.loc[:, None], stds.shape), stds
    raise InputError(
        f"a member predicts a {type(part).__name__}; accepted are Gaussian, GaussianMixture and StudentT of one df"
    )


class DeepEnsemble(MetaEstimatorMixin, DistributionRegressor):
    """Copies of a regressor with other random numbers, and the mixture of what they predict.

    Parameters
    ----------
    estimator : DistributionRegressor, or a pipeline that ends in one
        Whose answer depends on its `random_state`, as a network's does.
    members : int
        Copies; five are enough for a mixture, the variance between them is known to about a factor of two then.
    random_state : int, Generator or None
        Seeds the members.

    Attributes
    ----------
    members_ : list of estimators

    Notes
    -----
    Fitting passes all error arguments on; what the estimator refuses is refused.

    Examples
    --------
    >>> from statml.neural import MLPRegressor, Training
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (300, 1))
    >>> y = X[:, 0] ** 2 + 0.1 * rng.normal(size=300)
    >>> network = MLPRegressor((32,), training=Training(epochs=50, learning_rate=0.01))
    >>> ensemble = DeepEnsemble(network, members=3, random_state=0).fit(X, y)
    >>> inside, outside = ensemble.predict_dist([[0.0], [3.0]]).variance_components["parameter"]
    >>> bool(outside > 10 * inside)
    True
    """

    def __init__(self, estimator: Any, *, members: int = 5, random_state: Any = None) -> None:
        self.estimator = estimator
        self.members = members
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
    ) -> DeepEnsemble:
        """Fit the members, each with a seed of its own; arguments as in the estimator.

        Raises
        ------
        InputError
            `members` is not an int >= 2, or what the estimator raises.
        """
        if not isinstance(self.members, int | np.integer) or self.members < 2:
            raise InputError(f"members is {self.members!r}; accepted is an int >= 2")
        X, y = self._training_data(X, y, X_err=X_err, y_err=y_err)
        given = {"X_err": X_err, "X_cov": X_cov, "y_err": y_err, "y_cov": y_cov, "xy_cov": xy_cov}
        errors = {name: value for name, value in given.items() if value is not None}
        rng = generator(self.random_state)
        self.members_ = []
        for _ in range(self.members):
            member = clone(self.estimator)
            seeds = [name for name in member.get_params() if name.split("__")[-1] == "random_state"]
            member.set_params(**{name: int(rng.integers(2**31)) for name in seeds})
            self.members_.append(fit_with_errors(member, X, y, errors))
        return self

    def predict_dist(
        self, X: Any, *, X_err: Any = None, X_cov: Any = None, y_err: Any = None, y_cov: Any = None
    ) -> GaussianMixture:
        """The mixture of the members' predictions; arguments as in the estimator."""
        X = self._new_data(X, X_err=X_err, y_err=y_err)
        errors = {"X_err": X_err, "X_cov": X_cov, "y_err": y_err, "y_cov": y_cov}
        return mixture_of([predict_dist(member, X, **errors) for member in self.members_])

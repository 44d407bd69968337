"""A mixture of normals fitted to exact, possibly incomplete rows.

    p(x) = sum_j weights_j N(x; m_j, V_j)

Source: Ting, "Statistical Machine Learning for Astronomy" (arXiv:2506.12230), chapter 11.
"""

from __future__ import annotations

from typing import Any, Self

from statml.mixture.density import NormalMixture
from statml.uncertainty.measurement import refuse_arguments, refuse_quantities


class GaussianMixture(NormalMixture):
    """K normals with full covariances, by EM; missing values are integrated out exactly.

    This is an estimator of a density; `statml.uncertainty.GaussianMixture` is a *prediction*
    made of one-dimensional normals, and what `conditional` answers with.

    Parameters
    ----------
    n_components : int, default 1
    n_init : int, default 4
        Starts, by turns clusters of k-means++ and random rows with the covariance of all; the
        highest log posterior wins.
    prior_strength : float, default 1
        Pseudo-objects of covariance `prior_scale` added to each component, so that none can
        collapse. 0 is maximum likelihood, which has no maximum for K > 1: starts that collapse are
        left out with a warning, and if all do, `fit` raises.
    prior_scale : array (d,) or (d, d), optional
        Variances or covariance V0 of the pseudo-objects; by default the covariance of all data over
        K^(2/d).
    split_merge : int, default 0
        Moves to try after each start: merge two components, split a third; kept where the log
        posterior rises.
    max_iter, tol : int, float
        EM stops when a step gains less than `tol` in log posterior for each row, or after `max_iter`
        evaluations.
    accelerate : bool, default True
        Extrapolate pairs of steps near the maximum; kept only where higher. False is plain EM.
    weights_init, means_init, covariances_init : arrays (K,), (K, d), (K, d, d), optional
        One start, given whole, instead of `n_init` random ones.
    random_state : None, int or Generator

    Attributes
    ----------
    weights_, means_, covariances_ : arrays (K,), (K, d), (K, d, d)
        Heaviest component first.
    log_likelihood_, log_posterior_ : float
        At the maximum; the log prior is 0 where every covariance is V0.
    history_ : array (n_iter_ + 1,)
        Log posterior at the start and after each step; it never falls.
    starts_ : array
        Log posterior every start reached, NaN where one collapsed.
    prior_ : CovariancePrior
    n_iter_, converged_ : int, bool

    Notes
    -----
    NaN in X is integrated out, which is right where values are missing at random (given
    what was measured). Rows with errors: `ExtremeDeconvolution`.

    References
    ----------
    Dempster, Laird & Rubin (1977); Fraley & Raftery (2007) for the prior.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(5, 1, (100, 2))])
    >>> X[::7, 1] = np.nan
    >>> model = GaussianMixture(2, random_state=0).fit(X)
    >>> model.weights_.round(2).tolist()
    [0.75, 0.25]
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        n_init: int = 4,
        prior_strength: float = 1.0,
        prior_scale: Any = None,
        split_merge: int = 0,
        max_iter: int = 1000,
        tol: float = 1e-6,
        accelerate: bool = True,
        weights_init: Any = None,
        means_init: Any = None,
        covariances_init: Any = None,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.n_init = n_init
        self.prior_strength = prior_strength
        self.prior_scale = prior_scale
        self.split_merge = split_merge
        self.max_iter = max_iter
        self.tol = tol
        self.accelerate = accelerate
        self.weights_init = weights_init
        self.means_init = means_init
        self.covariances_init = covariances_init
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any = None, *, X_err: Any = None, X_cov: Any = None, sample_weight: Any = None
    ) -> Self:
        """Find the maximum of the log posterior.

        Parameters
        ----------
        X : array (n, d), NaN where not measured
        y : ignored
        X_err, X_cov : refused
            `ExtremeDeconvolution` takes errors.
        sample_weight : array (n,), optional
            A row of weight two counts as two rows.

        Raises
        ------
        InputError
            A parameter is out of range, there are too few rows, or every start collapsed.
        """
        alternative = "statml.mixture.ExtremeDeconvolution takes errors of X"
        refuse_arguments(self, "fit", {"X_err": alternative, "X_cov": alternative}, X_err=X_err, X_cov=X_cov)
        refuse_quantities(X=X)
        self._fit(X, None, None, None, sample_weight)
        return self

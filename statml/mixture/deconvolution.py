"""Extreme deconvolution: the mixture behind rows that are each noisy in their own way.

    w_i = R_i v_i + noise_i,     noise_i ~ N(0, S_i),     v_i ~ sum_j weights_j N(m_j, V_j)

so that w_i has density sum_j weights_j N(w_i; R_i m_j, R_i V_j R_i^T + S_i). What is fitted is
the distribution of the *true* values v.
Source: Bovy, Hogg & Roweis (2011, Ann. Appl. Stat. 5, 1657; arXiv:0905.2979).
"""

from __future__ import annotations

from typing import Any, Self

from statml.compute import Device
from statml.mixture.density import NormalMixture
from statml.uncertainty.measurement import refuse_quantities


class ExtremeDeconvolution(NormalMixture):
    """A mixture of normals from noisy, incomplete or projected rows.

    Parameters
    ----------
    n_components : int, default 1
    n_init : int, default 1
        Starts, by turns clusters of k-means++ (on each row's true value under a single normal) and
        random rows with the covariance of all.
    prior_strength, prior_scale, split_merge, max_iter, tol, accelerate
        As for `GaussianMixture`; `prior_scale` is a covariance of true values.
    weights_init, means_init, covariances_init : arrays (K,), (K, d), (K, d, d), optional
        One start, given whole.
    random_state : None, int or Generator
    device : {"cpu", "cuda", "auto"}, default "cpu"
        Where the small matrices of rows with errors are factorised.

    Attributes
    ----------
    weights_, means_, covariances_ : arrays (K,), (K, d), (K, d, d)
        Of the true values; heaviest component first.
    log_likelihood_, log_posterior_, history_, starts_, prior_, n_iter_, converged_
        As for `GaussianMixture`; the likelihood is that of the measured values.

    Notes
    -----
    With errors of zero this is `GaussianMixture`. A wrong `X_err` is not noticed: errors
    stated too small leave their excess in the covariances, errors stated too large take it out of them.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(4)
    >>> err = rng.uniform(0.5, 2.0, (2000, 1))
    >>> X = rng.normal(3.0, 1.0, (2000, 1)) + err * rng.normal(size=(2000, 1))
    >>> model = ExtremeDeconvolution(1).fit(X, X_err=err)
    >>> round(float(X.var()), 1), round(float(model.covariances_[0, 0, 0]), 1)  # noisy, true
    (2.8, 1.0)
    """

    def __init__(
        self,
        n_components: int = 1,
        *,
        n_init: int = 1,
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
        device: Device = "cpu",
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
        self.device = device

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_err: Any = None,
        X_cov: Any = None,
        projection: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Find the maximum of the log posterior.

        Parameters
        ----------
        X : array (n, m), NaN where not measured
            m is the number of features d unless there is a projection.
        y : ignored
        X_err : float or array (n, m), optional
            Standard deviations. Infinite: not measured; zero: exact.
        X_cov : CovarianceStack, optional
            (n, m, m), instead of `X_err`.
        projection : array (m, d) or (n, m, d), optional
            R_i, what is measured of the d features.
        sample_weight : array (n,), optional

        Raises
        ------
        InputError
            Arguments do not fit each other, there are too few rows, or every start collapsed.
        """
        refuse_quantities(X=X)
        self._fit(X, X_err, X_cov, projection, sample_weight)
        return self

"""Student-t regression beside statsmodels' TLinearModel: one likelihood, so one answer."""

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from statsmodels.miscmodels.tmodel import TLinearModel

from statml.regression import RobustRegression


@pytest.mark.parametrize("nu", [2.5, 4.0, 12.0])
def test_fitted_degrees_of_freedom_and_scale(nu):
    rng = np.random.default_rng(int(10 * nu))
    X = rng.normal(size=(1000, 3)) * [1.0, 10.0, 0.1]
    y = 1 + X @ [1.0, -0.2, 5.0] + 0.5 * rng.standard_t(nu, 1000)
    ours = RobustRegression(random_state=0).fit(X, y)
    A = sm.add_constant(X)
    start = np.r_[sm.OLS(y, A).fit().params, 5.0, np.std(y)]
    theirs = TLinearModel(y, A).fit(start_params=start, method="bfgs", maxiter=500, disp=0)
    assert_allclose(ours.log_likelihood_, theirs.llf, atol=1e-6)
    assert ours.log_likelihood_ >= theirs.llf - 1e-9
    errors = theirs.bse[:4]
    # Its gradient and Hessian are numerical differences.
    assert np.all(np.abs(ours.params_ - theirs.params[:4]) < 1e-3 * errors)
    assert_allclose([ours.df_, ours.scatter_], theirs.params[4:], rtol=1e-3)
    assert_allclose(np.sqrt(np.diag(ours.params_cov_)), errors, rtol=1e-4)

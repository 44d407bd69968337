"""The same model in PyMC: densities that agree exactly, draws that agree within their errors."""

import sys
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from statml.errors import InputError, MissingExtraError
from statml.regression import ErrorsInVariables, Kelly, KellyPrior
from statml.sampling.diagnostics import mcse

pytest.importorskip("pymc")


def fit(d=1, k=1, seed=0, n=25, limits=False, prior=None, **settings):
    rng = np.random.default_rng(seed)
    xi = rng.normal(0, 1.5, (n, d))
    sx, sy = rng.uniform(0.4, 0.8, (n, d)), rng.uniform(0.3, 0.6, n)
    z = rng.normal(size=(n, d + 1))
    y = 1 + xi @ [2.0, -1.0][:d] + 0.5 * rng.normal(size=n) + sy * (0.5 * z[:, 0] + np.sqrt(0.75) * z[:, -1])
    xy_cov = np.zeros((n, d))
    xy_cov[:, 0] = 0.5 * sx[:, 0] * sy
    upper = (y < -1.5) & limits
    prior = prior or KellyPrior(line_mean=np.ones(d + 1), line_cov=np.eye(d + 1) * 2)
    method = Kelly(k, prior=prior, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return ErrorsInVariables(method, random_state=1).fit(
            xi + sx * z[:, :d], y, X_err=sx, y_err=sy, xy_cov=xy_cov, y_upper_limit=upper
        )


def largest_gap(line, model, **settings):
    """Differences of posterior means of params and scatter in units of their joint Monte Carlo error."""
    import pymc as pm

    with model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trace = pm.sample(chains=2, cores=1, random_seed=3, progressbar=False, **settings)
    gaps = []
    for name in ("params", "scatter"):
        theirs, ours = trace.posterior[name].values, line.posterior_[name]
        gap = np.abs(theirs.mean(axis=(0, 1)) - ours.mean(axis=(0, 1)))
        gaps.append(np.max(gap / np.hypot(mcse(theirs), mcse(ours))))
    return max(gaps)


@pytest.fixture(scope="module")
def small():
    return fit(limits=True, warmup=300, draws=1500)


def test_nuts_agrees(small):
    """Posterior means within 4 joint Monte Carlo errors; correlated errors and upper limits."""
    assert np.any(small._line.rows.upper)
    assert largest_gap(small, small.to_pymc(), tune=500, draws=800) < 4


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("d", "k", "marginal"), [(1, 2, True), (1, 2, False), (2, 1, True), (2, 2, True), (2, 1, False)]
)
def test_nuts_agrees_in_both_formulations(d, k, marginal):
    line = fit(d, k, n=40, warmup=500, draws=3000)
    assert largest_gap(line, line.to_pymc(marginal=marginal), tune=1000, draws=1500, target_accept=0.95) < 4.5


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nuts_agrees_with_the_default_prior():
    line = fit(prior=KellyPrior(), n=60, warmup=500, draws=3000)
    assert largest_gap(line, line.to_pymc(), tune=1000, draws=1500) < 4.5


def test_latent_form_needs_errors_of_x():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        line = ErrorsInVariables(Kelly(1, draws=20, warmup=20), random_state=0).fit(X, X[:, 0], y_err=0.1)
    with pytest.raises(InputError, match="accepted here is marginal=True"):
        line.to_pymc(marginal=False)
    with pytest.raises(InputError, match="marginal is 1; accepted are True and False"):
        line.to_pymc(marginal=1)


def test_inference_data_holds_the_draws(small):
    data = small.to_inference_data()
    assert np.array_equal(data.posterior["params"].values, small.posterior_["params"])
    assert {"scatter", "weights", "centers", "covs", "xi_mean", "xi_cov"} <= set(data.posterior)


def test_convergence_is_as_arviz_reports_it(small):
    import arviz as az

    data = small.to_inference_data()
    assert np.allclose(small.rhat_["params"], az.rhat(data)["params"].values, rtol=1e-10)
    assert np.allclose(small.ess_["params"], az.ess(data)["params"].values, rtol=1e-10)


@pytest.mark.parametrize(("module", "call"), [("pymc", "to_pymc"), ("arviz", "to_inference_data")])
def test_a_missing_extra_is_named(small, monkeypatch, module, call):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=f"needs {module}: pip install 'statml\\[bayes\\]'"):
        getattr(small, call)()

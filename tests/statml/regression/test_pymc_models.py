"""PyMC counterparts of the linear Bayesian models: NUTS agrees with the closed forms.

Agreement means within 4 Monte Carlo standard errors of mean and standard deviation,
for each parameter (chance of a false alarm below 1e-3 for a model of four numbers).
"""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special

from statml.errors import InputError, MissingExtraError
from statml.regression import BayesianLinearRegression, NormalInverseGammaRegression
from statml.uncertainty import Covariance

RNG = np.random.default_rng(0)
N = 30
X = RNG.normal(size=(N, 2))
ERR = RNG.uniform(0.3, 1.0, N)
Y = 1 + X @ [2.0, -1.0] + np.hypot(ERR, 0.4) * RNG.normal(size=N)
PLATES = Covariance.low_rank(ERR**2, 0.3 * np.kron(np.eye(3), np.ones((10, 1))))


def sample(model, *, draws=1000, tune=500):
    pm = pytest.importorskip("pymc")
    with model:
        return pm.sample(
            draws, tune=tune, chains=2, cores=1, random_seed=1, progressbar=False, target_accept=0.9
        )


def mean_and_error(draws):
    """Mean over chains and draws of each parameter, (k,), and its Monte Carlo standard error."""
    az = pytest.importorskip("arviz")
    draws = np.asarray(draws)
    draws = draws[..., None] if draws.ndim == 2 else draws
    ess = np.array([az.ess(draws[..., k], method="mean") for k in range(draws.shape[2])])
    return draws.mean(axis=(0, 1)), draws.std(axis=(0, 1)) / np.sqrt(ess)


def agrees(trace, name, mean, std):
    draws = np.asarray(trace.posterior[name])
    found, error = mean_and_error(draws)
    assert np.all(np.abs(found - mean) < 4 * error), (found - mean) / error
    squares, error = mean_and_error((draws - found.reshape(draws.shape[2:])) ** 2)
    assert np.all(np.abs(squares - np.square(std)) < 4 * error), (squares - np.square(std)) / error


def test_nuts_agrees_with_the_normal_posterior():
    model = BayesianLinearRegression(prior_cov=2.0, scatter=0.4).fit(X, Y, y_err=ERR)
    trace = sample(model.to_pymc())
    agrees(trace, "params", model.params_, np.sqrt(np.diag(model.params_cov_)))


@pytest.mark.slow
@pytest.mark.parametrize("errors", [{"y_cov": PLATES}, {}], ids=["correlated", "none"])
def test_nuts_agrees_with_the_normal_posterior_of_other_errors(errors):
    model = BayesianLinearRegression(prior_cov=2.0, scatter=0.4).fit(X, Y, **errors)
    agrees(sample(model.to_pymc()), "params", model.params_, np.sqrt(np.diag(model.params_cov_)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "errors", [{"y_err": ERR}, {"y_cov": PLATES}, {}], ids=["y_err", "correlated", "none"]
)
def test_nuts_agrees_with_normal_inverse_gamma(errors):
    settings = {"prior_cov": 4.0, "noise_df": 3.0, "noise_scale": 0.8}
    model = NormalInverseGammaRegression(**settings).fit(X, Y, **errors)
    trace = sample(model.to_pymc(), draws=3000, tune=1000)
    agrees(trace, "params", model.params_, np.sqrt(np.diag(model.params_cov_)))
    noise = model.noise_posterior()
    agrees(trace, "noise_variance", noise.mean(), noise.std())


@pytest.mark.slow
def test_nuts_agrees_with_the_evidence_averaged_over_the_scatter():
    """A fitted scatter is free in PyMC; the closed form of each scatter, weighted by its evidence, is the answer."""
    model = BayesianLinearRegression(prior_cov=2.0).fit(X, Y, y_err=ERR)
    trace = sample(model.to_pymc(), draws=4000, tune=1000)
    grid = np.linspace(1e-4, 4.0, 800)
    fits = [BayesianLinearRegression(prior_cov=2.0, scatter=s).fit(X, Y, y_err=ERR) for s in grid]
    weight = special.softmax([fit.log_evidence_ for fit in fits])
    mean = weight @ [fit.params_ for fit in fits]
    second = weight @ [np.diag(fit.params_cov_) + fit.params_**2 for fit in fits]
    agrees(trace, "params", mean, np.sqrt(second - mean**2))
    s_mean = weight @ grid
    agrees(trace, "scatter", s_mean, np.sqrt(weight @ grid**2 - s_mean**2))


@pytest.mark.slow
def test_student_scatter_with_latent_and_with_direct_density():
    """Errors of y of almost zero: the latent precisions must give what the t density gives."""
    direct = BayesianLinearRegression(prior_cov=4.0, tails="student_t").fit(X, Y)
    latent = BayesianLinearRegression(prior_cov=4.0, tails="student_t").fit(X, Y, y_err=1e-3)
    assert "precision" in latent.to_pymc().named_vars
    one, two = (sample(m.to_pymc(), draws=2000, tune=1000).posterior["params"] for m in (direct, latent))
    (mean, error), (other, other_error) = mean_and_error(one), mean_and_error(two)
    assert np.all(np.abs(mean - other) < 4 * np.hypot(error, other_error))
    # The Laplace approximation of ours, without the uncertainty of scatter and tails, is close to it.
    assert_allclose(mean, direct.params_, atol=0.3 * direct.coef_err_.min())


def test_names_and_data():
    pytest.importorskip("pymc")
    fixed = (
        BayesianLinearRegression(prior_cov=2.0, scatter=0.4).fit(X, Y, y_err=np.r_[np.inf, ERR[1:]]).to_pymc()
    )
    assert {"params", "y"} <= set(fixed.named_vars) and "scatter" not in fixed.named_vars
    assert fixed["y"].eval().shape == (N - 1,)
    fitted = BayesianLinearRegression().fit(X, Y, y_err=ERR).to_pymc()
    assert {"params", "scatter", "y"} <= set(fitted.named_vars)
    conjugate = NormalInverseGammaRegression().fit(X, Y, y_err=ERR).to_pymc()
    assert {"params", "noise_variance", "y"} <= set(conjugate.named_vars)


def test_what_cannot_be_translated():
    with pytest.raises(InputError, match="scatter_model is 'features'"):
        BayesianLinearRegression(scatter_model="features").fit(X, Y).to_pymc()


@pytest.mark.parametrize("model", [BayesianLinearRegression(), NormalInverseGammaRegression()])
def test_missing_pymc_names_the_extra(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "pymc", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'statml\[bayes\]'"):
        model.fit(X, Y).to_pymc()

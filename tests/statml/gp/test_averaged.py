"""Averages over hyperparameters: beside quadrature, equal to one point where there is nothing to average, and covered."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.errors import InputError, InputTypeError
from statml.gp import DRW, RBF, AveragedGP, GaussianProcessRegressor, SparseGaussianProcess, StateSpaceGP
from statml.uncertainty import cross_predict_dist

RNG = np.random.default_rng(5)
X = RNG.uniform(0, 10, 12)[:, None]
Y = np.sin(X[:, 0]) + 0.2 * RNG.normal(size=12)
ERR = RNG.uniform(0.1, 0.3, 12)
NEW = np.array([[2.0], [5.0], [20.0]])
# One free hyperparameter: a fit of some milliseconds.
QUICK = GaussianProcessRegressor(RBF(2.0).fixed("sigma"), scatter=0.1, restarts=0)


@pytest.mark.parametrize("free", ["length", "scatter"])
def test_draws_are_those_of_the_posterior_by_quadrature(free):
    """One hyperparameter on a grid, with the density that the documentation names."""
    logs = np.linspace(-8, 4, 61)
    if free == "length":
        one = GaussianProcessRegressor(RBF(2.0).fixed("sigma"), scatter=0.1, restarts=0)
        models = [fixed(RBF(np.exp(log)), 0.1) for log in logs]
        prior = stats.norm.logpdf(logs, np.log(2.0), np.log(10.0))
    else:
        one = GaussianProcessRegressor(RBF(2.0).fixed(), restarts=0)
        models = [fixed(RBF(2.0), np.exp(log)) for log in logs]
        prior = stats.halfnorm.logpdf(np.exp(logs), scale=np.std(Y)) + logs
    models = [model.fit(X, Y, y_err=ERR) for model in models]
    density = prior + [model.log_evidence_ for model in models]
    weight = np.exp(density - density.max())
    weight /= weight.sum()
    average = AveragedGP(one, draws=64, random_state=0).fit(X, Y, y_err=ERR)
    drawn = [np.log(m.kernel_.length_scale if free == "length" else m.scatter_) for m in average.members_]
    sd = np.sqrt(weight @ (logs - weight @ logs) ** 2)
    # Four standard errors of 64 draws, which are more even than independent ones.
    assert abs(np.mean(drawn) - weight @ logs) < 0.5 * sd
    found, p = [model.predict_dist(NEW) for model in models], average.predict_dist(NEW)
    for y in (-1.0, 0.0, 0.5):
        exact = weight @ [one.cdf(np.full(3, y)) for one in found]
        assert_allclose(p.cdf(np.full(3, y)), exact, atol=0.03)
    assert average.effective_draws_ > 100


def fixed(kernel, scatter):
    return GaussianProcessRegressor(kernel, scatter=scatter, optimise=False)


def test_nothing_is_added_where_data_tell_all():
    """Many rows for one hyperparameter: the prediction of largest evidence, with a variance a little larger."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 30, 150))[:, None]
    y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=150)
    one = GaussianProcessRegressor(RBF(1.0).fixed("sigma"), scatter=0.1, restarts=0)
    few = AveragedGP(one, draws=8, random_state=0).fit(x, y)
    p, q = one.fit(x, y).predict_dist(x), few.predict_dist(x)
    assert np.max(np.abs(p.mean - q.mean) / p.std) < 0.1
    assert_allclose(q.std, p.std, rtol=0.05)
    parts = q.variance_components
    assert_allclose(sum(parts.values()), q.std**2, rtol=1e-12)
    assert np.all(
        parts["parameter"]
        >= np.mean([m.predict_dist(x).variance_components["parameter"] for m in few.members_], axis=0)
    )


def test_light_curves_pickles_clones_and_seeds():
    model = AveragedGP(StateSpaceGP(DRW(1.0, 2.0), scatter=0.0, restarts=0), draws=4, random_state=3)
    p = model.fit(X, Y, y_err=ERR).predict_dist(NEW, y_err=0.1)
    same = clone(model).fit(X, Y, y_err=ERR)
    assert_allclose(same.predict_dist(NEW, y_err=0.1).std, p.std, rtol=1e-12)
    assert_allclose(pickle.loads(pickle.dumps(model)).predict_dist(NEW, y_err=0.1).std, p.std, rtol=1e-12)
    assert len(model.members_) == 4 and model.scatter_ == 0.0
    held = cross_predict_dist(AveragedGP(QUICK, draws=2, random_state=0), X, Y, y_err=ERR, cv=2)
    assert len(held) == 12 and np.all(np.isfinite(held.crps(Y)))


WRONG = {
    "no process": ({"estimator": None}, InputTypeError, "estimator is a NoneType"),
    "sparse": (
        {"estimator": SparseGaussianProcess()},
        InputTypeError,
        "estimator is a SparseGaussianProcess",
    ),
    "bands": ({"estimator": StateSpaceGP(DRW(), loadings=np.ones((2, 1)))}, InputError, "loadings"),
    "not optimised": ({"estimator": clone(QUICK).set_params(optimise=False)}, InputError, "optimise=False"),
    "nothing free": ({"estimator": clone(QUICK).set_params(kernel=RBF(2.0).fixed())}, InputError, "no free"),
    "one draw": ({"draws": 1}, InputError, "draws is 1"),
    "factor": ({"factor": 1.0}, InputError, "factor is 1.0"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_input_gets_one_sentence(wrong):
    changed, error, words = WRONG[wrong]
    with pytest.raises(error, match=words):
        AveragedGP(QUICK).set_params(**changed).fit(X, Y, y_err=ERR)


@pytest.mark.slow
@parametrize_with_checks([AveragedGP(QUICK, draws=2, random_state=0)])
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_coverage_from_few_rows():
    """Five held-out points of each of 200 functions, 30 rows each; where one point of largest evidence covers too few.

    Errors are those of the mean over functions; four of them are accepted.
    """
    rng, each = np.random.default_rng(3), {"one": [], "average": []}
    for i in range(200):
        x = rng.uniform(0, 10, 35)
        L = np.linalg.cholesky(RBF(1.5, 1.2)(x) + 1e-10 * np.eye(35))
        err = rng.uniform(0.1, 0.5, 35)
        true_y = L @ rng.normal(size=35) + 0.2 * rng.normal(size=35) + rng.normal(0, 10)
        y = true_y + err * rng.normal(size=35)
        one = GaussianProcessRegressor(RBF(1.0), restarts=0, random_state=0)
        for name, model in (("one", one), ("average", AveragedGP(one, random_state=i))):
            model.fit(x[:30, None], y[:30], y_err=err[:30])
            ranks = model.predict_dist(x[30:, None]).cdf(true_y[30:])
            each[name].append([np.mean(np.abs(ranks - 0.5) < level / 2) for level in (0.68, 0.95)])
    error = np.std(each["average"], axis=0) / np.sqrt(200)
    assert np.all(np.abs(np.mean(each["average"], axis=0) - [0.68, 0.95]) < 4 * error)
    assert np.all(np.mean(each["one"], axis=0) < np.mean(each["average"], axis=0))

"""BayesianLogisticRegression: derivatives, priors, limits, what is refused, and NUTS beside our draws."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize, special

from statml.classification import BayesianLogisticRegression, LogisticRegression
from statml.classification.effective_log_odds import EFFECTIVE, effective, with_slopes
from statml.classification.likelihood import BernoulliRows
from statml.classification.logistic_normal import averaged_sigmoid
from statml.classification.population import NormalPopulation
from statml.errors import InputError, InputTypeError
from statml.uncertainty import CovarianceStack, Gaussian, Samples


def simulated(n=120, d=2, seed=0, err=0.0):
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(n, d))
    slopes = np.linspace(1.5, -1.0, d)
    t = (rng.random(n) < special.expit(0.4 + true @ slopes)).astype(int)
    return true + err * rng.normal(size=(n, d)), t


# The default prior of X is flat, and says so; one test looks at that.
pytestmark = pytest.mark.filterwarnings("ignore:errors make up")

X, Y = simulated()
fixed = BayesianLogisticRegression(prior_precision=0.5, penalise_intercept=True)


# -- the likelihood ------------------------------------------------------------------------


@pytest.mark.parametrize("averaging", ["exact", "probit"])
def test_effective_log_odds(averaging):
    """The average they stand for, and their derivatives, by differences."""
    rng = np.random.default_rng(1)
    mean, variance = 4 * rng.normal(size=200), rng.exponential(3, 200)
    odds = EFFECTIVE[averaging](mean, variance)
    assert_allclose(special.expit(odds.eta), averaged_sigmoid(mean, variance, averaging), atol=1e-13)
    assert_allclose(effective(mean, variance, averaging), odds.eta, rtol=1e-12, atol=1e-12)
    h = 1e-5
    up, down = EFFECTIVE[averaging](mean + h, variance), EFFECTIVE[averaging](mean - h, variance)
    assert_allclose(odds.by_mean, (up.eta - down.eta) / (2 * h), atol=1e-7)
    assert_allclose(odds.by_mean_mean, (up.by_mean - down.by_mean) / (2 * h), atol=1e-7)
    up, down = EFFECTIVE[averaging](mean, variance + h), EFFECTIVE[averaging](mean, variance - h)
    assert_allclose(odds.by_variance, (up.eta - down.eta) / (2 * h), atol=1e-7)
    assert_allclose(odds.by_mean_variance, (up.by_mean - down.by_mean) / (2 * h), atol=1e-7)
    assert_allclose(odds.by_variance_variance, (up.by_variance - down.by_variance) / (2 * h), atol=1e-7)
    eta, by_mean, by_variance = with_slopes(mean, variance, averaging)  # of 16 probits, not 32
    assert_allclose(special.expit(eta), special.expit(odds.eta), atol=2e-7)
    near = np.abs(odds.eta) < 8
    assert_allclose(by_mean[near], odds.by_mean[near], atol=1e-4)
    assert_allclose(by_variance[near], odds.by_variance[near], atol=1e-4)


def test_effective_log_odds_far_out():
    """No tail is lost: finite and increasing up to log odds of 10^4."""
    mean = np.array([-1e4, -300.0, -30.0, 0.0, 30.0, 300.0, 1e4])
    for variance in (0.0, 1.0, 100.0):
        odds = EFFECTIVE["exact"](mean, np.full(7, variance))
        assert np.all(np.isfinite(odds.eta)) and np.all(np.diff(odds.eta) > 0)
        assert np.all(np.isfinite(odds.by_mean)) and np.all(odds.by_mean > 0)


@pytest.mark.parametrize("averaging", ["exact", "probit"])
@pytest.mark.parametrize("errors", ["none", "diagonal", "dense"])
@pytest.mark.parametrize("intercept", [True, False])
def test_derivatives_of_the_likelihood(averaging, errors, intercept):
    rng = np.random.default_rng(2)
    x, t = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    root = 0.5 * rng.normal(size=(40, 3, 3))
    stack = {
        "none": None,
        "diagonal": CovarianceStack.from_std(rng.uniform(0.1, 1, (40, 3))),
        "dense": CovarianceStack.dense(root @ root.transpose(0, 2, 1)),
    }[errors]
    design = np.column_stack([np.ones(40), x]) if intercept else x
    rows = BernoulliRows(design, t, stack, averaging)
    b = rng.normal(size=design.shape[1])
    here = rows.curvature(b)
    gradient = optimize.approx_fprime(b, lambda b: rows.curvature(b).value, 1e-6)
    hessian = optimize.approx_fprime(b, lambda b: rows.curvature(b).gradient, 1e-6)
    assert_allclose(here.gradient, gradient, atol=2e-4)
    assert_allclose(here.observed, -hessian, atol=2e-4)
    assert np.all(np.linalg.eigvalsh(here.expected) > 0)
    many = np.array([b, -b, 0.3 * b])
    values, gradients = rows.with_gradient(many)
    assert_allclose(values, [rows.curvature(point).value for point in many], atol=1e-4)
    assert_allclose(gradients, [rows.curvature(point).gradient for point in many], atol=1e-3)
    assert_allclose(rows.log_likelihood(many), [rows.curvature(point).value for point in many], rtol=1e-12)


# -- priors and evidence -------------------------------------------------------------------


def test_the_mode_is_that_of_the_penalised_likelihood():
    peer = LogisticRegression(alpha=0.5, fit_intercept=False).fit(X, Y)
    model = BayesianLogisticRegression(prior_precision=0.5, fit_intercept=False).fit(X, Y)
    assert_allclose(model.params_, peer.params_, rtol=1e-9)
    assert_allclose(model.params_cov_, peer.params_cov_, rtol=1e-8)


def test_a_weak_prior_is_maximum_likelihood():
    model = BayesianLogisticRegression(prior_precision=1e-10, penalise_intercept=True).fit(X, Y)
    assert_allclose(model.params_, LogisticRegression().fit(X, Y).params_, rtol=1e-8)


def test_ways_to_say_a_prior():
    """A number, the same numbers, and their matrix are one prior; a mixed one moves each parameter its way."""
    number = fixed.fit(X, Y)
    for precision in (np.full(3, 0.5), 0.5 * np.eye(3)):
        model = BayesianLogisticRegression(prior_precision=precision).fit(X, Y)
        assert_allclose(model.params_, number.params_, rtol=1e-9)
        assert_allclose(model.log_evidence_, number.log_evidence_, rtol=1e-12)
        assert_allclose(model.prior_cov_, 2 * np.eye(3), rtol=1e-12)
    tight = BayesianLogisticRegression(prior_precision=[0.5, 1e6, 0.5]).fit(X, Y)
    assert abs(tight.coef_[0]) < 1e-3 < abs(tight.coef_[1])


def test_the_intercept_is_free_at_the_centre_of_the_features():
    """With the intercept free, features far from zero change nothing but the intercept itself."""
    free = BayesianLogisticRegression(prior_precision=0.5)
    near, far = free.fit(X, Y).coef_, free.fit(X + 5000, Y).coef_
    assert_allclose(near, far, rtol=1e-6)
    shifted = BayesianLogisticRegression(prior_precision=0.5, penalise_intercept=True).fit(X + 5000, Y)
    assert not np.allclose(near, shifted.coef_, rtol=0.05)


@pytest.mark.filterwarnings("error")
def test_units_of_any_size_are_no_ill_condition():
    rng = np.random.default_rng(8)
    X = rng.normal(size=(60, 2))
    y = rng.random(60) < 1 / (1 + np.exp(-X[:, 0]))
    plain = BayesianLogisticRegression().fit(X, y).coef_
    for unit in (1e-30, [1e-20, 1e20]):
        assert_allclose(BayesianLogisticRegression().fit(X * unit, y).coef_ * unit, plain, rtol=1e-9)


def test_evidence_does_not_feel_units_and_is_stationary():
    model = BayesianLogisticRegression().fit(X, Y)
    scaled = BayesianLogisticRegression().fit(X * [1000.0, 0.01] + [4000.0, 2.0], Y)
    assert_allclose(scaled.coef_ * [1000.0, 0.01], model.coef_, rtol=1e-3)
    assert_allclose(scaled.log_evidence_, model.log_evidence_, atol=1e-6)
    for factor in (0.8, 1.25):
        width = factor * model.prior_width_ / X.std(axis=0)
        centre = X.mean(axis=0)
        root = np.diag([10.0, *width])
        root[0, 1:] = -width * centre
        precision = np.linalg.inv(root @ root.T)
        other = BayesianLogisticRegression(prior_precision=precision).fit(X, Y)
        assert other.log_evidence_ < model.log_evidence_


def test_evidence_shrinks_what_is_noise():
    rng = np.random.default_rng(4)
    noise, t = rng.normal(size=(150, 6)), rng.integers(0, 2, 150)
    shrunk, free = BayesianLogisticRegression().fit(noise, t), LogisticRegression().fit(noise, t)
    assert np.linalg.norm(shrunk.coef_) < 0.5 * np.linalg.norm(free.coef_)


def test_separated_classes_have_a_posterior():
    x = np.r_[np.linspace(-2, -0.5, 10), np.linspace(0.5, 2, 10)][:, None]
    t = (x[:, 0] > 0).astype(int)
    for precision in ("evidence", 0.1):
        model = BayesianLogisticRegression(prior_precision=precision).fit(x, t)
        assert np.all(np.isfinite(model.params_)) and np.all(np.diag(model.params_cov_) > 0)
        assert 0.01 < model.predict_proba([[-0.2]])[0, 1] < 0.5
    poor = model.check_laplace()
    assert not poor.reliable and "method='mcmc'" in str(poor)


def test_dependent_columns_are_shared_by_the_prior():
    twice = np.column_stack([X, X[:, 0]])
    model = BayesianLogisticRegression(prior_precision=0.5).fit(twice, Y)
    assert_allclose(model.coef_[0], model.coef_[2], rtol=1e-6)


# -- errors of X -----------------------------------------------------------------------------


@pytest.mark.parametrize("input_prior", ["flat", "gaussian"])
def test_errors_of_zero_give_the_ordinary_answer(input_prior):
    model = BayesianLogisticRegression(prior_precision=0.5, input_prior=input_prior)
    plain = model.fit(X, Y).params_
    assert_allclose(model.fit(X, Y, X_err=0.0).params_, plain, rtol=1e-10)
    assert_allclose(model.fit(X, Y, X_err=1e-7).params_, plain, rtol=1e-10)


@pytest.mark.parametrize("averaging", ["exact", "probit"])
def test_errors_as_numbers_arrays_and_matrices(averaging):
    model = BayesianLogisticRegression(prior_precision=0.5, averaging=averaging)
    number = model.fit(X, Y, X_err=0.4).params_
    assert_allclose(model.fit(X, Y, X_err=np.full(X.shape, 0.4)).params_, number, rtol=1e-12)
    dense = CovarianceStack.dense(np.tile(0.16 * np.eye(2), (len(X), 1, 1)))
    assert_allclose(model.fit(X, Y, X_cov=dense).params_, number, rtol=1e-9)
    assert np.linalg.norm(number[1:]) > 1.02 * np.linalg.norm(model.fit(X, Y).params_[1:])


def test_mode_with_errors_is_a_maximum():
    """Newton on a likelihood that is not concave, against BFGS."""
    x, t = simulated(n=200, err=0.8, seed=3)
    model = BayesianLogisticRegression(prior_precision=0.5, penalise_intercept=True).fit(x, t, X_err=0.8)
    posterior = model._posterior
    found = optimize.minimize(lambda b: -posterior.value(b[None])[0], np.zeros(3), tol=1e-10)
    assert_allclose(model.params_, found.x, atol=1e-5)
    hessian = optimize.approx_fprime(
        model.params_, lambda b: -posterior.rows.curvature(b).gradient + 0.5 * b, 1e-6
    )
    assert_allclose(model.params_cov_, np.linalg.inv(hessian), rtol=1e-4)


def test_population_behind_errors():
    """Mean and covariance of the true features from measured ones; exact rows stay where they are."""
    rng = np.random.default_rng(6)
    cov = np.array([[1.0, 0.5], [0.5, 2.0]])
    true = rng.multivariate_normal([3.0, -1.0], cov, 4000)
    err = rng.uniform(0.2, 1.5, true.shape)
    stack = CovarianceStack.from_std(err)
    population = NormalPopulation.of(true + err * rng.normal(size=true.shape), stack)
    assert_allclose(population.mean, [3.0, -1.0], atol=0.1)
    assert_allclose(population.cov, cov, atol=0.15)
    exact = CovarianceStack.from_std(np.zeros((5, 2)))
    centre, left = population.infer(true[:5], exact)
    assert_allclose(centre, true[:5])
    assert_allclose(left.to_dense(), 0, atol=1e-12)
    # One axis at a time: G = T / (T + S), the rest is G S.
    line = NormalPopulation(np.array([1.0]), np.array([[4.0]]))
    centre, left = line.infer(np.array([[6.0]]), CovarianceStack.from_std(np.array([[1.0]])))
    assert_allclose([centre[0, 0], left.to_dense()[0, 0, 0]], [1 + 0.8 * 5, 0.8])


def recovered_slopes(population, simulations, n=1000, seed=0):
    """Mean slopes (truth 2) ignoring the errors, under the flat and under the Gaussian prior, with their errors."""
    rng = np.random.default_rng(seed)
    slopes = np.empty((simulations, 3))
    for i in range(simulations):
        if population == "normal":
            true, err = rng.normal(size=n), rng.uniform(0.3, 0.7, n)
        else:
            true, err = rng.uniform(-4, 4, n), rng.uniform(0.4, 1.0, n)
        t = rng.random(n) < special.expit(0.5 + 2 * true)
        x, errors = (true + err * rng.normal(size=n))[:, None], {"X_err": err[:, None]}
        for j, (settings, given) in enumerate(
            [({}, {}), ({}, errors), ({"input_prior": "gaussian"}, errors)]
        ):
            model = BayesianLogisticRegression(prior_precision=0.01, **settings).fit(x, t, **given)
            slopes[i, j] = model.coef_[0]
    return slopes.mean(axis=0), slopes.std(axis=0) / np.sqrt(simulations)


def check_recovered(population, simulations):
    (ignored, flat, gaussian), error = recovered_slopes(population, simulations)
    right = {"normal": gaussian, "wide": flat}[population]
    assert ignored < 1.6  # attenuated by more than 20 %
    assert abs(right - 2) < 4 * error.max() and error.max() < 0.05
    print(
        f"{population}: ignored {ignored:.3f}, flat {flat:.3f}, gaussian {gaussian:.3f} +- {error.max():.3f}"
    )
    if population == "normal":
        assert flat < 1.7  # dilution, of which a warning tells
    else:
        assert gaussian > 2.1  # a normal population behind uniform features pulls too hard


@pytest.mark.parametrize("population", ["normal", "wide"])
def test_slopes_are_recovered(population):
    check_recovered(population, 50)


@pytest.mark.slow
@pytest.mark.parametrize("population", ["normal", "wide"])
def test_slopes_are_recovered_in_500_simulations(population):
    check_recovered(population, 500)


def test_dilution_is_told():
    x, t = simulated(n=400, err=0.6, seed=5)
    with pytest.warns(UserWarning, match="input_prior='gaussian'"):
        BayesianLogisticRegression().fit(x, t, X_err=0.6)


# -- predictions -----------------------------------------------------------------------------


def test_latent_distribution_and_its_parts():
    model = fixed.fit(X, Y)
    latent = model.predict_latent_dist(X[:10], X_err=0.3)
    assert isinstance(latent, Gaussian)
    design = np.column_stack([np.ones(10), X[:10]])
    assert_allclose(latent.mean, design @ model.params_)
    assert_allclose(
        latent.variance_components["parameter"], np.sum(design @ model.params_cov_ * design, axis=1)
    )
    quadratic = 0.09 * (model.coef_ @ model.coef_ + np.trace(model.coef_cov_))
    assert_allclose(latent.variance_components["input"], quadratic)
    total = np.sum(list(latent.variance_components.values()), axis=0)
    assert_allclose(total, latent.std**2, rtol=1e-12)


def test_draws_and_their_predictions():
    settings = {"prior_precision": 0.5, "penalise_intercept": True, "method": "mcmc", "random_state": 3}
    model = BayesianLogisticRegression(**settings).fit(X, Y)
    assert model.draws_.shape == (4, 1000, 3)
    assert np.all(model.rhat_ < 1.01) and np.all(model.ess_ > 400) and 0.7 < model.acceptance_ < 1
    again = BayesianLogisticRegression(**settings).fit(X, Y)
    assert_allclose(again.draws_, model.draws_, rtol=0)
    flat = model.draws_.reshape(-1, 3)
    assert_allclose(model.params_cov_, np.cov(flat, rowvar=False, ddof=0), rtol=1e-10)
    latent = model.predict_latent_dist(X[:6], X_err=0.3)
    assert isinstance(latent, Samples)
    total = np.sum(list(latent.variance_components.values()), axis=0)
    assert_allclose(total, latent.std**2, rtol=1e-12)
    plain = special.expit(flat @ np.column_stack([np.ones(6), X[:6]]).T).mean(axis=0)
    assert_allclose(model.predict_proba(X[:6])[:, 1], plain, rtol=1e-10)
    laplace = fixed.fit(X, Y)
    for errors in ({}, {"X_err": 0.3}):
        assert_allclose(
            model.predict_dist(X, **errors).proba, laplace.predict_dist(X, **errors).proba, atol=0.02
        )
    restored = pickle.loads(pickle.dumps(model))
    assert_allclose(restored.predict_proba(X), model.predict_proba(X), rtol=0)


def test_class_prior_shifts_the_log_odds_of_both_methods():
    fractions = [0.9, 0.1]
    counts = np.bincount(Y)
    shift = np.log(0.1 / 0.9) - np.log(counts[1] / counts[0])
    for method in ("laplace", "mcmc"):
        settings = {"prior_precision": 0.5, "method": method, "random_state": 0, "draws": 500}
        plain = BayesianLogisticRegression(**settings).fit(X, Y)
        moved = BayesianLogisticRegression(class_prior=fractions, **settings).fit(X, Y)
        gap = moved.predict_latent_dist(X).mean - plain.predict_latent_dist(X).mean
        assert_allclose(gap, shift, rtol=1e-10)
        assert moved.predict_proba(X)[:, 1].mean() < plain.predict_proba(X)[:, 1].mean()


def test_too_few_draws_are_told():
    with pytest.warns(UserWarning, match="raise draws or warmup"):
        BayesianLogisticRegression(method="mcmc", draws=10, warmup=5, random_state=0).fit(X, Y)


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"prior_precision": 0}, ("prior_precision is 0", "LogisticRegression")),
        ({"prior_precision": -1.0}, ("prior_precision is -1.0", "positive number")),
        ({"prior_precision": "gcv"}, ("'gcv'", "'evidence'")),
        ({"prior_precision": [1.0, 2.0]}, ("shape (2,)", "3 positive numbers")),
        ({"prior_precision": [1.0, 2.0, -1.0]}, ("prior_precision", "positive")),
        ({"prior_precision": -np.eye(3)}, ("shape (3, 3)", "positive-definite")),
        ({"prior_precision": {"a": 1}}, ("prior_precision", "accepted")),
        ({"method": "vb"}, ("method is 'vb'", "'laplace'", "'mcmc'")),
        ({"input_prior": "wide"}, ("input_prior is 'wide'", "'flat'", "'gaussian'")),
        ({"averaging": "sum"}, ("averaging is 'sum'", "'exact'", "'probit'")),
        ({"threshold": 2.0}, ("threshold is 2.0",)),
        ({"chains": 1}, ("chains is 1", "2 and more")),
        ({"draws": 2}, ("draws is 2", "4 and more")),
        ({"warmup": -1}, ("warmup is -1", "0 and more")),
    ],
)
def test_wrong_settings(settings, words):
    with pytest.raises(InputError) as caught:
        BayesianLogisticRegression(**settings).fit(X, Y)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_wrong_data():
    with pytest.raises(InputError, match="SoftmaxRegression"):
        BayesianLogisticRegression().fit(X, np.arange(len(X)) % 3)
    with pytest.raises(InputError, match="one class"):
        BayesianLogisticRegression().fit(X, np.ones(len(X)))
    with pytest.raises(InputError, match="y_err"):
        BayesianLogisticRegression().fit(X, Y, y_err=0.1)
    with pytest.raises(InputTypeError, match=r"CovarianceStack\.dense"):
        BayesianLogisticRegression().fit(X, Y, X_cov=np.eye(2))
    with pytest.raises(InputError, match="size is 3"):
        fixed.fit(X, Y).check_laplace(3)


# -- PyMC ------------------------------------------------------------------------------------


def agrees_with_nuts(model, **nuts):
    pymc = pytest.importorskip("pymc")
    arviz = pytest.importorskip("arviz")
    with model.to_pymc():
        trace = pymc.sample(
            random_seed=1, progressbar=False, compute_convergence_checks=False, cores=1, **nuts
        )
    draws = trace.posterior["params"].to_numpy()
    theirs = draws.reshape(-1, draws.shape[-1])
    size = arviz.ess(trace, var_names=["params"])["params"].to_numpy()
    std = theirs.std(axis=0)
    error = std * np.sqrt(1 / size + 1 / model.ess_)
    assert np.all(np.abs(theirs.mean(axis=0) - model.params_) < 4 * error)
    assert np.all(np.abs(std - np.sqrt(np.diag(model.params_cov_))) < 4 * error)


def test_nuts_draws_from_the_same_posterior():
    """20 rows and errors of X: a posterior whose mean lies well off its mode."""
    x, t = simulated(n=20, err=0.5, seed=8)
    model = BayesianLogisticRegression(
        prior_precision=0.3, penalise_intercept=True, method="mcmc", averaging="probit", random_state=0
    ).fit(x, t, X_err=0.5)
    assert np.max(np.abs(model.params_ - model.laplace_.mode) / np.sqrt(np.diag(model.params_cov_))) > 0.1
    agrees_with_nuts(model, draws=1000, tune=500, chains=2)


@pytest.mark.slow
@pytest.mark.parametrize("averaging", ["exact", "probit"])
@pytest.mark.parametrize("err", [0.0, 0.5])
def test_nuts_draws_from_the_same_posterior_with_and_without_errors(averaging, err):
    x, t = simulated(n=60, err=err, seed=9)
    model = BayesianLogisticRegression(
        prior_precision=0.3, method="mcmc", averaging=averaging, draws=2000, random_state=0
    ).fit(x, t, X_err=err or None)
    agrees_with_nuts(model, draws=2000, tune=1000, chains=4)

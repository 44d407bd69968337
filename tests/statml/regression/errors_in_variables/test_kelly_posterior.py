"""Kelly's posterior beside direct integration, dense normals and the limits that are known exactly."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats
from sklearn.exceptions import ConvergenceWarning

from statml.regression import ErrorsInVariables, Kelly, KellyPrior, LinearRegression
from statml.regression.errors_in_variables import gibbs, gibbs_collapsed
from statml.regression.errors_in_variables.gibbs import first_state, sample
from statml.regression.errors_in_variables.gibbs_collapsed import Collapsed, Layout, Rows
from statml.regression.errors_in_variables.kelly_exact import exact_line
from statml.regression.errors_in_variables.kelly_model import Moments, Points
from statml.regression.errors_in_variables.kelly_prior import FullPrior, fill_prior
from statml.sampling.diagnostics import mcse
from statml.uncertainty import CovarianceStack

SHORT = Kelly(n_components=2, warmup=200, draws=250)


def quiet(estimator, *args, **errors):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*args, **errors)


def points_with_errors(n, rho=0.5, seed=0, d=1):
    """x, y and their errors, the errors of x and y correlated: slopes 2, -1, ..."""
    rng = np.random.default_rng(seed)
    slopes = np.array([2.0, -1.0, 0.5])[:d]
    xi = rng.normal(0, 1.5, (n, d))
    factor = np.zeros((n, d + 1, d + 1))
    factor[:, range(d + 1), range(d + 1)] = rng.uniform(0.4, 0.9, (n, d + 1))
    factor[:, d, :d] = rho * factor[:, d, d, None]
    E = factor @ np.swapaxes(factor, 1, 2)
    z = np.column_stack([xi, 1 + xi @ slopes + 0.5 * rng.normal(size=n)])
    z += np.einsum("nij,nj->ni", factor, rng.normal(size=(n, d + 1)))
    return z[:, :d], z[:, d], E


def errors(E):
    d = E.shape[1] - 1
    return {
        "X_cov": CovarianceStack.dense(E[:, :d, :d]),
        "y_err": np.sqrt(E[:, d, d]),
        "xy_cov": E[:, :d, d],
    }


# -- the likelihood ----------------------------------------------------------------------


def test_log_likelihood_is_that_of_dense_normals_and_of_limits():
    rng = np.random.default_rng(1)
    X, y, E = points_with_errors(7, d=2)
    upper = np.array([0, 1, 0, 0, 1, 0, 0], bool)
    weights = np.array([0.3, 0.7])
    mu = rng.normal(size=(2, 2))
    A = rng.normal(size=(2, 2, 2))
    T = A @ np.swapaxes(A, 1, 2) + 0.2 * np.eye(2)
    alpha, beta, sigma2 = 0.4, np.array([1.5, -0.7]), 0.3
    G = np.vstack([np.eye(2), beta])
    expected = 0.0
    for i in range(len(y)):
        density = 0.0
        for k in range(2):
            mean = G @ mu[k] + [0, 0, alpha]
            cov = G @ T[k] @ G.T + np.diag([0, 0, sigma2]) + E[i]
            z = np.append(X[i], y[i])
            if upper[i]:
                inverse = np.linalg.inv(cov[:2, :2])
                at = mean[2] + cov[2, :2] @ inverse @ (X[i] - mean[:2])
                sd = np.sqrt(cov[2, 2] - cov[2, :2] @ inverse @ cov[:2, 2])
                p = stats.multivariate_normal.pdf(X[i], mean[:2], cov[:2, :2])
                density += weights[k] * p * stats.norm.cdf((y[i] - at) / sd)
            else:
                density += weights[k] * stats.multivariate_normal.pdf(z, mean, cov)
        expected += np.log(density)
    points = Points.of(X, y, E[:, :2, :2], E[:, :2, 2], E[:, 2, 2], upper)
    moments = Moments.of(np.array([[alpha, *beta]]), np.array([sigma2]), mu[None], T[None], True)
    assert_allclose(points.log_likelihood(weights[None], moments), expected, rtol=1e-12)


@pytest.mark.parametrize("d", [1, 2])
def test_gradient_and_information_of_the_collapsed_posterior(d):
    """Gradient against differences; information against the mean square of the score over data."""
    rng = np.random.default_rng(2)
    X, y, E = points_with_errors(12, d=d)
    p, k = d + 1, 2
    prior = fill_prior(KellyPrior(line_mean=np.ones(p), line_cov=2 * np.eye(p)), X, y, p)
    layout = Layout(p, d, k, np.array([0.4]))
    labels = rng.integers(k, size=(1, len(y)))
    points = Points.of(X, y, E[:, :d, :d], E[:, :d, d], E[:, d, d], np.zeros(len(y), bool))
    posterior = Collapsed(Rows.of(points, labels, y[None], k), prior, layout, np.full((1, d), 0.7))
    phi = 0.3 * rng.normal(size=(1, layout.shared + k * layout.each))
    phi[:, p] = 0.2
    steps = 1e-5 * np.eye(phi.shape[1])
    numerical = [(posterior.at(phi + h)[0] - posterior.at(phi - h)[0])[0] / 2e-5 for h in steps]
    # The proposal leaves out the prior of sigma, on purpose.
    scatter = [
        gibbs_collapsed.log_scatter_prior(
            layout, prior, phi[:, p] + h, layout.unpack(phi + h * steps[p] / 1e-5)[1]
        )
        for h in (1e-5, -1e-5)
    ]
    numerical[p] -= float((scatter[0] - scatter[1])[0]) / 2e-5
    assert_allclose(posterior.at(phi)[1][0], numerical, rtol=1e-6, atol=1e-6)
    assert np.linalg.eigvalsh(posterior.at(phi)[2])[0, 0] > 0


# -- the sampler -------------------------------------------------------------------------

PRIOR = FullPrior(
    np.array([0.0, 1.0]), np.diag([1.0, 1.0]), 0.5, 3.0, 1.0, np.zeros(1), np.eye(1), np.ones(1), 2.0
)


def draw(points, prior, k, chains=40, draws=300, seed=0):
    rng = np.random.default_rng(seed)
    p = len(prior.line_mean)
    start = np.tile(prior.line_mean, (chains, 1)) + 0.3 * rng.normal(size=(chains, p))
    state = first_state(points, prior, (start, np.full(chains, 0.5)), k, rng)
    return sample(points, prior, state, warmup=150, draws=draws, thin=1, rng=rng)


def brute_force(X, y, E, prior, seed=0, size=1_000_000):
    """Posterior means and variances of (alpha, beta, sigma) by weighting draws from the prior, and their errors."""
    rng = np.random.default_rng(seed)
    theta = prior.line_mean + rng.normal(size=(size, 2)) / np.sqrt(np.diag(prior.line_precision))
    sigma = prior.scatter_scale * np.abs(rng.standard_t(prior.scatter_df, size))
    mu = prior.center[0] + np.sqrt(prior.center_cov[0, 0]) * rng.normal(size=size)
    T = (prior.width[0] * rng.standard_t(prior.width_df, size)) ** 2  # half-t standard deviation
    log_w = np.zeros(size)
    for i in range(len(y)):
        a, b = T + E[i, 0, 0], theta[:, 1] * T + E[i, 0, 1]
        c = theta[:, 1] ** 2 * T + sigma**2 + E[i, 1, 1]
        u, v = X[i, 0] - mu, y[i] - theta[:, 0] - theta[:, 1] * mu
        det = a * c - b**2
        log_w -= 0.5 * (np.log(det) + (c * u**2 - 2 * b * u * v + a * v**2) / det)
    w = np.exp(log_w - log_w.max())
    w /= w.sum()
    values = np.column_stack([theta, sigma])
    mean = w @ values
    square = w @ (values - mean) ** 2
    error = np.sqrt(w**2 @ (values - mean) ** 2)
    square_error = np.sqrt(w**2 @ ((values - mean) ** 2 - square) ** 2)
    return mean, error, square, square_error


@pytest.mark.parametrize("rho", [0.9, pytest.param(-0.9, marks=pytest.mark.slow)])
def test_four_points_with_correlated_errors_as_by_direct_integration(rho):
    """The formula a well-known package had wrong for years; the tolerance is 4.5 errors, 12 comparisons."""
    X = np.array([[-1.0], [0.2], [0.9], [2.0]])
    y = np.array([-0.8, 1.4, 0.9, 3.0])
    sx, sy = np.array([1.6, 1.2, 1.8, 1.4]), np.array([1.4, 1.8, 1.2, 1.6])
    E = np.zeros((4, 2, 2))
    E[:, 0, 0], E[:, 1, 1], E[:, 0, 1] = sx**2, sy**2, rho * sx * sy
    E[:, 1, 0] = E[:, 0, 1]
    mean, error, square, square_error = brute_force(X, y, E, PRIOR)
    found = {}
    for name, factor in (("right", 1.0), ("correlation forgotten", 0.0)):
        points = Points.of(X, y, E[:, :1, :1], factor * E[:, :1, 1], E[:, 1, 1], np.zeros(4, bool))
        draws = draw(points, PRIOR, 1)
        values = np.concatenate([draws.params, draws.scatter[..., None]], axis=2)
        found[name] = values
    values = found["right"]
    ours = values.mean(axis=(0, 1))
    assert np.all(np.abs(ours - mean) < 4.5 * np.hypot(error, mcse(values)))
    squares = (values - mean) ** 2
    assert np.all(np.abs(squares.mean(axis=(0, 1)) - square) < 4.5 * np.hypot(square_error, mcse(squares)))
    wrong = found["correlation forgotten"]
    assert np.max(np.abs(wrong.mean(axis=(0, 1)) - mean) / np.hypot(error, mcse(wrong))) > 8


def test_the_sampler_has_the_exact_posterior_where_x_is_exact():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(15, 1))
    s2 = rng.uniform(0.05, 0.3, 15)
    y = 0.3 + 1.2 * X[:, 0] + np.sqrt(s2 + 0.2) * rng.normal(size=15)
    points = Points.of(X, y, np.zeros((15, 1, 1)), np.zeros((15, 1)), s2, np.zeros(15, bool))
    exact = exact_line(np.column_stack([np.ones(15), X]), y, s2, PRIOR)
    draws = draw(points, PRIOR, 2)
    assert np.all(np.abs(draws.params.mean(axis=(0, 1)) - exact.mean) < 4.5 * mcse(draws.params))
    assert_allclose(np.cov(draws.params.reshape(-1, 2).T), exact.cov, rtol=0.1, atol=2e-3)
    sigma = exact.probability @ exact.sigma
    assert abs(draws.scatter.mean() - sigma) < 4.5 * mcse(draws.scatter)


def test_many_data_sets_at_once_are_as_each_alone():
    """What the simulations of the calibration tests rely on."""
    sets = [points_with_errors(10, seed=seed) for seed in (0, 1)]
    X, y, E = (np.stack([each[i] for each in sets]) for i in range(3))
    repeat = np.repeat(np.arange(2), 20)
    none = np.zeros((40, 10), bool)
    both = Points.of(
        X[repeat], y[repeat], E[repeat][..., :1, :1], E[repeat][..., :1, 1], E[repeat][..., 1, 1], none
    )
    together = draw(both, PRIOR, 2).params.reshape(2, 20, -1, 2)
    for i in range(2):
        alone = Points.of(X[i], y[i], E[i][:, :1, :1], E[i][:, :1, 1], E[i][:, 1, 1], none[0])
        one = draw(alone, PRIOR, 2, seed=1).params
        gap = one.mean(axis=(0, 1)) - together[i].mean(axis=(0, 1))
        assert np.all(np.abs(gap) < 4.5 * np.hypot(mcse(one), mcse(together[i])))


# -- exact X -----------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{"y_err": 0.4}, {}])
@pytest.mark.parametrize("intercept", [True, False])
def test_exact_x_gives_the_ordinary_answer(given, intercept):
    X, y, _ = points_with_errors(40, d=2)
    line = quiet(ErrorsInVariables(SHORT, fit_intercept=intercept, random_state=0), X, y, **given)
    ordinary = LinearRegression(fit_intercept=intercept).fit(X, y)
    assert_allclose(line.params_, ordinary.params_, rtol=1e-10)
    new = np.array([[0.3, -1.0], [4.0, 2.0]])
    assert_allclose(line.predict(new), ordinary.predict(new), rtol=1e-10)


def test_exact_x_integrates_over_the_scatter():
    X, y, _ = points_with_errors(12)
    s2 = np.linspace(0.1, 0.6, 12)
    A = np.column_stack([np.ones(12), X])
    prior = fill_prior(KellyPrior(), X, y, 2)

    def density(log_sigma):
        variance = s2 + np.exp(2 * log_sigma)
        normal = A.T @ (A / variance[:, None])
        theta = np.linalg.solve(normal, A.T @ (y / variance))
        value = np.sum(np.log(variance) + (y - A @ theta) ** 2 / variance) + np.linalg.slogdet(normal)[1]
        return np.exp(-0.5 * value + 10) * stats.halfcauchy.pdf(
            np.exp(log_sigma), scale=prior.scatter_scale
        ) * np.exp(log_sigma), theta

    total = integrate.quad(lambda t: density(t)[0], -15, 6, epsabs=0, epsrel=1e-11, limit=300)[0]
    mean = exact_line(A, y, s2, prior).mean
    for j in range(2):

        def weighted(t, j=j):
            value, theta = density(t)
            return value * theta[j]

        first = integrate.quad(weighted, -15, 6, epsabs=0, epsrel=1e-11, limit=300)[0]
        assert_allclose(mean[j], first / total, rtol=1e-7)


# -- errors of X that vanish for some rows or features ------------------------------------


def test_zero_errors_of_some_rows_and_features_are_the_limit_of_small_ones():
    X, y, _ = points_with_errors(80, rho=0, d=2)
    err = np.zeros((80, 2))
    err[:40, 0] = 0.5
    lines = [
        quiet(ErrorsInVariables(Kelly(2, warmup=200, draws=300), random_state=0), X, y, X_err=each, y_err=0.5)
        for each in (err, np.maximum(err, 1e-6))
    ]
    draws = [line.posterior_["params"] for line in lines]
    gap = draws[0].mean(axis=(0, 1)) - draws[1].mean(axis=(0, 1))
    assert np.all(np.abs(gap) < 4.5 * np.hypot(mcse(draws[0]), mcse(draws[1])))
    assert_allclose(lines[0].coef_err_, lines[1].coef_err_, rtol=0.2)


def test_units_do_not_matter():
    X, y, E = points_with_errors(50)
    one = quiet(ErrorsInVariables(SHORT, random_state=0), X, y, **errors(E))
    far = quiet(
        ErrorsInVariables(SHORT, random_state=0),
        2.45e6 + 1e-3 * X,
        1e9 * y,
        X_cov=CovarianceStack.dense(1e-6 * E[:, :1, :1]),
        y_err=1e9 * np.sqrt(E[:, 1, 1]),
        xy_cov=1e6 * E[:, :1, 1],
    )
    # Rounding of x about 2e6 changes single decisions of the chain, so they agree as two runs do.
    assert_allclose(far.coef_, 1e12 * one.coef_, rtol=0.05)
    assert_allclose(far.scatter_, 1e9 * one.scatter_, rtol=0.25)
    assert_allclose(far.log_likelihood_, one.log_likelihood_ - 50 * np.log(1e6), atol=2)


# -- predictions --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    X, y, E = points_with_errors(200, rho=0.3)
    return quiet(ErrorsInVariables(Kelly(2, warmup=200, draws=300), random_state=0), X, y, **errors(E))


def test_prediction_with_errors_of_x_is_pulled_to_the_population(fitted):
    far = np.array([[4.0]])
    line = fitted.intercept_ + 4 * fitted.coef_[0]
    assert_allclose(fitted.predict_dist(far).mean, line, rtol=1e-10)
    assert_allclose(fitted.predict_dist(far, X_err=0.0).mean, line, rtol=1e-6)
    population = fitted.posterior_["xi_mean"].mean()
    middle = fitted.intercept_ + fitted.coef_[0] * population
    one, wide = (fitted.predict_dist(far, X_err=err) for err in (1.0, 1e4))
    assert middle < one.mean[0] < line
    assert_allclose(wide.mean, middle, atol=0.1)
    # Without information on x the prediction is the spread of y in the population.
    spread = np.sqrt(np.mean(fitted.posterior_["xi_cov"]) * fitted.coef_[0] ** 2 + fitted.scatter_**2)
    assert_allclose(wide.std, spread, rtol=0.05)


def test_variance_components_sum_up_and_mean_what_they_say(fitted):
    new = np.array([[-2.0], [0.0], [3.0]])
    p = fitted.predict_dist(new, X_err=0.7, y_err=[0.1, 0.2, 0.3])
    assert_allclose(sum(p.variance_components.values()), p.std**2, rtol=1e-12)
    assert_allclose(p.variance_components["noise"], [0.01, 0.04, 0.09])
    assert_allclose(p.variance_components["model"], np.mean(fitted.posterior_["scatter"] ** 2), rtol=0.15)
    exact = fitted.predict_dist(new).variance_components
    assert np.all(exact["input"] == 0) and np.all(exact["noise"] == 0)
    A = np.column_stack([np.ones(3), new])
    assert_allclose(exact["parameter"], np.einsum("ij,jk,ik->i", A, fitted.params_cov_, A), rtol=1e-9)


def test_noise_fitted_without_errors_of_y_is_noise():
    X, y, E = points_with_errors(60, rho=0)
    line = quiet(ErrorsInVariables(SHORT, random_state=0), X, y, X_err=np.sqrt(E[:, :1, 0]))
    parts = line.predict_dist(X[:2]).variance_components
    assert np.all(parts["model"] == 0) and np.all(parts["noise"] > 0)


# -- what a user meets ----------------------------------------------------------------------


def test_same_seed_same_answer():
    X, y, E = points_with_errors(30)
    one, two = (
        quiet(ErrorsInVariables(SHORT, random_state=3), X, y, **errors(E)).posterior_["params"]
        for _ in range(2)
    )
    assert np.array_equal(one, two)


def test_short_chains_warn_in_one_sentence():
    X, y, E = points_with_errors(30)
    with pytest.warns(ConvergenceWarning, match="raise draws or warmup"):
        ErrorsInVariables(Kelly(draws=20, warmup=0), random_state=0).fit(X, y, **errors(E))


def test_ctrl_c_keeps_what_was_drawn(monkeypatch):
    X, y, E = points_with_errors(20)
    steps = iter(range(10**6))
    original = gibbs.iterate

    def interrupted(*args, **settings):
        if next(steps) == 120:
            raise KeyboardInterrupt
        return original(*args, **settings)

    monkeypatch.setattr(gibbs, "iterate", interrupted)
    with pytest.warns(ConvergenceWarning, match="the 70 draws of each chain so far are kept"):
        line = ErrorsInVariables(Kelly(warmup=50, draws=500), random_state=0).fit(X, y, **errors(E))
    assert line.posterior_["params"].shape == (4, 70, 2)
    steps = iter(range(10**6))
    with pytest.raises(KeyboardInterrupt):
        ErrorsInVariables(Kelly(warmup=100, draws=500), random_state=0).fit(X, y, **errors(E))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (Kelly(n_components=0), "n_components is 0; accepted are integers >= 1"),
        (Kelly(chains=2), "chains is 2; accepted are integers >= 4"),
        (Kelly(prior=KellyPrior(scatter_scale=-1.0)), "scatter_scale of the prior is -1.0"),
        (Kelly(prior=KellyPrior(line_cov=np.eye(3))), "line_cov of the prior"),
        (Kelly(prior=KellyPrior(line_mean=[0.0, 0.0])), "line_mean is given without line_cov"),
        (Kelly(prior="weak"), "prior is a str; accepted is a KellyPrior"),
    ],
)
def test_settings_that_are_not_accepted(method, words):
    X, y, E = points_with_errors(20)
    with pytest.raises((ValueError, TypeError), match=words):
        ErrorsInVariables(method).fit(X, y, **errors(E))


def test_too_few_rows_and_dependent_features():
    with pytest.raises(ValueError, match="n_samples=2 rows with a measured y are too few"):
        ErrorsInVariables("kelly").fit([[0.0], [1.0]], [0.0, 1.0], X_err=0.1, y_err=0.1)
    X = np.arange(10.0)[:, None] * [1, 2]
    with pytest.raises(ValueError, match="features that depend on each other"):
        quiet(ErrorsInVariables(SHORT), X, np.arange(10.0) ** 2, y_err=0.1)

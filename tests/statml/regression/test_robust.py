"""RobustRegression: derivatives, equivariance, limits, breakdown, what its predictions mean."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import optimize, stats
from sklearn.base import clone

from statml.errors import InputError
from statml.regression import BayesianLinearRegression, LinearRegression, RobustRegression
from statml.regression.likelihood import Rows, maximise
from statml.regression.outlier_mixture import MixtureLikelihood
from statml.regression.student_t import StudentLikelihood
from statml.uncertainty import Covariance, Gaussian, GaussianMixture, calibration_report

METHODS = ("student_t", "mixture")
every_method = pytest.mark.parametrize("method", METHODS)


def simulate(n=80, seed=0, bad=0.15, d=2):
    """A plane with errors of y, and a fraction of outliers 20 above and 10 wide."""
    rng = np.random.default_rng(seed)
    X, err = rng.normal(size=(n, d)), rng.uniform(0.5, 1.5, n)
    y = 1 + X @ np.array([2.0, -1.0])[:d] + err * rng.normal(size=n)
    wrong = np.arange(n) < round(bad * n)
    return X, np.where(wrong, 20 + 10 * rng.normal(size=n), y), err, wrong


# -- the likelihoods ------------------------------------------------------------------------


def likelihoods():
    X, y, err, _ = simulate(30, seed=4)
    A = np.column_stack([np.ones(30), X])
    line = np.array([1.0, 2.0, -1.0])
    with_errors, without = Rows(A, y, err**2), Rows(A, y, np.zeros(30))
    wide = (1e-6, 1e6)
    for rows, name in ((with_errors, "errors"), (without, "none")):
        student = StudentLikelihood(rows, None, None, wide)
        yield pytest.param(student, student.pack(line, 0.7, 4.0), id=f"t {name}")
        mixture = MixtureLikelihood(rows, None, wide, wide)
        yield pytest.param(mixture, mixture.pack(line, 0.2, 15.0, 80.0, 0.7), id=f"mixture {name}")
    fixed = StudentLikelihood(with_errors, 0.3, 5.0, wide)
    yield pytest.param(fixed, fixed.pack(line, 0.3, 5.0), id="t fixed")
    fixed = MixtureLikelihood(with_errors, 0.0, wide, wide)
    yield pytest.param(fixed, fixed.pack(line, 0.2, 15.0, 80.0, 0.0), id="mixture fixed")


@pytest.mark.parametrize(("likelihood", "theta"), list(likelihoods()))
def test_derivatives(likelihood, theta):
    """The gradient against differences of the value, the information against those of the gradient."""
    steps = 1e-6 * np.eye(len(theta))
    slope = [(likelihood.value(theta + h) - likelihood.value(theta - h)) / 2e-6 for h in steps]
    assert_allclose(likelihood.gradient(theta), slope, rtol=1e-5, atol=1e-5)
    curvature = [(likelihood.gradient(theta - h) - likelihood.gradient(theta + h)) / 2e-6 for h in steps]
    assert_allclose(likelihood.information(theta), curvature, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("likelihood", "theta"), list(likelihoods()))
def test_em_never_lowers_the_likelihood_and_newton_ends_at_zero_slope(likelihood, theta):
    values = [likelihood.value(theta)]
    step = theta
    for _ in range(30):
        step = likelihood.inside(likelihood.em_step(step))
        values.append(likelihood.value(step))
    assert np.all(np.diff(values) > -1e-9)
    found = maximise(likelihood, [theta])
    assert found.value >= values[-1] - 1e-9
    assert np.max(np.abs(likelihood.gradient(found.theta)[found.free])) < 1e-6


def test_densities_are_those_of_scipy():
    X, y, err, _ = simulate(20)
    A = np.column_stack([np.ones(20), X])
    line = np.array([1.0, 2.0, -1.0])
    student = StudentLikelihood(Rows(A, y, err**2), 0.4, 4.0, (1e-3, 1e3))
    expected = stats.t.logpdf(y, 4.0, A @ line, np.hypot(err, 0.4))
    assert_allclose(student.terms(A @ line, np.empty(0))[0], expected, rtol=1e-12)
    mixture = MixtureLikelihood(Rows(A, y, err**2), 0.4, (1e-3, 1e3), (1e-3, 1e3))
    good = 0.7 * stats.norm.pdf(y, A @ line, np.hypot(err, 0.4))
    bad = 0.3 * stats.norm.pdf(y, 12.0, np.sqrt(err**2 + 0.4**2 + 50))
    theta = mixture.pack(line, 0.3, 12.0, 50.0, 0.4)
    assert_allclose(mixture.terms(A @ line, theta[3:])[0], np.log(good + bad), rtol=1e-12)
    assert_allclose(mixture.outlier_probability(theta), bad / (good + bad), rtol=1e-10)


@pytest.mark.parametrize("errors", [True, False])
def test_student_t_is_the_maximum_another_optimiser_finds(errors):
    X, y, err, _ = simulate(60, seed=2)
    model = RobustRegression(random_state=0).fit(X, y, **({"y_err": err} if errors else {}))
    A = np.column_stack([np.ones(60), X])

    def loss(theta):
        scale = err if errors else np.exp(theta[4])
        return -np.sum(stats.t.logpdf(y, np.exp(theta[3]), A @ theta[:3], scale))

    start = np.concatenate([LinearRegression().fit(X, y).params_, [1.0], [] if errors else [1.0]])
    found = optimize.minimize(
        loss,
        start,
        method="L-BFGS-B",
        bounds=[(None, None)] * 3 + [(np.log(2.1), np.log(1000.0))] + ([] if errors else [(None, None)]),
    )
    assert model.log_likelihood_ >= -found.fun - 1e-6
    assert_allclose(model.params_, found.x[:3], atol=2e-3)


# -- the same answer in other units ------------------------------------------------------------

numbers = st.floats(-1e3, 1e3, allow_nan=False)
scales = st.floats(-3, 3).map(lambda power: 10.0**power)


@every_method
@pytest.mark.parametrize("errors", [True, False])
@settings(max_examples=15, deadline=None)
@given(shift=numbers, scale=scales, x_scale=scales, x_shift=numbers, tilt=numbers)
def test_equivariance(method, errors, shift, scale, x_scale, x_shift, tilt):
    """y -> scale y + shift + tilt x, x -> x_scale x + x_shift move the line as they should."""
    X, y, err, _ = simulate(40, seed=1, d=1)
    slope_scale = 1.0 if method == "mixture" else tilt  # the place of the outliers does not tilt
    tilt = 0.0 if method == "mixture" else slope_scale
    model = RobustRegression(method=method, random_state=0)
    plain = clone(model).fit(X, y, **({"y_err": err} if errors else {}))
    moved_y = scale * (y + tilt * X[:, 0]) + shift
    moved = clone(model).fit(x_scale * X + x_shift, moved_y, **({"y_err": scale * err} if errors else {}))
    slope = scale * (plain.coef_[0] + tilt) / x_scale
    size = scale * plain.coef_err_[0] / x_scale
    # Digits are lost where a shift hides the values or a tilt the noise.
    assert_allclose(moved.coef_[0], slope, atol=1e-4 * size)
    assert_allclose(moved.coef_err_[0], size, rtol=1e-3)
    assert_allclose(moved.row_weight_, plain.row_weight_, atol=1e-3)


@every_method
def test_order_of_rows_and_seeds_do_not_matter(method):
    X, y, err, _ = simulate()
    order = np.random.default_rng(3).permutation(len(y))
    first = RobustRegression(method=method, random_state=0).fit(X, y, y_err=err)
    second = RobustRegression(method=method, random_state=7).fit(X[order], y[order], y_err=err[order])
    assert_allclose(first.params_, second.params_, rtol=1e-7)
    assert_allclose(first.row_weight_[order], second.row_weight_, atol=1e-7)


# -- limits ---------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("seed", range(5))
def test_without_outliers_it_is_weighted_least_squares(method, seed):
    """Within half an error, and the errors within 15 %."""
    X, y, err, _ = simulate(200, seed=seed, bad=0.0)
    usual = LinearRegression().fit(X, y, y_err=err)
    robust = RobustRegression(method=method, random_state=0).fit(X, y, y_err=err)
    assert np.all(np.abs(robust.params_ - usual.params_) < 0.5 * np.sqrt(np.diag(usual.params_cov_)))
    assert_allclose(robust.coef_err_, usual.coef_err_, rtol=0.15)
    assert np.mean(robust.row_weight_ > 0.5) > 0.95


def test_a_normal_is_the_limit_of_many_degrees_of_freedom():
    X, y, err, _ = simulate(bad=0.0)
    usual = LinearRegression().fit(X, y, y_err=err)
    robust = RobustRegression(df=1e7).fit(X, y, y_err=err)
    assert_allclose(robust.params_, usual.params_, atol=1e-5)
    assert_allclose(robust.params_cov_, usual.params_cov_, rtol=1e-5)
    assert_allclose(robust.log_likelihood_, np.sum(stats.norm.logpdf(y, usual.predict(X), err)), rtol=1e-5)


def test_no_outliers_at_the_boundary_of_the_mixture():
    """Residuals that are all alike leave no fraction to outliers: the line is that of WLS, exactly."""
    X = np.linspace(-1, 1, 40)[:, None]
    y = 1 + 2 * X[:, 0] + 0.5 * np.where(np.arange(40) % 2 == 0, 1, -1)
    robust = RobustRegression(method="mixture", random_state=0).fit(X, y, y_err=1.0)
    usual = LinearRegression().fit(X, y, y_err=1.0)
    assert robust.outlier_fraction_ == 0 and np.all(robust.outlier_proba_ == 0)
    assert_allclose(robust.params_, usual.params_, rtol=1e-4)
    assert_allclose(robust.params_cov_, usual.params_cov_, rtol=1e-4, atol=1e-8)
    assert_allclose(robust.predict_dist(X, y_err=1.0).std, usual.predict_dist(X, y_err=1.0).std, rtol=1e-4)


@every_method
@pytest.mark.parametrize("scatter", [0.0, 0.8])
def test_fitted_scatter(method, scatter):
    """Scatter in the data is found; where there is none it ends near zero."""
    rng = np.random.default_rng(6)
    X, err = rng.normal(size=(400, 1)), rng.uniform(0.2, 0.6, 400)
    noise = rng.normal(size=400) if method == "mixture" else rng.standard_t(4, 400)
    y = 1 + 2 * X[:, 0] + np.hypot(err, scatter) * noise
    if method == "mixture":
        y[:40] = 15 + 5 * rng.normal(size=40)
    model = RobustRegression(method=method, scatter="fit", random_state=0).fit(X, y, y_err=err)
    assert_allclose(model.scatter_, scatter, atol=0.15)
    assert np.all(np.abs(model.params_ - [1, 2]) < 3 * np.sqrt(np.diag(model.params_cov_)))


@every_method
@pytest.mark.parametrize("seed", range(6))
def test_scatter_that_errors_leave_no_room_for_is_zero(method, seed):
    """Not the end of the range in which it is sought, a hundredth of the errors."""
    rng = np.random.default_rng(seed)
    X, err = rng.normal(size=(40, 1)), rng.uniform(0.5, 1.5, 40)
    y = 1 + X[:, 0] + 0.6 * err * rng.normal(size=40)
    assert RobustRegression(method=method, scatter="fit", random_state=0).fit(X, y, y_err=err).scatter_ == 0


@every_method
def test_exact_rows_and_rows_without_information(method):
    X, y, err, _ = simulate()
    model = RobustRegression(method=method, random_state=0)
    without = clone(model).fit(X[:-1], y[:-1], y_err=err[:-1])
    infinite = clone(model).fit(X, np.r_[y[:-1], 1e6], y_err=np.r_[err[:-1], np.inf])
    assert_allclose(infinite.params_, without.params_, rtol=1e-8)
    assert infinite.row_weight_[-1] == 0 and len(infinite.row_weight_) == len(y)
    with pytest.raises(InputError, match="y_err contains zero"):
        clone(model).fit(X, y, y_err=np.r_[0.0, err[1:]])
    some_exact = clone(model).set_params(scatter=0.5).fit(X, y, y_err=np.r_[err[:-1], 0.0])
    assert np.all(np.isfinite(some_exact.params_cov_))


# -- outliers -------------------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("bad", [0.1, 0.2, 0.3])
def test_gross_outliers_do_not_move_the_line(method, bad):
    """Up to 30 % of rows 200 errors away at large x: within 3 sigma, where least squares is off by more."""
    rng = np.random.default_rng(9)
    X, err = rng.uniform(0, 10, (100, 1)), np.full(100, 1.0)
    y = 3 + 2 * X[:, 0] + rng.normal(size=100)
    wrong = np.argsort(-X[:, 0])[: round(100 * bad)]  # all on one side: the worst for the slope
    y[wrong] = -200 + 3 * rng.normal(size=len(wrong))
    robust = RobustRegression(method=method, random_state=0).fit(X, y, y_err=err)
    usual = LinearRegression().fit(X, y, y_err=err)
    assert abs(robust.coef_[0] - 2) < 3 * robust.coef_err_[0]
    assert abs(usual.coef_[0] - 2) > 30 * usual.coef_err_[0]
    flagged = robust.row_weight_ < 0.05
    assert np.all(flagged[wrong]) and np.mean(flagged) < bad + 0.05


def test_probabilities_to_be_an_outlier_are_calibrated():
    """Of the rows called outliers with probability q, a fraction q is: 20 data sets, 3 sigma of the sum."""
    q, truth = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, err, bad = rng.normal(size=(150, 1)), rng.uniform(0.5, 1.5, 150), rng.random(150) < 0.2
        y = np.where(
            bad, 4 + np.hypot(err, 4) * rng.normal(size=150), 1 + 2 * X[:, 0] + err * rng.normal(size=150)
        )
        model = RobustRegression(method="mixture", random_state=seed).fit(X, y, y_err=err)
        q.append(model.outlier_proba_)
        truth.append(bad)
    q, truth = np.concatenate(q), np.concatenate(truth)
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.0)):
        inside = (q >= low) & (q < high if high < 1 else q <= 1)
        error = np.sqrt(np.sum(q[inside] * (1 - q[inside])))
        assert inside.sum() > 20
        # The fitted fraction is common to a data set, which widens the binomial error a little.
        assert abs(np.sum(truth[inside]) - np.sum(q[inside])) < 4 * error, (low, high)


@every_method
def test_one_wrong_x_is_an_outlier_like_any_other(method):
    X, y, *_ = line_of_sixty()
    X[0] = 1000.0  # a decimal point in the wrong place
    robust = RobustRegression(method=method, random_state=0).fit(X, y)
    assert abs(robust.coef_[0] - 2) < 3 * robust.coef_err_[0] and robust.row_weight_[0] < 0.01
    assert abs(LinearRegression().fit(X, y).coef_[0] - 2) > 1.9


@every_method
def test_errors_of_many_x_are_not_handled(method):
    """They flatten the line by var(x) / (var(x) + err^2), and no residual stands out."""
    X, y, rng = line_of_sixty()
    noisy = X + 3 * rng.normal(size=X.shape)
    robust = RobustRegression(method=method, random_state=0).fit(noisy, y)
    assert robust.coef_[0] < 2 - 4 * robust.coef_err_[0]
    with pytest.raises(InputError, match="cannot use X_err"):
        robust.fit(noisy, y, X_err=3.0)


def test_a_group_of_wrong_x_holds_the_line():
    X, y, rng = line_of_sixty()
    X[:12] = 1000 + rng.normal(size=(12, 1))
    robust = RobustRegression(random_state=0).fit(X, y)
    assert abs(robust.coef_[0] - 2) > 10 * robust.coef_err_[0]


def line_of_sixty():
    rng = np.random.default_rng(2)
    X = rng.uniform(0, 10, (60, 1))
    return X, 3 + 2 * X[:, 0] + rng.normal(size=60), rng


# -- what is predicted --------------------------------------------------------------------------


def test_true_and_observed_y_of_the_mixture():
    X, y, err, _ = simulate(200)
    model = RobustRegression(method="mixture", random_state=0).fit(X, y, y_err=err)
    true, observed = model.predict_dist(X), model.predict_dist(X, y_err=err)
    assert isinstance(true, Gaussian) and isinstance(observed, GaussianMixture)
    assert_allclose(true.mean, model.intercept_ + X @ model.coef_, rtol=1e-12)
    assert true.cov is not None
    P, Y = model.outlier_fraction_, model.outlier_mean_
    assert_allclose(observed.mean, (1 - P) * true.mean + P * Y)
    assert_allclose(observed.weights[0], [1 - P, P])
    assert_allclose(observed.stds[:, 1], np.hypot(err, model.outlier_scatter_))
    without_errors = RobustRegression(method="mixture", random_state=0).fit(X, y)
    as_observed = without_errors.predict_dist(X, y_err=0.0)
    assert isinstance(as_observed, GaussianMixture)
    assert np.all(without_errors.predict_dist(X).variance_components["noise"] > 0)


def test_true_and_observed_y_of_the_student_t():
    """Observed: the t, widened by the line's own error; simulated, and in closed form far from that error."""
    X, y, err, _ = simulate(200)
    model = RobustRegression(df=5.0, scatter=0.3, random_state=0).fit(X, y, y_err=err)
    observed = model.predict_dist(X[:3], y_err=2.0)
    rng = np.random.default_rng(0)
    line = model.predict_dist(X[:3]).variance_components["parameter"][0]
    draws = np.sqrt(line) * rng.normal(size=400_000) + np.hypot(2.0, 0.3) * rng.standard_t(5, 400_000)
    for level in (0.025, 0.16, 0.5, 0.975):
        assert_allclose(np.mean(draws < observed.ppf(level)[0] - observed.mean[0]), level, atol=3e-3)
    assert_allclose(observed.variance_components["noise"], 4 * 5 / 3, rtol=1e-6)
    assert_allclose(observed.variance_components["model"], 0.09 * 5 / 3, rtol=1e-6)


def test_normal_errors_with_heavy_scatter_are_another_model():
    """Heavy tails of the measurement, or of the truth: they part where errors differ between rows."""
    X, y, err, _ = simulate(300, seed=5)
    ours = RobustRegression(random_state=0).fit(X, y, y_err=err)
    theirs = BayesianLinearRegression(tails="student_t").fit(X, y, y_err=err)
    assert np.all(np.abs(ours.params_ - theirs.params_) < 3 * np.sqrt(np.diag(ours.params_cov_)))
    assert ours.predict_dist(X[:1]).std[0] < 0.5 < theirs.predict_dist(X[:1]).std[0]


@every_method
@pytest.mark.parametrize("errors", [True, False])
def test_observed_values_are_calibrated(method, errors):
    """2,000 new values from the model that was fitted; flagged with 0.1 % by PIT, 0.27 % by each level."""
    rng = np.random.default_rng(11)

    def draw(n):
        X, err = rng.uniform(0, 10, (n, 1)), rng.uniform(0.5, 1.5, n) if errors else np.ones(n)
        line = 3 + 2 * X[:, 0]
        if method == "student_t":
            return X, line + err * rng.standard_t(4, n), err
        bad = rng.random(n) < 0.2
        return (
            X,
            np.where(bad, 15 + np.hypot(err, 8) * rng.normal(size=n), line + err * rng.normal(size=n)),
            err,
        )

    X, y, err = draw(2000)
    model = RobustRegression(method=method, random_state=0).fit(X, y, **({"y_err": err} if errors else {}))
    X, y, err = draw(2000)
    report = calibration_report(model.predict_dist(X, y_err=err if errors else 0.0), y)
    assert report.calibrated, report.misses
    # Least squares, told the same errors, is not.
    usual = LinearRegression().fit(X, y, y_err=err)
    assert not calibration_report(usual.predict_dist(X, y_err=err), y).calibrated


# -- the estimator ------------------------------------------------------------------------------


@every_method
def test_without_an_intercept(method):
    X, y, err, wrong = simulate(200)
    y = y - np.where(wrong, 0, 1)
    model = RobustRegression(method=method, fit_intercept=False, random_state=0).fit(X, y, y_err=err)
    assert model.intercept_ == model.intercept_err_ == 0 and len(model.params_) == 2
    assert np.all(np.abs(model.coef_ - [2, -1]) < 4 * model.coef_err_)
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), X @ model.coef_)


@every_method
def test_ill_conditioned_columns(method):
    """A polynomial of degree 6 in raw powers: condition 1e8 costs no convergence."""
    rng = np.random.default_rng(0)
    x = np.linspace(1, 5, 120)
    X = x[:, None] ** np.arange(1, 7)
    curve = np.sin(x)
    y = curve + 0.05 * rng.normal(size=120)
    y[::10] += 3
    model = RobustRegression(method=method, random_state=0).fit(X, y, y_err=0.05)
    assert np.max(np.abs(model.predict(X) - curve)) < 0.1


@pytest.mark.parametrize(
    ("settings_", "errors", "sentence"),
    [
        ({"method": "huber"}, {}, "method is 'huber'; accepted are 'student_t' and 'mixture'"),
        ({"df": 2.0}, {}, "df is 2.0; accepted are 'fit' and a finite number > 2"),
        ({"df": "free"}, {}, "df is 'free'"),
        ({"scatter": -1.0}, {}, "scatter is -1.0"),
        ({"scatter": "evidence"}, {}, "scatter is 'evidence'; accepted are None, 'fit' and a number >= 0"),
        ({"scatter": 0.0}, {}, "scatter is 0 and no errors of y are given"),
        ({}, {"y_err": 0.0}, "y_err contains zero"),
        ({}, {"X_err": 0.1}, "cannot use X_err; .*predict_dist"),
        ({}, {"xy_cov": np.ones((80, 2))}, "cannot use xy_cov"),
        (
            {},
            {"y_cov": Covariance.low_rank(np.ones(80), np.ones((80, 1)))},
            "y_cov is not diagonal, .*LinearRegression",
        ),
        ({}, {"y_err": np.full(80, np.inf)}, "n_samples=0 is too few"),
    ],
)
def test_refusals_are_one_sentence(settings_, errors, sentence):
    X, y, *_ = simulate()
    with pytest.raises(InputError, match=sentence) as caught:
        RobustRegression(**settings_).fit(X, y, **errors)
    assert "\n" not in str(caught.value)


def test_dependent_columns_are_named():
    X, y, err, _ = simulate()
    with pytest.raises(InputError, match="dependent columns"):
        RobustRegression().fit(np.column_stack([X, X[:, 0]]), y, y_err=err)

"""What least squares must not depend on, and what it must refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.base import clone

from statml.compute import BLOCK_ROWS, namespace
from statml.errors import InputError, MissingExtraError
from statml.regression import LinearRegression
from statml.regression.least_squares import reduce_rows, solve
from statml.uncertainty import Covariance, Gaussian, GaussianMixture, StudentT


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(40, 2))
    err = rng.uniform(0.5, 1.5, 40)
    return X, 1 + X @ [2.0, -1.0] + err * rng.normal(size=40), err


@settings(max_examples=40, deadline=None)
@given(
    factors=st.tuples(*[st.floats(-12, 12)] * 3),
    shift=st.floats(-1e3, 1e3),
)
def test_units_change_coefficients_and_nothing_else(data, factors, shift):
    """X_j -> c_j X_j and y -> c y + shift: the predictions follow, exactly in their digits."""
    X, y, err = data
    c = 10.0 ** np.array(factors)
    plain = LinearRegression().fit(X, y, y_err=err)
    scaled = LinearRegression().fit(X * c[:2], y * c[2] + shift * c[2], y_err=err * c[2])
    assert_allclose(scaled.coef_ * c[:2] / c[2], plain.coef_, rtol=1e-9, atol=1e-9)
    assert_allclose(scaled.coef_err_ * c[:2] / c[2], plain.coef_err_, rtol=1e-9)
    assert_allclose(scaled.intercept_ / c[2] - shift, plain.intercept_, rtol=1e-7, atol=1e-9)
    assert_allclose(scaled.chi2_, plain.chi2_, rtol=1e-6)
    assert_allclose(scaled.condition_number_, plain.condition_number_, rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_order_of_rows_does_not_matter(data, seed):
    X, y, err = data
    order = np.random.default_rng(seed).permutation(len(y))
    C = np.diag(err**2) + 0.3
    for plain, shuffled in (
        ({"y_err": err}, {"y_err": err[order]}),
        ({"y_cov": Covariance.dense(C)}, {"y_cov": Covariance.dense(C)[order]}),
    ):
        first = LinearRegression().fit(X, y, **plain)
        second = LinearRegression().fit(X[order], y[order], **shuffled)
        assert_allclose(second.params_, first.params_, rtol=1e-10)
        assert_allclose(second.params_cov_, first.params_cov_, rtol=1e-10, atol=1e-14)


def test_infinite_error_is_a_removed_row(data):
    X, y, err = data
    spoiled, infinite = y.copy(), err.copy()
    spoiled[3], infinite[3] = 1e9, np.inf
    kept = np.arange(40) != 3
    model = LinearRegression().fit(X, spoiled, y_err=infinite)
    expected = LinearRegression().fit(X[kept], y[kept], y_err=err[kept])
    assert_allclose(model.params_, expected.params_, rtol=1e-13)
    assert_allclose(model.params_cov_, expected.params_cov_, rtol=1e-13)
    assert model.dof_ == expected.dof_ == 36
    assert model.leverage(X, y_err=infinite)[3] == 0


def test_one_covariance_in_four_forms_gives_one_answer(data):
    X, y, err = data
    # Two plates of 20 stars, each with an error of its own.
    modes = 0.7 * np.kron(np.eye(2), np.ones((20, 1)))
    matrix = np.diag(err**2) + modes @ modes.T
    forms = {
        "dense": Covariance.dense(matrix),
        "cholesky": Covariance.cholesky(np.linalg.cholesky(matrix)),
        "block": Covariance.block([matrix[:20, :20], matrix[20:, 20:]]),
        "low rank": Covariance.low_rank(err**2, modes),
    }
    A = np.column_stack([np.ones(40), X])
    cov = np.linalg.inv(A.T @ np.linalg.solve(matrix, A))
    params = cov @ A.T @ np.linalg.solve(matrix, y)
    for name, form in forms.items():
        model = LinearRegression().fit(X, y, y_cov=form)
        assert_allclose(model.params_, params, rtol=1e-10, err_msg=name)
        assert_allclose(model.params_cov_, cov, rtol=1e-10, err_msg=name)
        joint = model.predict_dist(X, y_cov=form).cov.to_dense()
        assert_allclose(joint, A @ cov @ A.T + matrix, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("intercept", [True, False])
def test_dependent_columns_are_named(intercept):
    X = np.random.default_rng(0).normal(size=(30, 4))
    X[:, 3] = X[:, 1]
    with pytest.raises(InputError, match=r"dependent columns \(column 1, column 3\)"):
        LinearRegression(fit_intercept=intercept).fit(X, X[:, 0])
    X[:, 3] = 2.0
    if intercept:
        with pytest.raises(InputError, match=r"\(intercept, column 3\)"):
            LinearRegression().fit(X, X[:, 0])
    X[:, 3] = 0.0
    with pytest.raises(InputError, match=r"\(column 3\)"):
        LinearRegression(fit_intercept=intercept).fit(X, X[:, 0])


def test_dependence_does_not_depend_on_units():
    """A column a billion times smaller is not a dependent one; its copy is."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2)) * [1.0, 1e-9]
    assert_allclose(LinearRegression().fit(X, 3e9 * X[:, 1]).coef_[1], 3e9, rtol=1e-9)
    with pytest.raises(InputError, match="dependent"):
        LinearRegression().fit(np.column_stack([X, 1e6 * X[:, 1]]), X[:, 0])


@pytest.mark.parametrize("n", [5, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 700])
@pytest.mark.parametrize("weighted", [True, False])
def test_blocks_give_what_one_decomposition_gives(n, weighted):
    rng = np.random.default_rng(n)
    X, y = rng.normal(size=(n, 3)) + 4, rng.normal(size=n)
    weights = rng.uniform(0.1, 3.0, n) if weighted else None
    triangle = reduce_rows(X, y, intercept=True, weights=weights, device=namespace("cpu"))
    A = np.column_stack([np.ones(n), X, y]) * (1 if weights is None else weights[:, None])
    R = np.linalg.qr(A, mode="r")
    ours = np.column_stack([triangle.R, triangle.z])
    signs = np.sign(np.diag(R)[:4]) * np.sign(np.diag(triangle.R))
    assert_allclose(ours * signs[:, None], R[:4], rtol=1e-10, atol=1e-10 * np.sqrt(n))
    assert_allclose(triangle.rho, abs(R[4, 4]), rtol=1e-9)
    expected = np.linalg.lstsq(A[:, :4], A[:, 4], rcond=None)[0]
    assert_allclose(solve(triangle, list("abcd")).params, expected, rtol=1e-8, atol=1e-12)


def test_cuda_where_there_is_none_says_so(data):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    X, y, err = data
    with pytest.raises((InputError, MissingExtraError), match="device"):
        LinearRegression(device="cuda").fit(X, y, y_err=err)
    with pytest.raises(InputError, match="'cpu', 'cuda' and 'auto'"):
        LinearRegression(device="gpu").fit(X, y)
    same = LinearRegression(device="auto").fit(X, y, y_err=err)
    assert_allclose(same.params_, LinearRegression().fit(X, y, y_err=err).params_, rtol=1e-12)


@pytest.mark.parametrize("errors", ["none", "absolute", "relative"])
@pytest.mark.parametrize("x_errors", [False, True])
@pytest.mark.parametrize("y_errors", [False, True])
def test_components_sum_to_the_variance(data, errors, x_errors, y_errors):
    X, y, err = data
    model = LinearRegression(absolute_errors={"none": None, "absolute": True, "relative": False}[errors])
    model.fit(X, y, **({} if errors == "none" else {"y_err": err}))
    given = ({"X_err": np.full((40, 2), 0.3)} if x_errors else {}) | ({"y_err": err} if y_errors else {})
    p = model.predict_dist(X, **given)
    # Errors known apart from the fitted scale are added to its t, which makes a mixture.
    known_apart = x_errors or (y_errors and errors == "none")
    scaled = GaussianMixture if known_apart else StudentT
    assert isinstance(p, Gaussian if errors == "absolute" else scaled)
    total = np.sum(list(p.variance_components.values()), axis=0)
    assert_allclose(total, p.std**2, rtol=1e-12)
    if p.cov is not None:
        assert_allclose(p.cov.variance(), p.std**2, rtol=1e-12)
    assert np.all(p.variance_components["input"] > 0) == x_errors
    assert np.all(p.variance_components["noise"] > 0) == (y_errors or errors == "none")
    assert np.all(p.variance_components["model"] == 0)


def test_known_errors_are_not_inflated_with_the_fitted_scale():
    """Four degrees of freedom: the t doubles its own variance, and leaves an error of y alone."""
    X = np.arange(6.0)[:, None]
    model = LinearRegression().fit(X, [0.1, 0.9, 2.2, 2.8, 4.1, 5.0])
    alone, observed = model.predict_dist([[2.5]]), model.predict_dist([[2.5]], y_err=1.0)
    assert model.dof_ == 4
    assert_allclose(observed.std**2 - alone.std**2, 1.0, rtol=1e-6)
    # the convolution itself, by simulation
    rng = np.random.default_rng(2)
    draws = alone.sample(400_000, rng=rng)[:, 0] + rng.standard_normal(400_000)
    for level in (0.05, 0.5, 0.9):
        assert_allclose(np.mean(draws < observed.ppf(level)[0]), level, atol=4e-3)


def test_leverage_needs_the_errors_of_the_fit(data):
    X, y, err = data
    cov = Covariance.low_rank(err**2, np.ones((len(y), 1)))
    with pytest.raises(InputError, match="fit was given y_err or y_cov"):
        LinearRegression().fit(X, y, y_err=err).leverage(X)
    assert_allclose(LinearRegression().fit(X, y, y_cov=cov).leverage(X, y_cov=cov).sum(), 3)


def test_errors_of_x_against_simulation(data):
    """Variance of b^T x' over errors of x and over a wide posterior of b: both orders matter."""
    X, y, err = (values[:6] for values in data)
    model = LinearRegression().fit(X, y, y_err=err)
    p = model.predict_dist(X[:1], X_err=[[1.5, 1.2]])
    first_order = model.coef_**2 @ [1.5**2, 1.2**2]
    assert p.variance_components["input"][0] > 1.05 * first_order
    rng = np.random.default_rng(0)
    size = 400_000
    params = rng.multivariate_normal(model.params_, model.params_cov_, size)
    x = X[0] + rng.normal(size=(size, 2)) * [1.5, 1.2]
    simulated = params[:, 0] + np.sum(params[:, 1:] * x, axis=1)
    kurtosis = np.mean((simulated - simulated.mean()) ** 4) / np.var(simulated) ** 2
    assert_allclose(np.var(simulated), p.std[0] ** 2, rtol=4 * np.sqrt((kurtosis - 1) / size))


def test_prediction_of_noisy_y_comes_on_top(data):
    X, y, err = data
    model = LinearRegression().fit(X, y, y_err=err)
    true, seen = model.predict_dist(X), model.predict_dist(X, y_err=err)
    assert_allclose(seen.std**2, true.std**2 + err**2, rtol=1e-12)
    assert_allclose(seen.mean, true.mean, rtol=1e-15)


def test_fitted_attributes_are_numpy_and_views_agree(data):
    X, y, err = data
    model = clone(LinearRegression()).fit(X, y, y_err=err)
    assert isinstance(model.params_, np.ndarray) and isinstance(model.params_cov_, np.ndarray)
    assert model.intercept_ == model.params_[0]
    assert_allclose(model.coef_cov_, model.params_cov_[1:, 1:])
    through_origin = LinearRegression(fit_intercept=False).fit(X, y, y_err=err)
    assert through_origin.intercept_ == through_origin.intercept_err_ == 0.0
    assert len(through_origin.coef_) == len(through_origin.params_) == 2


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"y_err": 0.0}, "y_err contains zero"),
        ({"y_err": np.r_[np.nan, np.ones(39)]}, "y_err contains NaN"),
        ({"y_err": np.r_[-1.0, np.ones(39)]}, "negative value -1.0"),
        ({"y_err": np.ones(39)}, r"y_err has shape \(39,\)"),
        ({"y_err": np.full(40, np.inf)}, "y_err is infinite everywhere"),
        ({"y_cov": Covariance.from_std(np.ones(39))}, r"y_cov has shape \(39, 39\)"),
        ({"y_cov": Covariance.low_rank(np.zeros(40), np.ones((40, 1)))}, "singular"),
        ({"X_err": 0.1}, "cannot use X_err; .*predict_dist"),
        ({"xy_cov": np.ones((40, 2))}, "cannot use xy_cov"),
    ],
)
def test_refusals_are_one_clear_sentence(data, keywords, sentence):
    X, y, _ = data
    with pytest.raises(InputError, match=sentence) as caught:
        LinearRegression().fit(X, y, **keywords)
    assert "\n" not in str(caught.value)


def test_absolute_errors_need_errors(data):
    X, y, _ = data
    with pytest.raises(InputError, match="neither y_err nor y_cov"):
        LinearRegression(absolute_errors=True).fit(X, y)
    with pytest.raises(InputError, match="fitted noise level"):
        LinearRegression().fit(X[:3], y[:3])
    assert LinearRegression().fit(X[:3], y[:3], y_err=1.0).dof_ == 0

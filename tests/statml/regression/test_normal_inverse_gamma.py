"""Conjugate regression with unknown noise, against quadrature, dense densities and limits."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, sparse, special, stats

from statml.errors import InputError
from statml.regression import LinearRegression, NormalInverseGammaRegression
from statml.uncertainty import Covariance

N, D = 25, 3
RNG = np.random.default_rng(1)
X = RNG.normal(size=(N, D)) + 1
ERR = RNG.uniform(0.5, 2.0, N)
Y = 1 + X @ [0.5, -1.0, 2.0] + 0.7 * ERR * RNG.normal(size=N)
PLATES = np.kron(np.eye(5), np.ones((5, 1)))
M0 = np.array([0.5, 0.0, -0.5, 1.0])
S0 = np.diag([4.0, 2.0, 3.0, 1.0]) + 0.3
FIXED = {"prior_mean": M0, "prior_cov": S0, "noise_df": 3.0, "noise_scale": 0.8}
ERRORS = {
    "none": {},
    "y_err": {"y_err": ERR},
    "low rank": {"y_cov": Covariance.low_rank(ERR**2, PLATES)},
}
A = np.column_stack([np.ones(N), X])


def dense(errors):
    """V and the posterior, by plain matrix inversion."""
    V = np.eye(N) if not errors else errors["y_cov"].to_dense() if "y_cov" in errors else np.diag(ERR**2)
    W = np.linalg.inv(V)
    S_N = np.linalg.inv(np.linalg.inv(S0) + A.T @ W @ A)
    m_N = S_N @ (np.linalg.solve(S0, M0) + A.T @ W @ Y)
    gap = Y - A @ M0
    K = V + A @ S0 @ A.T
    return V, m_N, S_N, K, float(gap @ np.linalg.solve(K, gap))


@pytest.mark.parametrize("name", ERRORS)
def test_posterior_against_dense_algebra(name):
    _, m_N, S_N, _, quadratic = dense(ERRORS[name])
    model = NormalInverseGammaRegression(**FIXED).fit(X, Y, **ERRORS[name])
    a_N, b_N = 1.5 + N / 2, 1.5 * 0.64 + quadratic / 2
    assert_allclose(model.params_, m_N, rtol=1e-10)
    assert_allclose(model.unit_cov_, S_N, rtol=1e-9, atol=1e-14)
    assert_allclose([model.noise_shape_, model.noise_rate_], [a_N, b_N], rtol=1e-10)
    assert_allclose(model.params_cov_, b_N / (a_N - 1) * S_N, rtol=1e-9, atol=1e-14)
    assert_allclose(model.scale_**2, b_N / a_N, rtol=1e-10)
    assert model.dof_ == 2 * a_N
    assert_allclose(model.noise_posterior().mean(), b_N / (a_N - 1), rtol=1e-12)
    assert_allclose(model.prior_cov_, S0, rtol=1e-12)


@pytest.mark.parametrize("name", ERRORS)
def test_evidence_is_the_density_of_a_multivariate_t(name):
    *_, K, _ = dense(ERRORS[name])
    model = NormalInverseGammaRegression(**FIXED).fit(X, Y, **ERRORS[name])
    expected = stats.multivariate_t(A @ M0, 0.8**2 * K, df=3.0).logpdf(Y)
    assert_allclose(model.log_evidence_, expected, rtol=1e-10)


def test_evidence_against_quadrature_over_the_noise():
    """The integral of N(y; A m0, v K) IG(v; a0, b0) over log v, by a trapezoid sum."""
    *_, K, quadratic = dense(ERRORS["y_err"])
    logdet = np.linalg.slogdet(K)[1]
    t = np.linspace(-12, 12, 6001)
    log_prior = 1.5 * np.log(0.96) - special.gammaln(1.5) - 1.5 * t - 0.96 * np.exp(-t)
    log_likelihood = -0.5 * (N * (np.log(2 * np.pi) + t) + logdet + quadratic * np.exp(-t))
    expected = special.logsumexp(log_prior + log_likelihood) + np.log(t[1] - t[0])
    model = NormalInverseGammaRegression(**FIXED).fit(X, Y, y_err=ERR)
    assert_allclose(model.log_evidence_, expected, rtol=1e-10)


@pytest.mark.parametrize("y_err", [None, 0.9])
def test_predictive_against_quadrature(y_err):
    """The density of a new y, observed and true: N(y; a m_N, v (a S_N a + e^2)) averaged over the posterior of v."""
    model = NormalInverseGammaRegression(**FIXED).fit(X, Y, y_err=ERR)
    _, m_N, S_N, *_ = dense(ERRORS["y_err"])
    a = np.r_[1.0, 0.3, -1.0, 2.0]
    prediction = model.predict_dist(a[None, 1:], **({} if y_err is None else {"y_err": y_err}))
    width = a @ S_N @ a + (y_err or 0.0) ** 2
    noise = model.noise_posterior()
    for y in (a @ m_N - 0.4, a @ m_N + 2.0):
        density = integrate.quad(
            lambda v, y=y: stats.norm.pdf(y, a @ m_N, np.sqrt(v * width)) * noise.pdf(v),
            0, np.inf, epsabs=1e-13, epsrel=1e-12, limit=200,
        )[0]  # fmt: skip
        assert_allclose(np.exp(prediction.log_prob(y)), density, rtol=1e-9)


def test_without_errors_the_noise_is_part_of_the_prediction():
    model = NormalInverseGammaRegression(**FIXED).fit(X, Y)
    prediction = model.predict_dist(X)
    inflation = model.dof_ / (model.dof_ - 2)
    assert_allclose(prediction.variance_components["noise"], inflation * model.scale_**2)
    assert_allclose(
        prediction.variance_components["parameter"],
        np.einsum("ij,jk,ik->i", A, model.params_cov_, A),
        rtol=1e-10,
    )


@pytest.mark.parametrize("name", ERRORS)
def test_flat_prior_is_least_squares_with_a_fitted_scale(name):
    errors = ERRORS[name]
    flat = NormalInverseGammaRegression(prior_cov=np.inf, noise_df=0).fit(X, Y, **errors)
    least = LinearRegression(absolute_errors=False).fit(X, Y, **errors)
    assert flat.dof_ == least.dof_
    assert_allclose(flat.params_, least.params_, rtol=1e-10)
    assert_allclose(flat.scale_, least.scale_, rtol=1e-10)
    assert_allclose(flat.params_cov_, least.params_cov_ * least.dof_ / (least.dof_ - 2), rtol=1e-10)
    new = X[:4] + 0.5
    for extra in ({}, {"y_err": 0.6}):
        p, q = flat.predict_dist(new, **extra), least.predict_dist(new, **extra)
        assert type(p) is type(q)
        assert_allclose(p.std, q.std, rtol=1e-10)
        assert_allclose(p.ppf(0.025), q.ppf(0.025), rtol=1e-10)
    assert flat.log_evidence_ == -np.inf


def test_a_wide_prior_approaches_the_flat_one():
    """S0 = 1e10, and noise_df = p in place of the p degrees of freedom that a proper prior keeps."""
    flat = NormalInverseGammaRegression(prior_cov=np.inf, noise_df=0).fit(X, Y, y_err=ERR)
    wide = NormalInverseGammaRegression(prior_cov=1e10, noise_df=0).fit(X, Y, y_err=ERR)
    assert_allclose(wide.params_, flat.params_, rtol=1e-7)
    assert_allclose(wide.unit_cov_, flat.unit_cov_, rtol=1e-7, atol=1e-12)
    assert_allclose(wide.noise_rate_, flat.noise_rate_, rtol=1e-7)
    assert wide.dof_ == flat.dof_ + 4


def test_posterior_of_the_first_half_is_the_prior_of_the_second():
    first = NormalInverseGammaRegression(**FIXED).fit(X[:10], Y[:10], y_err=ERR[:10])
    second = NormalInverseGammaRegression(
        prior_mean=first.params_, prior_cov=first.unit_cov_, noise_df=first.dof_, noise_scale=first.scale_
    ).fit(X[10:], Y[10:], y_err=ERR[10:])
    both = NormalInverseGammaRegression(**FIXED).fit(X, Y, y_err=ERR)
    assert_allclose(second.params_, both.params_, rtol=1e-9)
    assert_allclose(second.unit_cov_, both.unit_cov_, rtol=1e-8, atol=1e-14)
    assert_allclose(second.noise_rate_, both.noise_rate_, rtol=1e-9)
    assert_allclose(first.log_evidence_ + second.log_evidence_, both.log_evidence_, rtol=1e-10)


def test_joint_posterior_of_the_parameters():
    model = NormalInverseGammaRegression(**FIXED).fit(X, Y)
    posterior = model.params_posterior()
    assert_allclose(posterior.cov.to_dense(), model.params_cov_, rtol=1e-10)
    expected = stats.multivariate_t(model.params_, model.scale_**2 * model.unit_cov_, df=model.dof_).logpdf(
        M0
    )
    assert_allclose(posterior.joint_log_prob(M0), expected, rtol=1e-10)


def test_relative_errors_are_known_up_to_a_factor():
    """Errors ten times too large: the same line, the factor comes out, with default and evidence prior."""
    fit, wrong = (NormalInverseGammaRegression(noise_df=0).fit(X, Y, y_err=f * ERR) for f in (1, 10))
    assert_allclose(wrong.params_, fit.params_, rtol=1e-4)
    assert_allclose(wrong.scale_, fit.scale_ / 10, rtol=1e-4)
    assert_allclose(wrong.predict_dist(X, y_err=10 * ERR).std, fit.predict_dist(X, y_err=ERR).std, rtol=1e-4)


def test_evidence_chooses_the_width():
    """The chosen width beats its neighbours, and shrinks slopes that are not there."""
    model = NormalInverseGammaRegression().fit(X, Y, y_err=ERR)
    for factor in (0.9, 1.1):
        scaled = model.prior_cov_.copy()
        slopes = np.diag(np.r_[1, [factor] * D])
        move = np.eye(D + 1)
        move[0, 1:] = -X.mean(axis=0)
        inner = np.linalg.solve(move, np.linalg.solve(move, scaled.T).T)
        other = NormalInverseGammaRegression(
            prior_mean=model.prior_mean_, prior_cov=move @ (slopes @ inner @ slopes) @ move.T
        ).fit(X, Y, y_err=ERR)
        assert other.log_evidence_ < model.log_evidence_
    noise = NormalInverseGammaRegression().fit(X, np.random.default_rng(0).normal(size=N))
    assert noise.prior_width_ < 0.5 < model.prior_width_


@pytest.mark.parametrize("noise", [1e-3, 1.0, 30.0])
def test_default_prior_lets_the_data_speak(noise):
    """From noise a thousandth of the signal to noise thirty times it: slope and noise within 4 sigma."""
    rng = np.random.default_rng(7)
    Z = rng.normal(size=(200, 2))
    y = 100 + Z @ [1.0, -2.0] + noise * rng.normal(size=200)
    model = NormalInverseGammaRegression().fit(Z, y)
    assert np.all(np.abs(model.coef_ - [1, -2]) < 4 * np.maximum(model.coef_err_, noise / 200**0.5))
    low, high = model.noise_posterior().ppf([3e-5, 1 - 3e-5])
    assert low < noise**2 < high


def test_sparse_equals_dense():
    rng = np.random.default_rng(3)
    thin = sparse.random_array((300, 12), density=0.2, rng=rng, format="csr")
    y = thin @ rng.normal(size=12) + rng.normal(size=300)
    a = NormalInverseGammaRegression(prior_cov=5.0).fit(thin, y)
    b = NormalInverseGammaRegression(prior_cov=5.0).fit(thin.toarray(), y)
    assert_allclose(a.params_, b.params_, rtol=1e-8)
    assert_allclose(a.log_evidence_, b.log_evidence_, rtol=1e-10)
    assert_allclose(a.predict_dist(thin).ppf(0.9), b.predict_dist(thin).ppf(0.9), rtol=1e-8)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prior_cov": "wide"}, "prior_cov is 'wide'"),
        ({"prior_mean": 1.0}, "prior_mean is given and prior_cov is 'evidence'"),
        ({"prior_cov": -1.0}, "not positive definite"),
        ({"prior_cov": np.nan}, "NaN"),
        ({"prior_cov": np.eye(2)}, r"accepted are \(4,\) and \(4, 4\)"),
        ({"noise_df": -1}, "noise_df is -1"),
        ({"noise_df": np.inf}, "noise_df is inf"),
        ({"noise_scale": 0.0}, "noise_scale is 0.0"),
        ({"noise_scale": "small"}, "noise_scale is 'small'"),
    ],
)
def test_wrong_parameters(settings, words):
    with pytest.raises(InputError, match=words):
        NormalInverseGammaRegression(**settings).fit(X, Y)


def test_too_few_rows_and_dependent_columns():
    with pytest.raises(InputError, match="n_samples=1"):
        NormalInverseGammaRegression().fit(X[:1], Y[:1])
    with pytest.raises(InputError, match="n_samples=6"):
        NormalInverseGammaRegression(prior_cov=np.inf, noise_df=0).fit(X[:6], Y[:6])
    with pytest.raises(InputError, match="linearly dependent"):
        NormalInverseGammaRegression(prior_cov=np.inf).fit(X[:, [0, 0]], Y)
    assert np.all(np.isfinite(NormalInverseGammaRegression().fit(X[:, [0, 0]], Y).predict(X[:, [0, 0]])))


def test_training_data_stay_out_of_the_pickle():
    model = NormalInverseGammaRegression().fit(X, Y)
    restored = pickle.loads(pickle.dumps(model))
    assert_allclose(restored.predict(X), model.predict(X), rtol=0)
    with pytest.raises(InputError, match="training data"):
        restored.to_pymc()
    with pytest.raises(InputError, match="proper priors"):
        NormalInverseGammaRegression(prior_cov=np.inf).fit(X, Y).to_pymc()

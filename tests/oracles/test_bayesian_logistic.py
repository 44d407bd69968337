"""Known answers of Bayesian logistic regression: the book's red clump stars, and quadrature.

The book's numbers come from an independent Newton iteration on standardised features of
the training set; they are tested to the digits given. Without that table the same code is
tested against posteriors integrated on a grid in one and two dimensions.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, special

from statml import datasets
from statml.classification import BayesianLogisticRegression
from statml.errors import DataNotFoundError


@pytest.fixture(scope="module")
def red_clump():
    """Training set of chapter 9: Teff and log g, standardised with the training mean and deviation."""
    from sklearn.model_selection import train_test_split

    try:
        stars = datasets.load("apogee_asteroseismic")
    except DataNotFoundError as error:
        pytest.skip(str(error))
    X = np.column_stack([np.asarray(stars[name], float) for name in ("teff", "logg")])
    y = np.asarray(stars["red_clump"]).astype(int)
    train, test, t, t_test = train_test_split(X, y, test_size=0.2, random_state=46, stratify=y)
    centre, scale = train.mean(axis=0), train.std(axis=0)
    return (train - centre) / scale, t, (test - centre) / scale, t_test


@pytest.mark.data
@pytest.mark.parametrize(
    "alpha, intercept, params, evidence",
    [
        (0.1, False, [1.6434, -5.2863], -533.687),
        (0.1, True, [2.1619, 1.7269, -4.4566], -306.541),
        (1.0, True, None, -315.047),
        (0.001, True, None, -312.056),
    ],
)
def test_red_clump(red_clump, alpha, intercept, params, evidence):
    X, y, *_ = red_clump
    model = BayesianLogisticRegression(
        prior_precision=alpha, penalise_intercept=True, fit_intercept=intercept
    ).fit(X, y)
    assert_allclose(model.log_evidence_, evidence, atol=6e-4)
    if params is not None:
        assert_allclose(model.params_, params, atol=6e-5)


@pytest.mark.data
def test_red_clump_evidence_prefers_an_intercept_and_a_weak_prior(red_clump):
    X, y, X_test, y_test = red_clump
    model = BayesianLogisticRegression(penalise_intercept=True).fit(X, y)
    at = {
        alpha: BayesianLogisticRegression(prior_precision=alpha, penalise_intercept=True).fit(X, y)
        for alpha in (0.001, 0.1, 1.0)
    }
    without = BayesianLogisticRegression(prior_precision=0.1, fit_intercept=False).fit(X, y)
    assert model.log_evidence_ > max(fit.log_evidence_ for fit in at.values())
    assert 0.001 < model.prior_width_**-2 < 1
    assert_allclose(at[0.1].log_evidence_ - without.log_evidence_, 227.146, atol=1e-3)  # odds of e^227
    assert_allclose(at[0.1].score(X_test, y_test), 0.95972, atol=1e-5)


@pytest.mark.data
def test_red_clump_prior_of_the_notebook(red_clump):
    """Its gradient had alpha N / batch = 7.1375, its Hessian 0.1: two posteriors in one."""
    X, y, *_ = red_clump
    gradient = BayesianLogisticRegression(prior_precision=7.1375, fit_intercept=False).fit(X, y)
    hessian = BayesianLogisticRegression(prior_precision=0.1, fit_intercept=False).fit(X, y)
    assert_allclose(gradient.params_, [1.2280, -4.0786], atol=6e-5)
    assert np.all(np.abs(gradient.params_ - hessian.params_) > 4 * hessian.coef_err_)


@pytest.mark.data
def test_red_clump_laplace_is_good_enough(red_clump):
    X, y, *_ = red_clump
    check = BayesianLogisticRegression(prior_precision=0.1, penalise_intercept=True).fit(X, y).check_laplace()
    assert check.reliable
    assert abs(check.log_evidence - check.laplace_log_evidence) < 0.01


# -- quadrature ------------------------------------------------------------------------------


def one_dimension(n, seed=0, alpha=0.5):
    """Slope alone: data, and the exact posterior mean, deviation and evidence by quadrature."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    t = (rng.random(n) < special.expit(1.5 * x)).astype(int)
    mode = BayesianLogisticRegression(prior_precision=alpha, fit_intercept=False).fit(x[:, None], t)
    centre, width = mode.params_[0], mode.coef_err_[0]

    def log_joint(b):
        prior = 0.5 * np.log(alpha / (2 * np.pi)) - 0.5 * alpha * b**2
        return np.sum(special.log_expit(np.where(t == 1, b * x, -b * x))) + prior

    top = log_joint(centre)

    def moment(k):
        # positional arguments of quad: absolute and relative tolerance
        return integrate.quad(
            lambda b: b**k * np.exp(log_joint(b) - top),
            centre - 14 * width,
            centre + 14 * width,
            epsabs=0,
            epsrel=1e-11,
            limit=200,
            points=[centre],
        )[0]

    mass, first, second = (moment(k) for k in range(3))
    mean = first / mass
    return mode, mean, np.sqrt(second / mass - mean**2), top + np.log(mass)


def test_laplace_in_one_dimension_approaches_quadrature_as_one_over_n():
    """Four times the rows, a quarter of the error of the evidence (Tierney & Kadane 1986); measured: 0.63 / n."""
    sizes, errors = [400, 1600, 6400], []
    for n in sizes:
        gaps = []
        for seed in range(20):
            mode, _, _, evidence = one_dimension(n, seed)
            gaps.append(mode.log_evidence_ - evidence)
        errors.append(np.sqrt(np.mean(np.square(gaps))))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert_allclose(slope, -1, atol=0.05)
    assert_allclose(np.array(errors) * sizes, 0.63, atol=0.05)


def test_importance_sampling_finds_the_exact_evidence_and_moments():
    for n in (12, 40):
        model, mean, std, evidence = one_dimension(n)
        check = model.check_laplace(20_000, rng=1)
        assert abs(check.log_evidence - evidence) < 4 * check.log_evidence_err
        assert check.log_evidence_err < 0.02
        assert_allclose(check.params[0], mean, atol=0.05 * std)
        assert_allclose(check.params_err[0], std, rtol=0.05)
        assert_allclose(check.shift[0], (mean - model.params_[0]) / std, atol=0.05)


def test_draws_have_the_exact_moments():
    """Four Monte Carlo standard errors, at 16 rows, where Laplace is off by far more than that."""
    laplace, mean, std, _ = one_dimension(16)
    rng = np.random.default_rng(0)
    x = rng.normal(size=16)
    t = (rng.random(16) < special.expit(1.5 * x)).astype(int)
    model = BayesianLogisticRegression(
        prior_precision=0.5, fit_intercept=False, method="mcmc", draws=4000, random_state=0
    ).fit(x[:, None], t)
    error = std / np.sqrt(model.ess_[0])
    assert abs(model.params_[0] - mean) < 4 * error
    assert abs(model.coef_err_[0] - std) < 4 * error
    assert abs(laplace.params_[0] - mean) > 8 * error


def grid(model, X, t, log_prior, half=9.0, nodes=241):
    """log Z, mean and covariance of a two-parameter posterior on a grid along Laplace's axes."""
    z = np.linspace(-half, half, nodes)
    plane = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1).reshape(-1, 2)
    factor = np.linalg.cholesky(model.laplace_.cov)
    b = model.laplace_.mode + plane @ factor.T
    A = np.column_stack([np.ones(len(X)), X])
    log_joint = np.sum(special.log_expit(np.where(t == 1, 1, -1) * (b @ A.T)), axis=1) + log_prior(b)
    log_cell = np.log((z[1] - z[0]) ** 2 * np.linalg.det(factor))
    log_z = special.logsumexp(log_joint) + log_cell
    weight = np.exp(log_joint + log_cell - log_z)
    mean = weight @ b
    return log_z, mean, (b - mean).T @ ((b - mean) * weight[:, None]), b, weight


@pytest.mark.parametrize("n", [20, 80, 320])
def test_two_dimensions_against_a_grid(n):
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, 1))
    t = (rng.random(n) < special.expit(0.5 + X[:, 0])).astype(int)
    precision = np.array([[0.5, 0.2], [0.2, 1.0]])
    laplace = BayesianLogisticRegression(prior_precision=precision).fit(X, t)

    def log_prior(b):
        quadratic = np.einsum("ij,jk,ik->i", b, precision, b)
        return -0.5 * quadratic + 0.5 * np.log(np.linalg.det(precision)) - np.log(2 * np.pi)

    log_z, mean, cov, b, weight = grid(laplace, X, t, log_prior)
    assert abs(laplace.log_evidence_ - log_z) < 2.0 / n  # measured: 0.5 to 1.5 over n
    exact = BayesianLogisticRegression(
        prior_precision=precision, method="mcmc", draws=2000, random_state=1
    ).fit(X, t)
    std = np.sqrt(np.diag(cov))
    assert np.all(np.abs(exact.params_ - mean) < 4 * std / np.sqrt(exact.ess_))
    assert_allclose(np.sqrt(np.diag(exact.params_cov_)), std, rtol=0.06)
    # Predicted probabilities: draws are right, Laplace is right to about 1 / n.
    new = np.array([[-2.0], [0.0], [1.0], [3.0]])
    truth = weight @ special.expit(b @ np.column_stack([np.ones(4), new]).T)
    assert_allclose(exact.predict_proba(new)[:, 1], truth, atol=0.01)
    assert_allclose(laplace.predict_proba(new)[:, 1], truth, atol=2.0 / n)  # measured: 1.1 / n


def test_probit_average_and_exact_average_of_one_posterior():
    """Measured: they differ by at most 0.019, at log odds of about 2 and large variance."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(30, 2))
    t = (X[:, 0] + rng.normal(size=30) > 0).astype(int)
    new = 4 * rng.normal(size=(500, 2))
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    exact = BayesianLogisticRegression(prior_precision=0.1).fit(X, t)
    latent = exact.predict_latent_dist(new)
    truth = special.expit(latent.mean[:, None] + latent.std[:, None] * nodes) @ (weights / weights.sum())
    assert_allclose(exact.predict_proba(new)[:, 1], truth, atol=2e-5)  # what 120 nodes are good for
    probit = BayesianLogisticRegression(prior_precision=0.1, averaging="probit").fit(X, t)
    gap = np.max(np.abs(probit.predict_proba(new)[:, 1] - truth))
    assert 0.005 < gap < 0.0195
    plain = special.expit(latent.mean)
    # Uncertain log odds pull every probability towards 1/2.
    assert np.all(np.abs(truth - 0.5) < np.abs(plain - 0.5))

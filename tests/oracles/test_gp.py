"""Known answers for Gaussian processes: the Mauna Loa series, posteriordb, and numbers in closed form.

The CO2 series of statsmodels ends in 2001, that of Rasmussen & Williams (section 5.4.3) in
2003: their hyperparameters serve as a place where scikit-learn must agree, not as an answer.
"""

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor as Peer
from sklearn.gaussian_process import kernels as sk

from statml.gp import RBF, GaussianProcessRegressor, Periodic, RationalQuadratic, White
from statml.gp.marginal_likelihood import Observations, evidence
from statml.gp.mean_function import MeanFunction

NO_MEAN = MeanFunction("zero", np.zeros(1), np.ones(1), None, np.zeros(0))


def season(sigma, fade, shape):
    """A yearly wave that changes its shape over `fade` years."""
    return RBF(fade, sigma) * Periodic(shape, period=1.0).fixed("sigma", "period")


TREND, SEASON, MEDIUM = (
    RBF(67.0, 66.0),
    season(2.4, 90.0, 1.3),
    RationalQuadratic(1.2, alpha=0.78, sigma=0.66),
)
MAUNA_LOA = TREND + SEASON + MEDIUM + RBF(1.6 / 12, 0.18) + White(0.19)
PEER = (
    66.0**2 * sk.RBF(67.0)
    + 2.4**2 * sk.RBF(90.0) * sk.ExpSineSquared(1.3, 1.0)
    + 0.66**2 * sk.RationalQuadratic(1.2, 0.78)
    + 0.18**2 * sk.RBF(1.6 / 12)
    + sk.WhiteKernel(0.19**2)
)


@pytest.fixture(scope="module")
def co2():
    """Monthly means: years and ppm, gaps left out."""
    series = sm.datasets.co2.load_pandas().data["co2"].resample("MS").mean().dropna()
    years = series.index.year + (series.index.month - 0.5) / 12
    return np.asarray(years)[:, None], series.to_numpy()


def test_mauna_loa_likelihood_equals_scikit_learn(co2):
    t, ppm = co2
    assert len(t) == 521
    y = ppm - ppm.mean()
    ours = GaussianProcessRegressor(MAUNA_LOA, mean="zero", scatter=0.0, optimise=False).fit(t, y)
    theirs = Peer(PEER, alpha=0.0, optimizer=None).fit(t, y)
    assert_allclose(ours.log_evidence_, theirs.log_marginal_likelihood_value_, rtol=1e-8)
    future = np.arange(2002, 2022, 0.5)[:, None]
    mean, std = theirs.predict(future, return_std=True)
    prediction = ours.predict_dist(future)
    assert_allclose(prediction.mean, mean, rtol=1e-6)
    assert_allclose(prediction.std, std, rtol=1e-6)


def test_mauna_loa_components(co2):
    """What every textbook says of the series: it rises by over 50 ppm, and peaks in May."""
    t, ppm = co2
    model = GaussianProcessRegressor(MAUNA_LOA, mean="constant", scatter=0.0, optimise=False).fit(t, ppm)
    years = np.array([[1960.5], [2000.5]])
    parts = model.decompose(years)
    rise = np.diff(parts[0].mean)[0]
    assert 48 < rise < 58
    # The trend and the medium term cannot be told apart to the ppm; their joint covariance knows.
    months = 1980 + (np.arange(12)[:, None] + 0.5) / 12
    wave = model.decompose(months)[1]
    assert np.argmax(wave.mean) == 4 and np.argmin(wave.mean) in (8, 9)
    # Its own level could as well be the trend's; the height of the wave is known ten times better.
    assert np.all(wave.std > 1)
    height = wave.mean[4] - wave.mean[9]
    error = np.sqrt(np.array([1, -1]) @ wave.cov[[4, 9]].to_dense() @ [1, -1])
    assert 5 < height < 7 and error < 0.2


def test_components_of_a_series_like_it_are_recovered():
    """200 series of the same structure, 15 years of months: each term at one time is covered.

    Bounds of 4 standard errors of a binomial.
    """
    kernel = RBF(20.0, 10.0) + season(2.4, 30.0, 1.3) + RationalQuadratic(1.2, alpha=0.78, sigma=0.66)
    rng = np.random.default_rng(7)
    t = np.sort(rng.choice(np.arange(180), 140, replace=False)) / 12
    model = GaussianProcessRegressor(kernel, mean="zero", scatter=0.2, optimise=False)
    ranks = []
    for new in rng.uniform(0, 14.5, 200):
        where = np.r_[t, new, new + 0.5]
        factors = [np.linalg.cholesky(k(where) + 1e-9 * np.eye(len(where))) for k in kernel.terms]
        parts = [L @ rng.normal(size=len(where)) for L in factors]
        y = sum(parts)[:-2] + 0.2 * rng.normal(size=len(t))
        found = model.fit(t[:, None], y).decompose([[new], [new + 0.5]])
        own = [term.cdf(part[-2:])[0] for term, part in zip(found, parts)]
        # Half a year apart: what is known of a season is its shape, not its level.
        swing = found[1].mean[1] - found[1].mean[0]
        error = np.sqrt(np.array([1, -1]) @ found[1].cov.to_dense() @ [1, -1])
        ranks.append([*own, stats.norm.cdf(parts[1][-1] - parts[1][-2], swing, error)])
    for each in np.array(ranks).T:
        for level in (0.68, 0.95):
            bound = 4 * np.sqrt(level * (1 - level) / len(each))
            assert abs(np.mean(np.abs(each - 0.5) < level / 2) - level) < bound
    assert error < 0.15 * 2.4


# Eleven points and the gold-standard moments of posteriordb (mean, sd, and the Monte Carlo error of each).
GP_REGR = (
    [4.75906, 1.59423, 2.99548, 5.27501, 1.66472, 2.24347, 2.8914, 4.08681, 4.60588, 0.802364, 3.92136],
    {"rho": (6.87435, 1.26576), "alpha": (2.4424, 0.781833), "sigma": (1.82873, 0.505016)},
    {"rho": (0.0128, 0.00939), "alpha": (0.00776, 0.00692), "sigma": (0.00503, 0.00408)},
)


def test_evidence_times_priors_is_the_posterior_of_posteriordb():
    """Hyperparameters integrated by quadrature over our evidence; sigma is a variance there. Within 4 errors."""
    y, moments, errors = GP_REGR
    x = torch.arange(-10.0, 11, 2, dtype=torch.float64)[:, None]
    data = Observations(
        x, torch.tensor(y, dtype=torch.float64), torch.zeros(11, dtype=torch.float64), NO_MEAN
    )
    axes = {
        "rho": np.linspace(3, 13, 14),
        "alpha": np.linspace(0.4, 7.2, 18),
        "sigma": np.linspace(0.5, 4.7, 15),
    }
    rho, alpha, sigma = (axis.ravel() for axis in np.meshgrid(*axes.values(), indexing="ij"))
    log_density = 24 * np.log(rho) - 4 * rho - alpha**2 / 8 - sigma**2 / 2
    for i in range(len(rho)):
        kernel = RBF(rho[i], alpha[i])
        log_density[i] += evidence(kernel, data, torch.from_numpy(kernel.theta), sigma[i] ** 0.5).log_evidence
    weight = np.exp(log_density - log_density.max())
    for name, values in (("rho", rho), ("alpha", alpha), ("sigma", sigma)):
        mean = np.average(values, weights=weight)
        sd = np.average((values - mean) ** 2, weights=weight) ** 0.5
        assert abs(mean - moments[name][0]) < 4 * errors[name][0], name
        assert abs(sd - moments[name][1]) < 4 * errors[name][1], name


@pytest.mark.slow
def test_components_with_fitted_hyperparameters(co2):
    """From other starting values the search comes to a likelihood at least that of R&W's values."""
    t, ppm = co2
    start = RBF(50.0, 50.0) + season(2.0, 100.0, 1.0) + RationalQuadratic(1.0, 1.0, 0.5) + RBF(0.1, 0.1)
    model = GaussianProcessRegressor(start, restarts=0, random_state=0).fit(t, ppm)
    at_theirs = GaussianProcessRegressor(MAUNA_LOA, scatter=0.0, optimise=False).fit(t, ppm)
    assert model.log_evidence_ > at_theirs.log_evidence_
    # A season of about 2.5 to 3 ppm, coherent over decades, on noise of 0.2 to 0.3 ppm.
    assert 1.5 < model.kernel_.terms[1].factors[0].sigma < 5
    assert model.kernel_.terms[1].factors[0].length_scale > 20
    assert 0.1 < np.hypot(model.scatter_, model.kernel_.terms[3].sigma) < 0.4

"""Convergence diagnostics: equal to ArviZ and emcee, and right where the answer is known.

Statistical tests have fixed seeds; a correct implementation fails one of them with
probability below 1e-3.
"""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import signal, stats

from statml.errors import InputError
from statml.sampling.diagnostics import autocorrelation_time, ess, geweke, mcse, rhat


def autoregressive(rho, chains, draws, seed=0):
    """Chains in equilibrium with autocorrelation rho^t and unit variance."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(chains, draws)) * np.sqrt(1 - rho**2)
    noise[:, 0] /= np.sqrt(1 - rho**2)
    return signal.lfilter([1.0], [1.0, -rho], noise, axis=1)


@pytest.fixture(scope="module")
def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arviz = pytest.importorskip("arviz")
    from arviz.utils import Numba

    Numba.disable_numba()  # its compiled path does not work with numpy 2.4
    return arviz


# Without sizes at which a quantile is exactly a draw: there rounding decides what lies below it.
@pytest.mark.parametrize("chains", [2, 4, 7])
@pytest.mark.parametrize("draws", [8, 9, 10, 100, 1000])
@pytest.mark.parametrize("rho", [-0.9, -0.5, 0.0, 0.5, 0.9, 0.99])
def test_equal_to_arviz(arviz, rho, draws, chains):
    x = autoregressive(rho, chains, draws, seed=draws)
    x[0] += 0.3
    data = arviz.convert_to_dataset(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = {
            "rhat": arviz.rhat(x),
            "bulk": arviz.ess(x, method="bulk"),
            "tail": arviz.ess(x, method="tail"),
            "mean": arviz.ess(x, method="mean"),
            "sd": arviz.ess(x, method="sd"),
            "error of mean": arviz.mcse(data, method="mean").x,
            "error of sd": arviz.mcse(data, method="sd").x,
            "error of quantile": arviz.mcse(data, method="quantile", prob=0.31).x,
        }
    ours = {
        "rhat": rhat(x),
        **{kind: ess(x, kind=kind) for kind in ("bulk", "tail", "mean", "sd")},
        "error of mean": mcse(x),
        "error of sd": mcse(x, kind="sd"),
        "error of quantile": mcse(x, kind="quantile", probability=0.31),
    }
    for name, value in ours.items():
        assert_allclose(value, float(theirs[name]), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_autocorrelation_time_is_emcees(rho):
    from emcee.autocorr import integrated_time

    x = autoregressive(rho, 12, 3000)
    assert_allclose(autocorrelation_time(x), integrated_time(x.T[:, :, None], quiet=True)[0], rtol=1e-6)


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.5, 0.9])
def test_a_known_autocorrelation(rho):
    """tau = (1 + rho) / (1 - rho); the scatter of both estimates over 200 seeds is below 12 %."""
    tau = (1 + rho) / (1 - rho)
    x = autoregressive(rho, 4, 20_000)
    assert_allclose(ess(x, kind="mean"), x.size / tau, rtol=0.2)
    if rho >= 0:
        assert_allclose(autocorrelation_time(x), tau, rtol=0.2)


def test_standard_error_of_the_mean_covers():
    """400 sets of 4 chains: the error of the mean is right, mean / error is standard normal."""
    z = []
    for seed in range(400):
        x = autoregressive(0.7, 4, 1000, seed=seed)
        z.append(x.mean() / mcse(x))
    assert stats.kstest(z, "norm").pvalue > 1e-3


def test_shifted_chains_are_seen():
    x = autoregressive(0.0, 4, 1000)
    assert rhat(x) < 1.01
    assert rhat(x + np.arange(4)[:, None]) > 1.1


def test_chains_of_different_widths_are_seen():
    """Same mean, other spread: only the folded ranks show it."""
    x = autoregressive(0.0, 4, 1000)
    x[0] *= 3
    assert rhat(x) > 1.05


def test_a_drifting_chain_disagrees_with_itself():
    x = autoregressive(0.0, 4, 1000) + np.linspace(0, 2, 1000)
    assert rhat(x) > 1.1
    assert np.all(np.abs(geweke(x)) > 4)


def test_cauchy_draws_have_ranks():
    """No variance, but ranks: R-hat of independent Cauchy chains is near one, of shifted ones not."""
    x = np.random.default_rng(1).standard_cauchy((4, 1000))
    assert rhat(x) < 1.01
    assert rhat(x + 2 * np.arange(4)[:, None]) > 1.1


def test_geweke_is_standard_normal_in_equilibrium():
    z = geweke(autoregressive(0.6, 400, 2000))
    assert stats.kstest(z, "norm").pvalue > 1e-3


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3), seed=st.integers(0, 1000))
def test_units_do_not_matter(scale, shift, seed):
    x = autoregressive(0.5, 3, 60, seed=seed)
    y = scale * (x + shift)
    # The two draws beside the median are equally far from it; rounding decides their ranks.
    assert_allclose(rhat(y), rhat(x), rtol=5e-3)
    assert_allclose(ess(y), ess(x), rtol=1e-9)
    assert_allclose(mcse(y), scale * mcse(x), rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_monotone_map_leaves_bulk_and_tail_alone(seed):
    x = autoregressive(0.5, 3, 64, seed=seed)
    assert_allclose(ess(np.exp(x)), ess(x), rtol=1e-9)


def test_one_number_for_each_parameter():
    x = np.stack([autoregressive(0.0, 4, 200), autoregressive(0.9, 4, 200)], axis=2)
    for function in (rhat, ess, mcse, autocorrelation_time):
        values = function(x)
        assert values.shape == (2,)
        assert_allclose(values, [function(x[:, :, 0]), function(x[:, :, 1])])
    assert geweke(x).shape == (4, 2)
    assert_allclose(geweke(x)[:, 1], geweke(x[:, :, 1]))


def test_draws_that_do_not_vary():
    assert np.isnan(rhat(np.ones((4, 100))))
    assert ess(np.ones((4, 100)), kind="mean") == 400


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (np.zeros(10), r"draws has shape \(10,\); accepted are \(chains, draws\)"),
        (np.zeros((4, 3)), "at least 4 draws"),
        (np.array([[0.0, np.nan, 1, 2]]), "NaN or inf"),
    ],
)
def test_wrong_draws(draws, message):
    with pytest.raises(InputError, match=message):
        rhat(draws)


def test_wrong_settings():
    x = np.random.default_rng(0).normal(size=(2, 20))
    with pytest.raises(InputError, match="kind is 'all'; accepted are 'bulk', 'tail'"):
        ess(x, kind="all")
    with pytest.raises(InputError, match="probability is None"):
        mcse(x, kind="quantile")
    with pytest.raises(InputError, match="first and last are"):
        geweke(x, first=0.7)

"""R-hat and effective size against ArviZ and the exact autocorrelation time of a first-order process."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import signal

from statml.errors import InputError
from statml.uncertainty import effective_size, split_rhat


def autoregressive(phi, shape=(4, 2000), seed=0):
    noise = np.random.default_rng(seed).normal(size=shape)
    return signal.lfilter([1], [1, -phi], noise, axis=1)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_effective_size_of_an_autoregressive_process(phi):
    """N (1 - phi) / (1 + phi), to two standard errors of 200,000 draws."""
    x = autoregressive(phi, (4, 50_000))
    assert_allclose(effective_size(x), x.size * (1 - phi) / (1 + phi), rtol=0.1)


@pytest.mark.parametrize("make", [lambda: autoregressive(0.7), lambda: autoregressive(-0.3, (2, 501))])
def test_arviz_agrees(make):
    arviz = pytest.importorskip("arviz")
    x = make()
    assert_allclose(split_rhat(x), float(arviz.rhat(x)), rtol=1e-12)
    assert_allclose(effective_size(x), float(arviz.ess(x)), rtol=0.02)


def test_chains_that_disagree_are_seen():
    x = autoregressive(0.3, (4, 500))
    assert split_rhat(x)[0] < 1.01
    assert split_rhat(x + np.array([0, 0, 0, 1])[:, None])[0] > 1.05  # another place
    assert split_rhat(x * np.array([1, 1, 1, 3])[:, None])[0] > 1.05  # another width
    assert split_rhat(x + np.linspace(0, 2, 500))[0] > 1.05  # all of them drift
    assert split_rhat(np.zeros((2, 10)))[0] == 1


def test_several_quantities_and_wrong_input():
    x = np.stack([autoregressive(0.2), autoregressive(0.2, seed=1)], axis=2)
    assert effective_size(x).shape == split_rhat(x).shape == (2,)
    assert_allclose(effective_size(x)[1], effective_size(x[:, :, 1])[0])
    for wrong in (np.zeros(10), np.zeros((2, 3)), np.full((2, 10), np.nan)):
        with pytest.raises(InputError, match="accepted"):
            split_rhat(wrong)

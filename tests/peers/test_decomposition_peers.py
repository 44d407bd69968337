"""Decompositions beside scikit-learn's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import decomposition
from sklearn.decomposition._pca import _assess_dimension

from statml import datasets
from statml.decomposition import PCA, ProbabilisticPCA, dimension


@pytest.fixture(scope="module")
def spectra():
    return datasets.load("gaia_xp")["flux"].data[:900, 60:200]


@pytest.mark.parametrize("solver", ["auto", "full", "gram"])
def test_principal_components_of_real_spectra(spectra, solver):
    ours, theirs = PCA(8, solver=solver).fit(spectra), decomposition.PCA(8, svd_solver="full").fit(spectra)
    assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-9)
    assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-9)
    assert_allclose(ours.components_, theirs.components_, atol=1e-8)
    assert_allclose(ours.transform(spectra), theirs.transform(spectra), atol=1e-8)


def test_density_of_probabilistic_pca():
    """Theirs divides the covariance by n - 1, ours by n: compared on the covariance of each."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 7)) + 0.3 * rng.normal(size=(300, 7))
    ours, theirs = ProbabilisticPCA(2).fit(X), decomposition.PCA(2).fit(X)
    assert_allclose(ours.get_covariance() * 300 / 299, theirs.get_covariance(), rtol=1e-9, atol=1e-12)


def test_minkas_evidence():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 9)) + 0.5 * rng.normal(size=(200, 9))
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    ours = dimension.log_evidence(eigenvalues, 200)
    theirs = [_assess_dimension(eigenvalues, k, 200) for k in range(1, 9)]
    assert_allclose(ours[1:], theirs, rtol=1e-10)

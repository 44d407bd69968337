"""What holds for all three: units do not matter, and data of lower rank than asked for are no accident."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from statml.decomposition import PCA, HeteroscedasticPCA, ProbabilisticPCA

ESTIMATORS = {
    "PCA": PCA(2),
    "ProbabilisticPCA": ProbabilisticPCA(2),
    "ProbabilisticPCA em": ProbabilisticPCA(2, method="em", random_state=0),
    "HeteroscedasticPCA": HeteroscedasticPCA(2, random_state=0),
}
each = pytest.mark.parametrize("model", ESTIMATORS.values(), ids=ESTIMATORS)


@each
@pytest.mark.parametrize("unit", [1e-90, 1e-45, 1e-17, 1e30, 1e90])
@pytest.mark.filterwarnings("error")
def test_units_do_not_matter(model, unit):
    """Fluxes of 1e-17 erg / s / cm^2 / A are as good as those of 1."""
    rng = np.random.default_rng(0)
    X = 3.0 + rng.normal(size=(200, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(200, 8))
    scores = model.fit(X).transform(X)
    axes = model.components_
    scaled = model.fit(X * unit).transform(X * unit) / unit
    assert_allclose(scaled, scores, atol=1e-9)
    assert_allclose(model.components_, axes, atol=1e-9)


@each
@pytest.mark.parametrize("noise", [0.0, 1e-9])
@pytest.mark.filterwarnings("error")
def test_one_direction_where_two_are_asked_for(model, noise):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(100, 1)) @ rng.normal(size=(1, 6)) + noise * rng.normal(size=(100, 6))
    scores = model.fit(X).transform(X)
    assert np.all(np.isfinite(scores)) and np.std(scores[:, 1]) < 1e-6 * np.std(scores[:, 0])
    assert_allclose(model.inverse_transform(scores), X, atol=1e-6)
    assert_allclose(model.components_ @ model.components_.T, np.eye(2), atol=1e-10)

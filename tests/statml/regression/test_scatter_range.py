"""A width that follows the features is not extrapolated: an exponential soon becomes absurd."""

import numpy as np

from statml.regression import BayesianLinearRegression


def test_scatter_stays_within_what_was_seen() -> None:
    rng = np.random.default_rng(4)
    X = rng.uniform(-1, 1, size=(800, 1))
    y = X[:, 0] + np.exp(1.5 * X[:, 0]) * rng.normal(size=800)
    model = BayesianLinearRegression(scatter_model="features").fit(X, y)
    inside = model.log_scatter_.at(X)
    assert inside.max() / inside.min() > 5  # it follows the features
    np.testing.assert_allclose(inside, np.exp(1.5 * X[:, 0]), rtol=0.35)
    far = model.log_scatter_.at(np.array([[-40.0], [40.0]]))
    np.testing.assert_allclose(far, [inside.min(), inside.max()])

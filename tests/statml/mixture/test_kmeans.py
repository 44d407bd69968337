"""K-means beside exhaustive search, scikit-learn's rules for weights, and its own refusals."""

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose

from statml.errors import InputError
from statml.mixture import KMeans
from statml.mixture.kmeans import lloyd
from statml.mixture.seeding import plus_plus


def blobs(rng, n=60, d=2):
    return np.concatenate([rng.normal(center, 1, (n, d)) for center in (0, 6, 12)])


def inertia(X, labels, weights):
    return sum(
        np.sum(
            weights[labels == j, None]
            * (X[labels == j] - np.average(X[labels == j], 0, weights[labels == j])) ** 2
        )
        for j in np.unique(labels)
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_best_of_all_assignments(seed):
    rng = np.random.default_rng(seed)
    X, weights = rng.normal(size=(8, 2)), rng.uniform(0.5, 2, 8)
    best = min(inertia(X, np.array(labels), weights) for labels in product(range(3), repeat=8))
    model = KMeans(3, n_init=50, random_state=0).fit(X, sample_weight=weights)
    assert_allclose(model.inertia_, best, rtol=1e-10)
    assert_allclose(model.score(X, sample_weight=weights), -best, rtol=1e-10)


def test_no_step_of_lloyd_raises_the_inertia():
    rng = np.random.default_rng(1)
    X, ones = blobs(rng), np.ones(180)
    start = X[rng.choice(180, 6, replace=False)]
    values = [lloyd(X, ones, start, steps)[1] for steps in range(1, 12)]
    assert np.all(np.diff(values) <= 1e-9)


def test_weights_are_rows_given_more_than_once():
    rng = np.random.default_rng(2)
    X, counts = blobs(rng), rng.integers(0, 4, 180)
    weighted = KMeans(3, random_state=5).fit(X, sample_weight=counts)
    repeated = KMeans(3, random_state=5).fit(rng.permutation(np.repeat(X, counts, axis=0)))
    assert_allclose(weighted.cluster_centers_, repeated.cluster_centers_, rtol=1e-10)
    assert_allclose(weighted.inertia_, repeated.inertia_, rtol=1e-10)


def test_plus_plus_chooses_by_squared_distance():
    """Three points: after 0, the second centre is 3 with probability 9 / (1 + 9). 4,000 draws, 4 sigma."""
    X, weights = np.array([[0.0], [1.0], [3.0]]), np.array([1e6, 1e-6, 1e-6])
    rng = np.random.default_rng(3)
    # One candidate alone, as the paper has it: the weights make the first centre 0.
    import statml.mixture.seeding as seeding

    draws = [seeding._draw(weights * [0, 1, 9], rng.random(1))[0] for _ in range(4000)]
    share = np.mean(np.array(draws) == 2)
    assert abs(share - 0.9) < 4 * np.sqrt(0.09 / 4000)
    assert sorted(plus_plus(X, np.ones(3), 3, rng).ravel()) == [0, 1, 3]


def test_fewer_distinct_rows_than_clusters():
    model = KMeans(3, random_state=0).fit(np.repeat([[0.0], [1.0]], 5, axis=0))
    assert model.inertia_ == 0 and set(model.labels_) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("arguments", "X", "message"),
    [
        ({"n_clusters": 0}, np.eye(3), "n_clusters is 0; accepted is an integer >= 1"),
        ({"n_clusters": 4}, np.eye(3), "n_samples = 3 rows .* at least n_clusters = 4"),
        ({"n_init": 0}, np.eye(9), "n_init is 0; accepted is an integer >= 1"),
    ],
)
def test_refusals(arguments, X, message):
    with pytest.raises(InputError, match=message):
        KMeans(**arguments).fit(X)

"""scikit-learn's own conformance checks, none of them excused."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.decomposition import PCA

ESTIMATORS = [
    PCA(),
    PCA(2, solver="full"),
    PCA(1, solver="randomized"),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)

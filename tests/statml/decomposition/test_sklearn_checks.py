"""scikit-learn's own conformance checks, none of them excused."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.decomposition import PCA, HeteroscedasticPCA, ProbabilisticPCA

ESTIMATORS = [
    PCA(),
    PCA(2, solver="full"),
    PCA(1, solver="randomized"),
    ProbabilisticPCA(),
    ProbabilisticPCA(1, method="em"),
    HeteroscedasticPCA(1),
    HeteroscedasticPCA(1, scatter=0.1),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)

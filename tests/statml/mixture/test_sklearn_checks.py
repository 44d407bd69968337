"""scikit-learn's own conformance checks, none of them excused."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.mixture import ExtremeDeconvolution, GaussianMixture, KMeans

ESTIMATORS = [
    KMeans(random_state=0),
    GaussianMixture(),
    GaussianMixture(2, random_state=0),
    ExtremeDeconvolution(),
    ExtremeDeconvolution(3, split_merge=2, random_state=0),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)

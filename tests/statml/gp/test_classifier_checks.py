"""scikit-learn's own conformance checks, none of them excused."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.gp import RBF, GaussianProcessClassifier

ESTIMATORS = [
    GaussianProcessClassifier(RBF(2.0, sigma=3.0), optimise=False),
    GaussianProcessClassifier(RBF(2.0, sigma=3.0), inference="ep", link="probit", optimise=False),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)

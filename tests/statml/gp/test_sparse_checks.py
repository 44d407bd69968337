"""scikit-learn's own conformance checks, none of them excused."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.gp import SparseGaussianProcess

ESTIMATORS = [
    SparseGaussianProcess(inducing=20, move_inducing=False, random_state=0),
    SparseGaussianProcess(inducing=20, method="svgp", epochs=4, batch_size=50, random_state=0),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)

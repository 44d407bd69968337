"""scikit-learn's own conformance checks of the state-space estimator, none of them excused."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.gp import DRW, Matern32, StateSpaceGP

ESTIMATORS = [
    StateSpaceGP(Matern32(2.0).on(0), restarts=0),
    StateSpaceGP(DRW(2.0, 3.0).on(0), mean="constant", restarts=0),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)

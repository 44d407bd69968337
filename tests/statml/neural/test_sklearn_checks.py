"""scikit-learn's own conformance checks of networks, none of them excused."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.neural import DeepEnsemble, JointMLPRegressor, LastLayerLaplace, MLPRegressor, Training

SHORT = Training(epochs=15, batch_size=64, learning_rate=0.05)
NETWORK = MLPRegressor((16,), training=SHORT, random_state=0)
ESTIMATORS = [
    NETWORK,
    JointMLPRegressor((16,), training=SHORT, random_state=0),
    DeepEnsemble(NETWORK, members=2, random_state=0),
    LastLayerLaplace(NETWORK),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)

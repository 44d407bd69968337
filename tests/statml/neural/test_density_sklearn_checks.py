"""scikit-learn's own conformance checks of the densities and autoencoders, none of them excused."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.neural import (
    Autoencoder,
    ConditionalFlow,
    FlowDensity,
    MixtureDensityNetwork,
    Training,
    VariationalAutoencoder,
)

SHORT = Training(epochs=10, batch_size=64, learning_rate=0.05)
ESTIMATORS = [
    MixtureDensityNetwork(2, hidden=(16,), training=SHORT, random_state=0),
    Autoencoder(1, hidden=(4,), training=Training(epochs=2), random_state=0),
    VariationalAutoencoder(1, hidden=(4,), training=Training(epochs=2), random_state=0),
    FlowDensity(layers=1, hidden=(8,), training=Training(epochs=2), random_state=0),
    ConditionalFlow(bins=4, hidden=(16,), training=SHORT, random_state=0),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)

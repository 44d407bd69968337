"""scikit-learn's own conformance checks, none of them excused."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.classification import LogisticRegression, SoftmaxRegression

ESTIMATORS = [
    LogisticRegression(),
    LogisticRegression(alpha=1.0, class_prior="balanced", averaging="probit"),
    SoftmaxRegression(),
    SoftmaxRegression(alpha=1.0, class_prior="balanced", averaging="pairwise"),
]


@pytest.mark.filterwarnings("ignore::statml.classification.SeparationWarning")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)

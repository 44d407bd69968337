"""scikit-learn's own conformance checks, none of them excused."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.classification import BayesianLogisticRegression

ESTIMATORS = [
    BayesianLogisticRegression(),
    BayesianLogisticRegression(prior_precision=0.1, penalise_intercept=True, averaging="probit"),
    BayesianLogisticRegression(method="mcmc", draws=60, warmup=40, random_state=0),
]


# 4 chains of 60 draws are too few to converge, and say so.
@pytest.mark.filterwarnings("ignore:the chains")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)

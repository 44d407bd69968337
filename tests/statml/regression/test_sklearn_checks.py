"""scikit-learn's own conformance checks, none of them excused."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from statml.regression import (
    BayesianLinearRegression,
    ErrorsInVariables,
    FourierBasis,
    Kelly,
    LinearRegression,
    NormalInverseGammaRegression,
    Orthogonal,
    PolynomialBasis,
    RadialBasis,
    RidgeRegression,
    RobustRegression,
    SplineBasis,
)
from statml.regression.spectra import SpectrumFeatures
from statml.uncertainty import ConformalRegressor
from statml.units import QuantityEstimator

ESTIMATORS = [
    LinearRegression(),
    BayesianLinearRegression(),
    BayesianLinearRegression(tails="student_t"),
    BayesianLinearRegression(scatter_model="features"),
    BayesianLinearRegression(tails="student_t", scatter_model="features"),
    ErrorsInVariables(),
    ErrorsInVariables(Orthogonal(scatter=True)),
    ErrorsInVariables(Orthogonal(outliers=True), random_state=0),
    ErrorsInVariables(Kelly(1, warmup=20, draws=10), random_state=0),
    NormalInverseGammaRegression(),
    RidgeRegression(),
    RidgeRegression("loo"),
    ConformalRegressor(LinearRegression()),
    RobustRegression(),
    RobustRegression(method="mixture"),
    SpectrumFeatures(),
    PolynomialBasis(),
    PolynomialBasis(3, interactions=False, family="chebyshev"),
    FourierBasis(period=2.0, harmonics=2),
    SplineBasis(),
    SplineBasis(3, degree=1, extrapolation="constant"),
    RadialBasis(),
    QuantityEstimator(LinearRegression()),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)

"""Regression: linear models with the errors of their data, and distributions as answers."""

from statml.regression.basis import FourierBasis, PolynomialBasis
from statml.regression.bayesian import BayesianLinearRegression
from statml.regression.errors_in_variables import (
    ErrorsInVariables,
    Kelly,
    KellyPrior,
    Orthogonal,
    York,
)
from statml.regression.linear import LinearRegression
from statml.regression.local_basis import RadialBasis, SplineBasis
from statml.regression.normal_inverse_gamma import NormalInverseGammaRegression
from statml.regression.ridge import RidgeRegression
from statml.regression.robust import RobustRegression
from statml.regression.spectra import SpectrumFeatures, spectral_regressor

__all__ = [
    "BayesianLinearRegression",
    "ErrorsInVariables",
    "FourierBasis",
    "Kelly",
    "KellyPrior",
    "LinearRegression",
    "NormalInverseGammaRegression",
    "Orthogonal",
    "PolynomialBasis",
    "RadialBasis",
    "RidgeRegression",
    "RobustRegression",
    "SpectrumFeatures",
    "SplineBasis",
    "York",
    "spectral_regressor",
]

"""Regression: linear models with the errors of their data, and distributions as answers."""

from statml.regression.bayesian import BayesianLinearRegression
from statml.regression.errors_in_variables import (
    ErrorsInVariables,
    Kelly,
    KellyPrior,
    Orthogonal,
    York,
)
from statml.regression.linear import LinearRegression
from statml.regression.normal_inverse_gamma import NormalInverseGammaRegression
from statml.regression.ridge import RidgeRegression
from statml.regression.robust import RobustRegression
from statml.regression.spectra import SpectrumFeatures, spectral_regressor

__all__ = [
    "BayesianLinearRegression",
    "ErrorsInVariables",
    "Kelly",
    "KellyPrior",
    "LinearRegression",
    "NormalInverseGammaRegression",
    "Orthogonal",
    "RidgeRegression",
    "RobustRegression",
    "SpectrumFeatures",
    "York",
    "spectral_regressor",
]

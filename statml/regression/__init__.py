"""Regression: linear models with the errors of their data, and distributions as answers."""

from statml.regression.bayesian import BayesianLinearRegression
from statml.regression.errors_in_variables import ErrorsInVariables, Orthogonal, York
from statml.regression.linear import LinearRegression
from statml.regression.ridge import RidgeRegression
from statml.regression.robust import RobustRegression
from statml.regression.spectra import SpectrumFeatures, spectral_regressor

__all__ = [
    "BayesianLinearRegression",
    "ErrorsInVariables",
    "LinearRegression",
    "Orthogonal",
    "RidgeRegression",
    "RobustRegression",
    "SpectrumFeatures",
    "York",
    "spectral_regressor",
]

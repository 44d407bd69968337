"""Regression: linear models with the errors of their data, and distributions as answers."""

from statml.regression.linear import LinearRegression

__all__ = ["LinearRegression"]

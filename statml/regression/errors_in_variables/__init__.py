"""Straight lines through points with errors in both coordinates (arXiv:2506.12230, chapter 6)."""

from statml.regression.errors_in_variables.estimator import ErrorsInVariables
from statml.regression.errors_in_variables.kelly import Kelly
from statml.regression.errors_in_variables.kelly_prior import KellyPrior
from statml.regression.errors_in_variables.orthogonal import Orthogonal
from statml.regression.errors_in_variables.york import York

__all__ = ["ErrorsInVariables", "Kelly", "KellyPrior", "Orthogonal", "York"]

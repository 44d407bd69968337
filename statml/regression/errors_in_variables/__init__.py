"""Straight lines through points with errors in both coordinates (arXiv:2506.12230, chapter 6)."""

from statml.regression.errors_in_variables.estimator import ErrorsInVariables
from statml.regression.errors_in_variables.orthogonal import Orthogonal
from statml.regression.errors_in_variables.york import York

__all__ = ["ErrorsInVariables", "Orthogonal", "York"]

"""statml: statistical machine learning for astronomy, uncertainty first.

Every estimator is fitted with the errors of its inputs,
``fit(X, y, X_err=..., y_err=...)``, and answers with a distribution,
``predict_dist(X) -> PredictiveDistribution``.

>>> from statml.regression import BayesianLinearRegression
>>> from statml.uncertainty import calibration_report

Importing this package is cheap; each family of methods is a subpackage.
"""

from statml.errors import StatmlError

__all__ = ["StatmlError", "__version__"]
__version__ = "0.1.0"

"""Classification: class probabilities from features with errors (arXiv:2506.12230, chapters 7 to 9)."""

from statml.classification.bayesian import BayesianLogisticRegression
from statml.classification.logistic import LogisticRegression
from statml.classification.separation import SeparationWarning
from statml.classification.softmax import SoftmaxRegression

__all__ = ["BayesianLogisticRegression", "LogisticRegression", "SeparationWarning", "SoftmaxRegression"]

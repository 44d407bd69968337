"""Classification: class probabilities from features with errors (arXiv:2506.12230, chapters 7 to 9)."""

from statml.classification.bayesian import BayesianLogisticRegression
from statml.classification.intervals import Estimate, proportion
from statml.classification.logistic import LogisticRegression
from statml.classification.metrics import (
    accuracy,
    average_precision,
    balanced_accuracy,
    brier_score,
    completeness,
    confusion_matrix,
    f1_score,
    log_loss,
    purity,
    roc_auc,
)
from statml.classification.reliability import brier_decomposition, reliability
from statml.classification.report import ClassificationReport, classification_report
from statml.classification.separation import SeparationWarning
from statml.classification.softmax import SoftmaxRegression
from statml.classification.thresholds import choose_threshold

__all__ = [
    "BayesianLogisticRegression",
    "ClassificationReport",
    "Estimate",
    "LogisticRegression",
    "SeparationWarning",
    "SoftmaxRegression",
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "brier_decomposition",
    "brier_score",
    "choose_threshold",
    "classification_report",
    "completeness",
    "confusion_matrix",
    "f1_score",
    "log_loss",
    "proportion",
    "purity",
    "reliability",
    "roc_auc",
]

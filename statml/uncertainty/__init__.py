"""Covariances, predictive distributions, calibration: the ground every method stands on."""

from statml.uncertainty.calibration import CalibrationReport, calibration_report, covered_fraction, pit
from statml.uncertainty.conformal import ConformalRegressor, Recalibrated
from statml.uncertainty.covariance import Covariance
from statml.uncertainty.cross_validation import (
    coverage,
    coverage_scorer,
    cross_predict_dist,
    crps,
    log_score,
    predict_dist,
)
from statml.uncertainty.distributions import PredictiveDistribution
from statml.uncertainty.empirical import Categorical, Samples
from statml.uncertainty.mixtures import GaussianMixture
from statml.uncertainty.parametric import Gaussian, StudentT
from statml.uncertainty.resampling import Refits, bootstrap, jackknife
from statml.uncertainty.simulation import (
    SimulationReport,
    rank_among,
    rank_uniformity,
    simulation_report,
)
from statml.uncertainty.stack import CovarianceStack
from statml.uncertainty.transformed import TransformedNormal

__all__ = [
    "CalibrationReport",
    "Categorical",
    "ConformalRegressor",
    "Covariance",
    "CovarianceStack",
    "Gaussian",
    "GaussianMixture",
    "PredictiveDistribution",
    "Recalibrated",
    "Refits",
    "Samples",
    "SimulationReport",
    "StudentT",
    "TransformedNormal",
    "bootstrap",
    "calibration_report",
    "coverage",
    "coverage_scorer",
    "covered_fraction",
    "cross_predict_dist",
    "crps",
    "jackknife",
    "log_score",
    "pit",
    "predict_dist",
    "rank_among",
    "rank_uniformity",
    "simulation_report",
]

"""Neural networks whose predictions are distributions (arXiv:2506.12230, chapters 16-17); needs the extra ``neural``."""

from importlib.util import find_spec

from statml.errors import MissingExtraError

if find_spec("torch") is None:
    raise MissingExtraError("statml.neural needs torch: pip install 'statml[neural]'")

from statml.neural.autoencoder import Autoencoder, VariationalAutoencoder
from statml.neural.backpropagation import TeachingMLP
from statml.neural.checkpoint import Checkpoint
from statml.neural.conditional_flow import ConditionalFlow
from statml.neural.ensemble import DeepEnsemble
from statml.neural.flow_density import FlowDensity
from statml.neural.joint_mlp import JointMLPRegressor
from statml.neural.last_layer import LastLayerLaplace
from statml.neural.mixture_density import MixtureDensityNetwork
from statml.neural.mlp import MLPRegressor
from statml.neural.posterior_estimation import NeuralPosterior
from statml.neural.training import History, Training, isolated_random, train

__all__ = [
    "Autoencoder",
    "Checkpoint",
    "ConditionalFlow",
    "DeepEnsemble",
    "FlowDensity",
    "History",
    "JointMLPRegressor",
    "LastLayerLaplace",
    "MLPRegressor",
    "MixtureDensityNetwork",
    "NeuralPosterior",
    "TeachingMLP",
    "Training",
    "VariationalAutoencoder",
    "isolated_random",
    "train",
]

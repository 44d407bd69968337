r"""Normalizing flows: densities that are a normal distribution seen through an invertible map.

    z = T(x; c),    log p(x | c) = log N(z; 0, 1) + log |det dT/dx|

`Flow` joins a base and transforms; each transform is one idea in one file, takes an
optional context c, and composes with the others. The estimators are in
`statml.neural.flow_density` and `statml.neural.conditional_flow`.
"""

from statml.neural.flows.autoregressive import Autoregressive
from statml.neural.flows.builders import autoregressive_flow, coupling_flow, monotone_flow
from statml.neural.flows.coupling import Coupling
from statml.neural.flows.flow import Flow, StandardNormal
from statml.neural.flows.linear import Permutation, Rotation, Standardisation
from statml.neural.flows.monotone import Affine, Monotone, Spline
from statml.neural.flows.support import Support
from statml.neural.flows.transform import Transform

__all__ = [
    "Affine",
    "Autoregressive",
    "Coupling",
    "Flow",
    "Monotone",
    "Permutation",
    "Rotation",
    "Spline",
    "StandardNormal",
    "Standardisation",
    "Support",
    "Transform",
    "autoregressive_flow",
    "coupling_flow",
    "monotone_flow",
]

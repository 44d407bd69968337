"""Gaussian processes of time in O(n), by state-space forms of their kernels; needs the extra ``fast`` (numba)."""

from importlib.util import find_spec

from statml.errors import MissingExtraError

if find_spec("numba") is None:
    raise MissingExtraError("statml.gp.state_space needs numba: pip install 'statml[fast]'")

from statml.gp.state_space.estimator import StateSpaceGP

__all__ = ["StateSpaceGP"]

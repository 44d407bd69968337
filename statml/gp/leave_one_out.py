r"""Every training value predicted from all others, from the factor that is there already.

With P the inverse covariance of y (mean integrated out), the prediction of y_i by the
other rows at the same hyperparameters is normal with

    mean_i = y_i - [P r]_i / P_ii,      variance_i = 1 / P_ii

(Rasmussen & Williams 2006, equations 5.10-5.12; P in the place of K^-1 takes the mean along).
"""

from __future__ import annotations

import numpy as np
import torch

from statml.gp.posterior import Posterior

Array = np.ndarray


def leave_one_out(posterior: Posterior, y: Array) -> tuple[Array, Array]:
    """Means and variances of the observed y_i given the others, (n,) each."""
    with torch.no_grad():
        factor = posterior.tensor(posterior.factor)
        inverse = torch.linalg.solve_triangular(
            factor, torch.eye(len(y), dtype=factor.dtype, device=factor.device), upper=False
        )
        diagonal = inverse.square().sum(0)
        white = inverse.T @ posterior.tensor(posterior.white_design)
        mean_part = torch.linalg.solve_triangular(
            posterior.tensor(posterior.mean_factor), white.T, upper=False
        )
        diagonal = (diagonal - mean_part.square().sum(0)).cpu().numpy()
    return y - posterior.weights / diagonal, 1 / diagonal

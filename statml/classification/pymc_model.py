"""The Bayesian logistic model written in PyMC, so that a student can move on from ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from statml.classification.effective_log_odds import COARSE, PROBIT
from statml.classification.laplace import LogPosterior
from statml.errors import MissingExtraError


def logistic_model(posterior: LogPosterior) -> Any:
    """A `pymc.Model` with the prior, the data and the errors of a posterior.

    The parameters are ``m0 + L0 u`` with ``u`` standard normal, which is how NUTS likes
    them; errors of X enter as they do in `statml.classification.likelihood`.
    """
    try:
        import pymc as pm
    except ImportError as error:
        raise MissingExtraError("to_pymc needs pymc: pip install 'statml[bayes]'") from error
    rows, prior = posterior.rows, posterior.prior
    with pm.Model() as model:
        whitened = pm.Normal("whitened", 0, 1, shape=len(prior.mean))
        params = pm.Deterministic("params", prior.mean + pm.math.dot(prior.factor, whitened))
        mean = pm.math.dot(rows.design, params)
        observed = rows.target.astype(np.int64)
        if rows.stack is None:
            pm.Bernoulli("y", logit_p=mean, observed=observed)
            return model
        slopes = params[rows.first :]
        pulled = pm.math.dot(rows.stack.to_dense(), slopes)  # S_i b, (n, d)
        variance = pm.math.sum(pulled * slopes, axis=1)
        if rows.averaging == "probit":
            pm.Bernoulli("y", logit_p=mean / pm.math.sqrt(1 + PROBIT * variance), observed=observed)
        else:
            variances, weights = COARSE
            z = mean[:, None] / pm.math.sqrt(variances + variance[:, None])
            pm.Bernoulli("y", p=pm.math.dot(pm.math.invprobit(z), weights), observed=observed)
    return model

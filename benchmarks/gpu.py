"""Weighted least squares of ten million rows on a GPU, where there is one.

The rows start in main memory and only triangles come back, so what is timed
includes the way over the bus.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.measurement import Answer, Competitor, largest_difference, measure
from statml.regression import LinearRegression

ROWS, FEATURES = 10_000_000, 50
NOT_MEASURED = "not measured"


def weighted_on_gpu(n: int = ROWS, p: int = FEATURES, repeats: int = 3) -> str:
    """One line: seconds on the GPU and on the CPU of this machine, or that there is no GPU."""
    try:
        import torch
    except ImportError:
        return NOT_MEASURED
    if not torch.cuda.is_available():
        return NOT_MEASURED
    rng = np.random.default_rng(20250614)
    X, err = rng.normal(size=(n, p)), rng.uniform(0.5, 2.0, n)
    y = 3.0 + X @ rng.normal(1.0, 0.2, p) + err * rng.normal(size=n)

    def fit(device: str) -> Answer:
        model = LinearRegression(device=device).fit(X, y, y_err=err)  # type: ignore[arg-type]
        return Answer(model.params_, model.coef_err_)

    competitors = [Competitor(device, True, partial(fit, device)) for device in ("cuda", "cpu")]
    gpu, cpu = (each.fit() for each in competitors)
    difference = largest_difference(gpu.params, cpu.params)
    costs = measure(competitors, repeats)
    return (
        f"WLS, n = {n:,}, p = {p}, {torch.cuda.get_device_name()}: {costs['cuda'].median:.2f} s, "
        f"CPU {costs['cpu'].median:.2f} s; parameters differ by {difference:.1e}"
    )

"""Pieces of flows beside zuko's, at the same parameters (torch, float64)."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from statml.neural import isolated_random
from statml.neural.flows import Affine, Spline, spline

zuko = pytest.importorskip("zuko")
N, BINS = 400, 7


def random(*shape, seed=0, spread=1.0):
    return spread * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rational_quadratic_splines():
    theirs = zuko.transforms.MonotonicRQSTransform(
        random(N, BINS), random(N, BINS, seed=1), random(N, BINS - 1, seed=2), bound=5.0
    )
    knots = spline.Knots(theirs.horizontal, theirs.vertical, theirs.derivatives)
    x = random(N, seed=3, spread=3.0)
    z, log_slope = theirs.call_and_ladj(x)
    ours, our_log_slope = spline.forward(x, knots)
    assert_allclose(ours, z, rtol=1e-10, atol=1e-10)
    assert_allclose(our_log_slope, log_slope, atol=1e-9)
    assert_allclose(spline.inverse(z, knots), theirs.inv(z), atol=1e-9)


def test_affine_maps():
    shift, raw = random(N), random(N, seed=1, spread=0.5)
    theirs = zuko.transforms.MonotonicAffineTransform(shift, raw)
    log_scale = raw / (1 + (raw / np.log(1e-3)).abs())
    # theirs is x scale + shift with this scale; ours is (x - shift) / scale
    family = Affine()
    parameters = torch.stack(
        [-shift * torch.exp(-log_scale), family.limit * torch.atanh(-log_scale / family.limit)], dim=-1
    )
    x = random(N, seed=3, spread=3.0)
    z, log_slope = theirs.call_and_ladj(x)
    ours, our_log_slope = family.forward(x, parameters)
    assert_allclose(ours, z, rtol=1e-10, atol=1e-10)
    assert_allclose(our_log_slope, log_slope, atol=1e-10)


def test_a_whole_flow():
    """A spline whose parameters come from the same network of the context, and a normal base."""
    with isolated_random(0):
        network = torch.nn.Sequential(
            torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3 * BINS - 1)
        ).double()
    context, y = random(N, 2, seed=4), random(N, 1, seed=5, spread=2.0)
    raw = network(context)[:, None, :].detach()

    def transform(parameters):
        return zuko.transforms.MonotonicRQSTransform(
            *parameters.split([BINS, BINS, BINS - 1], dim=-1), bound=5.0
        )

    theirs = zuko.distributions.NormalizingFlow(
        zuko.transforms.DependentTransform(transform(raw), 1),
        zuko.distributions.DiagNormal(torch.zeros(1).double(), torch.ones(1).double()),
    )
    knots = transform(raw)
    z, log_slope = spline.forward(y, spline.Knots(knots.horizontal, knots.vertical, knots.derivatives))
    ours = -0.5 * z[:, 0] ** 2 - 0.5 * np.log(2 * np.pi) + log_slope[:, 0]
    assert_allclose(ours, theirs.log_prob(y), atol=1e-6)


def test_our_parametrisation_spans_the_same_splines():
    """Any knots of zuko's are ours for some parameters: the logits of widths and heights, and slopes."""
    theirs = zuko.transforms.MonotonicRQSTransform(
        random(N, BINS), random(N, BINS, seed=1), random(N, BINS - 1, seed=2), bound=5.0
    )
    least = 1e-3

    def logits(edges):
        share = torch.diff(edges, dim=-1) / 10.0
        return torch.log((share - least / BINS) / (1 - least))

    offset = np.log(np.expm1(1 - least))
    slopes = torch.log(torch.expm1(theirs.derivatives[..., 1:-1] - least)) - offset
    raw = torch.cat([logits(theirs.horizontal), logits(theirs.vertical), slopes], dim=-1)
    x = random(N, seed=3, spread=3.0)
    ours, log_slope = Spline(BINS, 5.0).forward(x, raw)
    z, ladj = theirs.call_and_ladj(x)
    assert_allclose(ours, z, atol=1e-8)
    assert_allclose(log_slope, ladj, atol=1e-7)

"""Flows: they invert, their log-determinants are those of autograd, their densities integrate to one."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats

from statml.errors import InputError
from statml.neural.flows import (
    Affine,
    Autoregressive,
    Coupling,
    Flow,
    Permutation,
    Rotation,
    Spline,
    Standardisation,
    StandardNormal,
    Support,
    autoregressive_flow,
    coupling_flow,
    monotone_flow,
    spline,
)
from statml.neural.training import isolated_random


def disturbed(flow, seed=0, size=0.1):
    """The same flow with random weights: as built it is the identity."""
    random = torch.Generator().manual_seed(seed)
    flow = copy.deepcopy(flow).double()
    with torch.no_grad():
        for weight in flow.parameters():
            weight += size * torch.randn(weight.shape, generator=random, dtype=torch.float64)
    return flow


def rows(n, d, seed=1, spread=2.0):
    random = torch.Generator().manual_seed(seed)
    return spread * torch.randn(n, d, generator=random, dtype=torch.float64)


HIDDEN = {"hidden": (16,)}
with isolated_random(0):  # else the first weights come from torch's own generator, wherever that stands
    FLOWS = {
        "affine coupling": disturbed(coupling_flow(3, Affine(), context=2, **HIDDEN)),
        "spline coupling": disturbed(coupling_flow(3, Spline(), context=2, **HIDDEN), size=0.07),
        "affine autoregressive": disturbed(autoregressive_flow(3, Affine(), context=2, **HIDDEN)),
        "spline autoregressive": disturbed(autoregressive_flow(3, Spline(), context=2, **HIDDEN)),
        "monotone": disturbed(monotone_flow(context=2, **HIDDEN)),
        "support": disturbed(
            coupling_flow(
                3, Affine(), context=2, **HIDDEN, before=[Support([0.0, -np.inf, -1.0], [1.0, 2.0, np.inf])]
            ),
        ),
    }
    PLANAR = {
        "spline coupling": disturbed(coupling_flow(2, Spline(), layers=2, **HIDDEN)),
        "affine coupling": disturbed(coupling_flow(2, Affine(), layers=2, **HIDDEN)),
        "spline autoregressive": disturbed(autoregressive_flow(2, Spline(), layers=2, **HIDDEN)),
        "affine autoregressive": disturbed(autoregressive_flow(2, Affine(), layers=2, **HIDDEN)),
    }
    LINES = [disturbed(monotone_flow(context=1, **HIDDEN), seed=seed, size=0.3) for seed in (0, 1)]
    BOUNDED = disturbed(monotone_flow(context=0, before=[Support([0.0], [1.0])], **HIDDEN), size=0.2)
every_flow = pytest.mark.parametrize("name", FLOWS)


def inside(name, z):
    """Rows in the support of a flow, from rows anywhere."""
    return FLOWS[name].transforms[0].inverse(z) if name == "support" else z


@every_flow
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_flows_invert(name, dtype, tolerance):
    flow = copy.deepcopy(FLOWS[name]).to(dtype)
    x = inside(name, rows(500, flow.base.d, spread=1.0)).to(dtype)
    context = rows(500, 2, seed=2, spread=1.0).to(dtype)
    with torch.no_grad():
        back = flow.inverse(flow(x, context)[0], context)
    assert float(((back - x).abs() / (1 + x.abs())).max()) < tolerance


@every_flow
def test_log_determinants_are_those_of_autograd(name):
    flow = FLOWS[name]
    x = inside(name, rows(12, flow.base.d))
    context = rows(12, 2, seed=2, spread=1.0)
    _, log_det = flow(x, context)
    for i in range(len(x)):
        row = context[i : i + 1]
        jacobian = torch.autograd.functional.jacobian(lambda v, c=row: flow(v[None], c)[0][0], x[i])
        assert_allclose(float(log_det[i].detach()), float(torch.linalg.slogdet(jacobian)[1]), atol=1e-9)


@pytest.mark.parametrize("flow", LINES, ids=["first", "second"])
def test_one_dimensional_densities_integrate_to_one(flow):
    y = torch.linspace(-60, 60, 60_001, dtype=torch.float64)[:, None]
    for c in (-1.0, 1.0):
        with torch.no_grad():
            density = flow.log_prob(y, torch.full_like(y, c)).exp().numpy()
        assert_allclose(np.trapezoid(density, y[:, 0].numpy()), 1.0, atol=1e-5)


@pytest.mark.parametrize("name", PLANAR)
def test_two_dimensional_densities_integrate_to_one(name):
    # splines are the identity beyond their box; affine flows stretch the tails
    reach, n = (20, 801) if name.startswith("affine") else (12, 481)
    edge = torch.linspace(-reach, reach, n, dtype=torch.float64)
    with torch.no_grad():
        density = PLANAR[name].log_prob(torch.cartesian_prod(edge, edge)).exp().reshape(n, n).numpy()
    total = np.trapezoid(np.trapezoid(density, edge.numpy()), edge.numpy())
    assert_allclose(total, 1.0, atol=3e-4)


def test_a_bounded_density_integrates_to_one_and_is_zero_outside():
    y = torch.linspace(0, 1, 200_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        density = BOUNDED.log_prob(y).exp().numpy()
        outside = BOUNDED.log_prob(torch.tensor([[-0.1], [1.0], [2.0]], dtype=torch.float64))
    assert_allclose(np.trapezoid(density, y[:, 0].numpy()), 1.0, atol=1e-4)
    assert torch.all(outside == -torch.inf)


def test_draws_follow_the_density():
    """Kolmogorov-Smirnov against the base after going back, and against scipy for a known map."""
    flow = Flow(StandardNormal(1), [Support([0.0], [np.inf]), Standardisation([0.3], [0.7])])
    draws = flow.double().sample(4000, rng=3).numpy().ravel()
    assert stats.kstest(draws, stats.lognorm(0.7, scale=np.exp(0.3)).cdf).pvalue > 1e-3
    y = torch.tensor([[0.2], [1.0], [4.0]], dtype=torch.float64)
    exact = stats.lognorm.logpdf(y.numpy().ravel(), 0.7, scale=np.exp(0.3))
    assert_allclose(flow.log_prob(y).numpy(), exact, rtol=1e-6)


def test_an_autoregressive_affine_flow_is_a_normal_of_any_covariance():
    """With linear conditioners z = L^-1 (x - mean), exactly."""
    covariance = np.array([[2.0, 1.2, 0.3], [1.2, 1.5, -0.4], [0.3, -0.4, 1.0]])
    mean = np.array([1.0, -2.0, 0.5])
    factor = np.linalg.cholesky(covariance)
    layer = Autoregressive(3, Affine(limit=1e6), hidden=()).double()
    linear = layer.conditioner.layers[0]
    scale = np.diag(factor)
    # shift_j = mean_j + sum_k<j B_jk (x_k - mean_k), with B = 1 - diag(scale) L^-1
    slopes = np.eye(3) - scale[:, None] * np.linalg.inv(factor)
    with torch.no_grad():
        linear.weight[0::2] = torch.from_numpy(slopes)
        linear.bias[0::2] = torch.from_numpy(mean - slopes @ mean)
        linear.bias[1::2] = torch.from_numpy(np.log(scale))
    flow = Flow(StandardNormal(3), [layer])
    x = rows(20, 3)
    expected = stats.multivariate_normal(mean, covariance).logpdf(x.numpy())
    assert_allclose(flow.log_prob(x).detach().numpy(), expected, rtol=1e-9)
    draws = flow.sample(40_000, rng=0).numpy()
    assert_allclose(np.cov(draws.T), covariance, atol=0.05)  # 3.5 standard errors of the largest entry


@pytest.mark.parametrize("hidden", [(), (8,), (16, 16)])
def test_masked_networks_look_back_only(hidden):
    layer = disturbed(Autoregressive(4, Spline(4), context=1, hidden=hidden))
    x, context = rows(1, 4), rows(1, 1, seed=5)
    jacobian = torch.autograd.functional.jacobian(lambda v: layer.conditioner(v, context)[0].sum(-1), x)[:, 0]
    assert torch.all(torch.triu(jacobian) == 0)
    if hidden != (8,):  # a narrow layer may cut a path, a wide one may not
        assert torch.all(jacobian[np.tril_indices(4, -1)] != 0)
    on_context = torch.autograd.functional.jacobian(lambda c: layer.conditioner(x, c)[0].sum(-1), context)
    assert torch.all(on_context != 0)


def test_the_identity_at_first_and_linear_tails():
    for family in (Affine(), Spline(6)):
        x = torch.linspace(-9, 9, 50, dtype=torch.float64)
        z, log_slope = family.forward(x, torch.zeros(50, family.size, dtype=torch.float64))
        assert_allclose(z, x, atol=1e-6)
        assert_allclose(log_slope, 0, atol=1e-6)
    knots = spline.free_knots(rows(1, 17), 6, 5.0)
    far = torch.tensor([-7.0, 8.0], dtype=torch.float64)
    assert_allclose(spline.forward(far, knots)[0], far)
    assert_allclose(spline.inverse(far, knots), far)


def test_a_spline_has_its_knots_and_slopes():
    knots = spline.free_knots(rows(1, 17, spread=1.0), 6, 5.0)
    inner = knots.x[0, 1:-1]
    y, log_slope = spline.forward(inner, knots)
    assert_allclose(y, knots.y[0, 1:-1], rtol=1e-12)
    assert_allclose(log_slope.exp(), knots.slope[0, 1:-1], rtol=1e-10)


def test_rotations_turn_and_permutations_return():
    turn = disturbed(Rotation(4))
    assert_allclose((turn.matrix @ turn.matrix.T).detach(), np.eye(4), atol=1e-12)
    x = rows(5, 4)
    assert_allclose(turn.inverse(turn(x)[0]).detach(), x, atol=1e-12)
    order = Permutation([2, 0, 3, 1])
    assert torch.equal(order.inverse(order(x)[0]), x)


def test_seeds_and_torchs_own_generator():
    flow, context = FLOWS["spline coupling"], rows(5, 2)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert torch.equal(flow.sample(context=context, rng=1), flow.sample(context=context, rng=1))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Permutation([0, 0, 1]), "permutation"),
        (lambda: Standardisation([0.0], [0.0]), "scale"),
        (lambda: Support([1.0], [0.0]), "low < high"),
        (lambda: Coupling([True], Affine()), "Autoregressive"),
        (lambda: coupling_flow(1, Affine()), "monotone_flow"),
        (lambda: Spline(1), "bins"),
    ],
)
def test_what_is_refused(build, words):
    with pytest.raises(InputError, match=words):
        build()

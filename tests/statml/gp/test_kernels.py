"""Kernels against scikit-learn's and celerite2's, and what every covariance function must be."""

import pickle
from copy import deepcopy

import celerite2.terms as celerite
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.gaussian_process import kernels as sk

from statml import gp
from statml.errors import InputError, InputTypeError
from statml.gp import (
    DRW,
    RBF,
    SHO,
    Constant,
    Kernel,
    Linear,
    Matern12,
    Matern32,
    Matern52,
    Periodic,
    Product,
    RationalQuadratic,
    Rotation,
    Sum,
    White,
)

RNG = np.random.default_rng(3)
X3, Z3 = RNG.normal(size=(12, 3)), RNG.normal(size=(7, 3))
T, U = np.sort(RNG.uniform(0, 30, 40)), RNG.uniform(0, 30, 15)

ONE_OF_EACH = [
    RBF([0.7, 1.3, 2.0], sigma=1.4),
    Matern12(0.8, sigma=0.6),
    Matern32([0.7, 1.3, 2.0], sigma=1.4),
    Matern52(1.2, sigma=2.0),
    RationalQuadratic(0.9, alpha=0.7, sigma=1.1),
    Periodic([0.7, 1.3, 2.0], period=1.7, sigma=0.9),
    Constant(1.5),
    Linear([0.5, 1.0, 2.0]),
    White(0.4),
    DRW(1.2, tau=3.0).on(1),
    SHO(0.8, period=4.0, quality=0.2).on(0),
    SHO(0.8, period=4.0, quality=0.5).on(2),
    SHO(0.8, period=4.0, quality=6.0).on(0),
    Rotation(1.3, period=5.0, quality0=1.5, dquality=0.5, fraction=0.4).on(1),
    RBF(1.0).on([0, 2]) * Linear(0.5) + White(0.3) * Constant(2.0) + Matern32(2.0).fixed("sigma"),
]
identify = [f"{type(kernel).__name__}-{i}" for i, kernel in enumerate(ONE_OF_EACH)]
each_kernel = pytest.mark.parametrize("kernel", ONE_OF_EACH, ids=identify)


PAIRS = {
    "RBF": (RBF([0.7, 1.3, 2.0], sigma=1.4), 1.4**2 * sk.RBF([0.7, 1.3, 2.0])),
    "Matern12": (Matern12(0.8, sigma=0.6), 0.6**2 * sk.Matern(0.8, nu=0.5)),
    "Matern32": (Matern32([0.7, 1.3, 2.0]), sk.Matern([0.7, 1.3, 2.0], nu=1.5)),
    "Matern52": (Matern52(1.2, sigma=2.0), 4.0 * sk.Matern(1.2, nu=2.5)),
    "RationalQuadratic": (
        RationalQuadratic(0.9, alpha=0.7, sigma=1.1),
        1.1**2 * sk.RationalQuadratic(0.9, alpha=0.7),
    ),
    "Linear": (Constant(1.5) + Linear(1.0), sk.DotProduct(1.5)),
    "White": (White(0.4), sk.WhiteKernel(0.16)),
    "composed": (
        RBF(1.0, 2.0) * RationalQuadratic(0.5, 1.0, 1.0) + Matern52(2.0) + White(0.1),
        4.0 * sk.RBF(1.0) * sk.RationalQuadratic(0.5, 1.0) + sk.Matern(2.0, nu=2.5) + sk.WhiteKernel(0.01),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_equal_to_scikit_learn(name):
    ours, theirs = PAIRS[name]
    assert_allclose(ours(X3), theirs(X3), rtol=1e-12, atol=1e-15)
    assert_allclose(ours(X3, Z3), theirs(X3, Z3), rtol=1e-12, atol=1e-15)
    assert_allclose(ours(X3).diagonal(), theirs.diag(X3), rtol=1e-12)


def test_periodic_equals_scikit_learn_in_one_dimension_and_a_product_in_more():
    ours = Periodic(0.8, period=2.5, sigma=1.1)
    theirs = 1.1**2 * sk.ExpSineSquared(0.8, 2.5)
    assert_allclose(ours(T, U), theirs(T[:, None], U[:, None]), rtol=1e-10)
    each = [Periodic(0.8, period=2.5).on(j)(X3) for j in range(3)]
    assert_allclose(Periodic(0.8, period=2.5)(X3), np.prod(each, axis=0), rtol=1e-12)


@pytest.mark.parametrize("quality", [0.05, 0.3, 0.499, 0.51, 1 / np.sqrt(2), 3.0, 200.0])
def test_oscillator_equals_celerite2(quality):
    ours = SHO(1.3, period=4.0, quality=quality)
    theirs = celerite.SHOTerm(sigma=1.3, rho=4.0, Q=quality)
    lags = np.r_[0.0, np.geomspace(1e-6, 1e3, 60)]
    assert_allclose(ours([0.0], lags)[0], theirs.get_value(lags), rtol=1e-12, atol=1e-12)


def test_random_walk_and_rotation_equal_celerite2():
    lags = np.r_[0.0, np.geomspace(1e-6, 1e3, 60)]
    walk = celerite.RealTerm(a=1.2**2, c=1 / 3.0)
    assert_allclose(DRW(1.2, tau=3.0)([0.0], lags)[0], walk.get_value(lags), rtol=1e-12, atol=1e-12)
    assert_allclose(DRW(1.2, tau=3.0)(T, U), Matern12(3.0, sigma=1.2)(T, U), rtol=1e-12)
    star = celerite.RotationTerm(sigma=1.3, period=5.0, Q0=1.5, dQ=0.5, f=0.4)
    ours = Rotation(1.3, period=5.0, quality0=1.5, dquality=0.5, fraction=0.4)
    assert_allclose(ours([0.0], lags)[0], star.get_value(lags), rtol=1e-12, atol=1e-12)


def test_oscillator_is_smooth_through_critical_damping():
    """The three branches meet: values and slopes of Q from either side, and from a series in mpmath's stead."""
    lags = np.linspace(0, 20, 50)
    critical = SHO(1.0, period=2 * np.pi, quality=0.5)([0.0], lags)[0]
    assert_allclose(critical, (1 + lags) * np.exp(-lags), rtol=1e-12)
    for edge in (0.5 / np.sqrt(1 - 1e-4), 0.5 / np.sqrt(1 + 1e-4)):
        around = [
            SHO(1.0, period=2 * np.pi, quality=edge * (1 + step))([0.0], lags)[0] for step in (-1e-9, 1e-9)
        ]
        assert_allclose(*around, atol=1e-8)
        slopes = [slope_of_quality(edge * (1 + step), lags) for step in (-1e-9, 1e-9)]
        assert_allclose(*slopes, atol=1e-7)


def slope_of_quality(quality, lags):
    kernel = SHO(1.0, period=2 * np.pi, quality=quality).fixed("sigma", "period")
    theta = torch.tensor(kernel.theta)
    rows = torch.zeros(1, 1, dtype=torch.float64), torch.tensor(lags[:, None])
    jacobian = torch.autograd.functional.jacobian(lambda t: kernel.covariance(*rows, t)[0], theta)
    return jacobian[:, 0].numpy()


# -- what every kernel must hold ----------------------------------------------------------


@each_kernel
def test_diagonal_is_the_variance(kernel):
    theta, rows = torch.tensor(kernel.theta), torch.tensor(X3)
    assert_allclose(kernel.variance(rows, theta).numpy(), np.diag(kernel(X3)), rtol=1e-12)
    # What no two rows share is the step between the two meanings of "the same points".
    step = np.diag(kernel(X3)) - np.diag(kernel(X3, X3))
    assert_allclose(kernel.independent_variance(rows, theta).numpy(), step, rtol=1e-12, atol=1e-14)


@each_kernel
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.01, 30.0))
def test_positive_semidefinite(kernel, seed, spread):
    rng = np.random.default_rng(seed)
    rows = spread * rng.normal(size=(14, 3))
    rows[3] = rows[5]  # a repeated point
    theta = rng.normal(size=len(kernel.names))
    matrix = kernel.with_theta(theta)(rows)
    assert_allclose(matrix, matrix.T, rtol=1e-10, atol=1e-12 * np.abs(matrix).max())
    assert np.linalg.eigvalsh(matrix).min() > -1e-12 * len(matrix) * np.abs(matrix).max()


@each_kernel
def test_gradients_against_finite_differences(kernel):
    """Of the hyperparameters and of both sets of points; central differences are good to about 1e-8."""
    theta = torch.tensor(kernel.theta, requires_grad=True)
    rows, columns = torch.tensor(X3, requires_grad=True), torch.tensor(Z3, requires_grad=True)
    weights = torch.tensor(RNG.normal(size=(12, 7)))
    assert torch.autograd.gradcheck(
        lambda x, z, t: (weights * kernel.covariance(x, z, t)).sum(), (rows, columns, theta), atol=1e-6
    )


@pytest.mark.parametrize(
    "kernel", [RBF(3e-9), Matern12(3e-9), Matern32(3e-9), Matern52(3e-9), RationalQuadratic(3e-9)]
)
def test_near_times_keep_their_distance_whatever_is_far(kernel):
    """Times nanodays apart, beside one 10,000 days later: their own differences are exact, before any centring."""
    t = np.array([0.0, 2e-9, 7e-9, 1e4])
    assert_allclose(kernel(t)[:3, :3], kernel(t[:3]), rtol=1e-13)
    assert kernel(t)[0, 1] < 0.99


@each_kernel
def test_no_nan_gradient_at_zero_distance(kernel):
    theta = torch.tensor(kernel.theta, requires_grad=True)
    rows = torch.tensor(np.vstack([X3[:4], X3[:4]]), requires_grad=True)
    for columns in (None, rows.detach().clone().requires_grad_()):
        total = kernel.covariance(rows, columns, theta).sum() + 0 * theta.sum()  # White may be a plain zero
        inputs = [rows, theta] if columns is None else [rows, theta, columns]
        for gradient in torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True):
            assert torch.all(torch.isfinite(gradient))


SMOOTH = [kernel for kernel in ONE_OF_EACH if kernel.differentiable]


@pytest.mark.parametrize("kernel", SMOOTH, ids=[f"{type(kernel).__name__}" for kernel in SMOOTH])
def test_covariance_of_derivatives_at_a_point(kernel):
    """d2 k(x, z) / dx dz at x = z, the variance of the slope, against differences of the process."""
    dim, step = (getattr(kernel, "dims", None) or (0,))[0], 1e-4
    theta = torch.tensor(kernel.theta, requires_grad=True)
    x = torch.tensor(X3[:1], requires_grad=True)
    z = torch.tensor(X3[:1], requires_grad=True)
    optional = {"allow_unused": True, "materialize_grads": True}
    total = kernel.covariance(x, z, theta).sum() + 0 * theta.sum()
    (slope,) = torch.autograd.grad(total, x, create_graph=True, **optional)
    ours = torch.zeros(())
    if slope.requires_grad:
        (second,) = torch.autograd.grad(slope[0, dim], z, **optional)
        ours = second[0, dim]
    pair = np.repeat(X3[:1], 2, axis=0)
    pair[1, dim] += step
    K = kernel(pair, pair)
    # A Matern 3/2 has a cusp in its second derivative: the difference errs by O(step).
    assert_allclose(ours.item(), (K[0, 0] - 2 * K[0, 1] + K[1, 1]) / step**2, rtol=5e-4, atol=1e-6)


# -- kernels are values -------------------------------------------------------------------


@each_kernel
def test_repr_equality_pickle_and_copy(kernel):
    assert eval(repr(kernel), vars(gp)) == kernel
    assert pickle.loads(pickle.dumps(kernel)) == kernel == deepcopy(kernel)
    assert hash(pickle.loads(pickle.dumps(kernel))) == hash(kernel)
    assert isinstance(kernel, Kernel) and kernel != RBF(17.0)


@each_kernel
def test_theta_names_and_bounds_belong_together(kernel):
    assert len(kernel.names) == len(kernel.theta) == len(kernel.bounds) == len(set(kernel.names))
    moved = kernel.with_theta(kernel.theta + 0.1)
    assert_allclose(moved.theta, kernel.theta + 0.1)
    assert moved.names == kernel.names and moved != kernel
    assert_allclose(moved.bounds, kernel.bounds)
    assert np.all(kernel.bounds[:, 0] < kernel.theta) and np.all(kernel.theta < kernel.bounds[:, 1])
    assert_allclose(
        moved(X3), kernel.covariance(torch.tensor(X3), None, torch.tensor(moved.theta)).numpy(), rtol=1e-12
    )


def test_sums_and_products_take_their_like_apart():
    a, b, c = RBF(1.0), Matern32(2.0), White(0.1)
    assert (a + b) + c == a + (b + c) == Sum(a, b, c)
    assert (a * b) * c == Product(a, b, c)
    assert repr((a + b) * c) == f"({a!r} + {b!r}) * {c!r}"
    assert ((a + b) * c).names[:2] == ("0.0.length_scale", "0.0.sigma")
    assert [type(term) for term in (a * b + c).terms] == [Product, White]


def test_fixed_and_bounded():
    kernel = RBF(2.0, sigma=3.0) + White(0.5)
    assert kernel.fixed("0.sigma", "1.sigma").names == ("0.length_scale",)
    assert kernel.fixed().names == () and kernel.fixed().theta.shape == (0,)
    assert kernel.fixed().bounds.shape == (0, 2)
    assert_allclose(kernel.fixed()(T), kernel(T))
    bounded = kernel.bounded(**{"0.sigma": (1.0, 10.0)})
    assert_allclose(np.exp(bounded.bounds[1]), [1.0, 10.0])
    assert eval(repr(bounded.terms[0]), vars(gp)) == bounded.terms[0]
    assert bounded != kernel


def test_active_dimensions():
    assert_allclose(RBF(0.7).on([0, 2])(X3), RBF(0.7)(X3[:, [0, 2]]))
    # A kernel of some features of a selection looks at those of the selection.
    assert RBF(0.7).on(1).on([0, 2]) == RBF(0.7).on(2)
    assert (RBF(1.0) + Linear(1.0)).on([1]) == RBF(1.0).on([1]) + Linear(1.0).on([1])


WRONG = {
    "negative": (lambda: RBF(-1.0), InputError, ("length_scale", "RBF", "positive")),
    "NaN": (lambda: White(np.nan), InputError, ("sigma", "White", "positive")),
    "word": (lambda: DRW("large"), InputTypeError, ("sigma", "DRW")),
    "array of sigma": (lambda: RBF(1.0, [1.0, 2.0]), InputError, ("sigma", "a number")),
    "lengths and features": (lambda: RBF([1.0, 2.0])(X3), InputError, ("2 values", "3 features")),
    "slopes and features": (lambda: Linear([1.0, 2.0])(X3), InputError, ("2 values", "3 features")),
    "time of three features": (lambda: SHO()(X3), InputError, ("SHO", "one feature", ".on(0)")),
    "missing feature": (lambda: RBF(1.0).on(5)(X3), InputError, ("feature 5", "3 features")),
    "dims": (lambda: RBF(1.0).on([1, 1]), InputError, ("dims", "distinct")),
    "fixed": (lambda: RBF(1.0).fixed("tau"), InputError, ("tau", "length_scale")),
    "fixed in a sum": (lambda: (RBF() + White()).fixed("sigma"), InputError, ("sigma", "0.length_scale")),
    "bounds": (lambda: RBF(1.0).bounded(sigma=(2.0, 1.0)), InputError, ("sigma", "low < high")),
    "theta": (lambda: RBF(1.0).with_theta([1.0]), InputError, ("theta", "2 finite")),
    "points": (lambda: RBF(1.0)([np.nan]), InputError, ("X", "NaN")),
    "features": (lambda: RBF(1.0)(X3, T), InputError, ("Z", "1 features", "3")),
    "sum of one": (lambda: Sum(RBF()), InputError, ("Sum", "two or more")),
    "sum of numbers": (lambda: Sum(RBF(), 2.0), InputTypeError, ("Sum", "float", "kernels")),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_input(wrong):
    call, error, words = WRONG[wrong]
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_kernels_do_not_change():
    with pytest.raises(AttributeError, match="build another"):
        RBF(1.0).sigma = 2.0
    with pytest.raises(TypeError):
        RBF(1.0) + 2.0

r"""From a kernel and times to the matrices of a Markov chain; exposures and bands.

Between times the state moves by A = exp(F dt) and gains Q = P - A P A^T. With bands the
process in band b is sum_r L_br g_r(t), with independent copies g_r: the covariance between
bands is B = L L^T times the kernel of time (a Kronecker product), the states are r-fold.

A value averaged over an exposure is the integral z of the process since the shutter opened,
dz = h x dt, which is one more coordinate of the state,

    A = [[A, 0], [h Phi1, 1]],   Phi1 = int_0^dt exp(F s) ds,   Phi2 = int_0^dt (dt - s) exp(F s) ds,
    cov(x, z) = Phi1 P h^T,   var z = 2 h Phi2 P h^T,

set to zero when the shutter opens and observed as z / exposure when it closes. Phi1 and Phi2
are blocks of one matrix exponential (Van Loan 1978).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from statml.errors import InputError
from statml.gp.state_space.forms import Form

Array = np.ndarray
Tensor = torch.Tensor


@dataclass(frozen=True)
class Chain:
    """Matrices of the steps, with A_0 = 0 and Q_0 the stationary covariance.

    Attributes
    ----------
    A, Q : tensors (m, J, J)
    h : tensor (m, J)
    at : tensor (n,) of int
        The step at which each value is observed (or predicted).
    """

    A: Tensor
    Q: Tensor
    h: Tensor
    at: Tensor


def chain(form: Form, t: Tensor, loadings: Tensor | None = None) -> Chain:
    """The chain of values at sorted times.

    Parameters
    ----------
    form : Form
    t : tensor (n,)
        Sorted.
    loadings : tensor (n, r), optional
        The row of L that belongs to the band of each value.
    """
    A, Q = _moves(form, torch.diff(t), loadings)
    h = _observe(form, len(t), loadings)
    return Chain(
        _first(A, torch.zeros_like(_stationary(form, loadings))[None]),
        _first(Q, _stationary(form, loadings)[None]),
        h,
        torch.arange(len(t), device=t.device),
    )


def exposed_chain(form: Form, t: Tensor, exposure: Tensor, loadings: Tensor | None = None) -> Chain:
    """The chain of means over exposures centred at sorted times; an exposure of zero is a value.

    Raises
    ------
    InputError
        Two exposures overlap.
    """
    refuse_overlaps(t.detach().cpu().numpy(), exposure.cpu().numpy())
    n, long = len(t), exposure > 0
    starts = t - exposure / 2
    # Of events at one time closing comes first, opening last.
    when = torch.cat([starts[long] + exposure[long], t[~long], starts[long]])
    kind = torch.cat(
        [torch.zeros(int(long.sum())), torch.ones(int((~long).sum())), torch.full((int(long.sum()),), 2.0)]
    )
    who = torch.cat([torch.nonzero(long)[:, 0], torch.nonzero(~long)[:, 0], torch.nonzero(long)[:, 0]])
    order = torch.from_numpy(np.lexsort((kind.numpy(), when.detach().cpu().numpy()))).to(t.device)
    when, kind, who = when[order], kind.to(t.device)[order], who[order]
    # A step is inside exposure i from the event after its opening to its closing.
    is_open = torch.cumsum((kind == 2).long() - (kind == 0).long(), 0)[:-1] > 0
    opened = torch.cummax(torch.where(kind == 2, torch.arange(len(kind), device=t.device), 0), 0).values[:-1]
    steps = torch.diff(when)
    mine = None if loadings is None else loadings[who[opened]]
    A, Q = _moves(form, steps, loadings)
    J = A.shape[-1]
    A, Q = torch.nn.functional.pad(A, (0, 1, 0, 1)), torch.nn.functional.pad(Q, (0, 1, 0, 1))
    A[is_open], Q[is_open] = _integrals(form, steps[is_open], None if mine is None else mine[is_open])
    stationary = torch.nn.functional.pad(_stationary(form, loadings), (0, 1, 0, 1))
    h = torch.nn.functional.pad(_observe(form, len(who), None if loadings is None else loadings[who]), (0, 1))
    closing = kind == 0
    last = torch.zeros(J + 1, dtype=h.dtype, device=h.device)
    last[-1] = 1
    h = torch.where(closing[:, None], last / torch.where(closing, exposure[who], 1.0)[:, None], h)
    measured = torch.nonzero(kind < 2)[:, 0]
    at = torch.empty(n, dtype=torch.long, device=t.device)
    at[who[measured]] = measured
    return Chain(_first(A, torch.zeros_like(stationary)[None]), _first(Q, stationary[None]), h, at)


def refuse_overlaps(t: Array, exposure: Array) -> None:
    """Raise where the shutter would be open twice at one time."""
    long = np.flatnonzero(exposure > 0)
    gaps = np.diff(t[long]) - 0.5 * (exposure[long][1:] + exposure[long][:-1])
    # Back-to-back exposures touch, give or take the rounding of the times.
    slack = 1e-9 * exposure[long][1:] + 4 * np.spacing(np.abs(t[long][1:]))
    if np.any(gaps < -slack):
        j = int(np.argmin(gaps + slack))
        raise InputError(
            f"exposure makes the values at {t[long][j]:g} and {t[long][j + 1]:g} overlap; accepted are exposures that do not"
        )


def _first(rest: Tensor, first: Tensor) -> Tensor:
    return torch.cat([first, rest])


def _copies(matrices: Tensor, loadings: Tensor | None) -> Tensor:
    if loadings is None:
        return matrices
    r = loadings.shape[1]
    eye = torch.eye(r, dtype=matrices.dtype, device=matrices.device)
    product = eye[:, None, :, None] * matrices[..., None, :, None, :]
    return product.reshape(*matrices.shape[:-2], r * matrices.shape[-2], r * matrices.shape[-1])


def _stationary(form: Form, loadings: Tensor | None) -> Tensor:
    return _copies(form.stationary, loadings)


def _observe(form: Form, n: int, loadings: Tensor | None) -> Tensor:
    if loadings is None:
        return form.observe.expand(n, -1)
    return (loadings[:, :, None] * form.observe).reshape(n, -1)


def _moves(form: Form, steps: Tensor, loadings: Tensor | None) -> tuple[Tensor, Tensor]:
    A = form.transition(steps)
    Q = form.stationary - A @ form.stationary @ A.mT
    return _copies(A, loadings), _copies(Q, loadings)


def _integrals(form: Form, steps: Tensor, loadings: Tensor | None) -> tuple[Tensor, Tensor]:
    """A and Q of the state and of the integral since the shutter opened."""
    different, where = torch.unique(steps.detach(), return_inverse=True)
    if steps.requires_grad:  # each step with a derivative of its own
        different, where = steps, torch.arange(len(steps), device=steps.device)
    J = form.states
    eye, zero = torch.eye(J, dtype=steps.dtype, device=steps.device), torch.zeros_like(form.drift)
    generator = torch.cat(
        [torch.cat(row, 1) for row in ([form.drift, eye, zero], [zero, zero, eye], [zero, zero, zero])]
    )
    powers = torch.linalg.matrix_exp(generator * different[:, None, None])[:, :J]
    A, phi1, phi2 = (_copies(powers[:, :, i * J : (i + 1) * J], loadings)[where] for i in range(3))
    P = _stationary(form, loadings)
    h = _observe(form, len(steps), loadings)
    g = (phi1.mT @ h[:, :, None])[..., 0]
    Ph = h @ P
    cross = (phi1 @ Ph[:, :, None] - A @ (P @ g[:, :, None]))[..., 0]
    own = 2 * (h * (phi2 @ Ph[:, :, None])[..., 0]).sum(1) - ((g @ P) * g).sum(1)
    one = torch.ones_like(own)[:, None, None]
    moved = torch.cat(
        [torch.cat([A, torch.zeros_like(g)[:, :, None]], 2), torch.cat([g[:, None, :], one], 2)], 1
    )
    noise = torch.cat(
        [
            torch.cat([P - A @ P @ A.mT, cross[:, :, None]], 2),
            torch.cat([cross[:, None, :], own[:, None, None]], 2),
        ],
        1,
    )
    return moved, noise

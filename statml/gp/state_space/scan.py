r"""The filter as a parallel scan: O(log n) steps that are each a batch of small matrix products.

Every step of a Kalman filter is an element (A, b, C, eta, J): given the state before it,
the state after it is N(A x + b, C), and what was observed says of the state before it
exp(eta x - x J x / 2). Two neighbours combine into one,

    E = (I + C1 J2)^-1,
    A = A2 E A1,                 b = A2 E (b1 + C1 eta2) + b2,       C = A2 E C1 A2^T + C2,
    eta = A1^T E^T (eta2 - J2 b1) + eta1,                            J = A1^T E^T J2 A1 + J1,

and because combining is associative, all filtered states come from a scan over pairs, pairs of
pairs, and so on (Sarkka & Garcia-Fernandez 2021, IEEE Trans. Autom. Control 66, 299). It does more
arithmetic than one step after another, so it is for devices that do much at once.
"""

from __future__ import annotations

import torch

Tensor = torch.Tensor
Elements = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def scan_terms(y: Tensor, noise: Tensor, A: Tensor, Q: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log det K, y^T K^-1 y and the smallest D of a chain, on any device, by torch alone.

    Parameters
    ----------
    y, noise : tensors (n,)
        Infinite noise: no information.
    A, Q : tensors (n, J, J)
        A[0] is zero, Q[0] the covariance of the first state.
    h : tensor (n, J)
    """
    means, covariances = filtered(y, noise, A, Q, h)
    before = torch.cat([torch.zeros_like(means[:1]), (A[1:] @ means[:-1, :, None])[..., 0]])
    P = torch.cat([Q[:1], A[1:] @ covariances[:-1] @ A[1:].mT + Q[1:]])
    known = torch.isfinite(noise)
    D = ((h[:, None] @ P @ h[:, :, None])[:, 0, 0] + torch.where(known, noise, 0.0))[known]
    v = (y - (h * before).sum(1))[known]
    return torch.log(D).sum(), (v.square() / D).sum(), D.detach().min()


def filtered(y: Tensor, noise: Tensor, A: Tensor, Q: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Means (n, J) and covariances (n, J, J) of the states given the values so far."""
    known = torch.isfinite(noise)
    variance = torch.where(known, noise, 1.0)
    Qh = (Q @ h[:, :, None])[..., 0]
    D = (h * Qh).sum(1) + variance
    r = torch.where(known, 1 / D, 0.0)
    gain = Qh * r[:, None]
    eye = torch.eye(h.shape[1], dtype=h.dtype, device=h.device)
    keep = eye - gain[:, :, None] * h[:, None, :]
    back = (A.mT @ h[:, :, None])[..., 0]
    elements = (
        keep @ A,
        gain * y[:, None],
        keep @ Q,
        back * (r * y)[:, None],
        back[:, :, None] * back[:, None, :] * r[:, None, None],
    )
    _, means, covariances, _, _ = scan(elements)
    return means, (covariances + covariances.mT) / 2


def combine(one: Elements, two: Elements) -> Elements:
    """The element of two neighbours in time."""
    A1, b1, C1, eta1, J1 = one
    A2, b2, C2, eta2, J2 = two
    eye = torch.eye(A1.shape[-1], dtype=A1.dtype, device=A1.device)
    E = torch.linalg.inv(eye + C1 @ J2)
    forward, back = A2 @ E, A1.mT @ E.mT
    return (
        forward @ A1,
        _apply(forward, b1 + _apply(C1, eta2)) + b2,
        forward @ C1 @ A2.mT + C2,
        _apply(back, eta2 - _apply(J2, b1)) + eta1,
        back @ J2 @ A1 + J1,
    )


def scan(elements: Elements) -> Elements:
    """All leading combinations, by pairs: combine neighbours, scan the pairs, fill in between."""
    n = len(elements[0])
    if n == 1:
        return elements
    even, odd = [part[: n - n % 2 : 2] for part in elements], [part[1::2] for part in elements]
    pairs = scan(combine(tuple(even), tuple(odd)))  # type: ignore[arg-type]
    if n <= 2:
        between = [part[:0] for part in elements]
    else:
        count = (n - 1) // 2
        between = list(combine(tuple(part[:count] for part in pairs), tuple(part[2::2] for part in elements)))  # type: ignore[arg-type]
    filled = []
    for part, pair, middle in zip(elements, pairs, between):
        evens = torch.cat([part[:1], middle])
        mixed = torch.stack([evens[: len(pair)], pair], 1).flatten(0, 1)
        filled.append(torch.cat([mixed, evens[len(pair) :]]))
    return tuple(filled)  # type: ignore[return-value]


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None])[..., 0]

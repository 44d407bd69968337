r"""Kalman filter, its adjoint, smoother and simulation for any small state-space model.

    x_i = A_i x_{i-1} + N(0, Q_i),   y_i = h_i x_i + N(0, noise_i),   A_0 = 0, Q_0 = cov(x_0)

(Kalman 1960). One pass gives the two terms of the likelihood, log det K = sum log D_i and
y^T K^-1 y = sum v_i^2 / D_i. The smoother goes back with rho_i, N_i instead of inverses of covariances
(Bryson & Frazier 1963; de Jong 1989): with L = I - u h^T / D,

    rho <- h v / D + L^T A^T rho,    N <- h h^T / D + L^T A^T N A L,

and E(h x | all y) = h m + u rho, var = h u - u N u. A value with infinite noise carries no
information: D is infinite and L = I. That is also how times without data are predicted.
All cost O(n J^3); there is no matrix larger than J x J.
"""

from __future__ import annotations

import numpy as np

from statml.gp.state_space.elementary import compiled


@compiled
def _predict(A, Q, m, P, work):  # type: ignore[no-untyped-def]
    """m <- A m, P <- A P A^T + Q, in place; `work` is (J + 1, J)."""
    J = len(m)
    for i in range(J):
        total = 0.0
        for k in range(J):
            total += A[i, k] * m[k]
        work[J, i] = total
        for j in range(J):
            total = 0.0
            for k in range(J):
                total += A[i, k] * P[k, j]
            work[i, j] = total
    for i in range(J):
        m[i] = work[J, i]
        for j in range(i + 1):
            total = Q[i, j]
            for k in range(J):
                total += work[i, k] * A[j, k]
            P[i, j] = total
            P[j, i] = total


@compiled
def _gain(P, h, u):  # type: ignore[no-untyped-def]
    """u = P h; returns h u."""
    total = 0.0
    for i in range(len(h)):
        u[i] = 0.0
        for j in range(len(h)):
            u[i] += P[i, j] * h[j]
        total += h[i] * u[i]
    return total


@compiled
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@compiled
def filter_forward(y, noise, A, Q, h, means, covariances):  # type: ignore[no-untyped-def]
    """log det K, y^T K^-1 y and the smallest D; fills the states before each update.

    Parameters
    ----------
    y, noise : arrays (n,)
    A, Q : arrays (n, J, J)
    h : array (n, J)
    means, covariances : arrays (n, J), (n, J, J)
        Results.
    """
    n, J = h.shape
    logdet, quadratic, smallest = 0.0, 0.0, np.inf
    m, P, u, work = np.zeros(J), np.zeros((J, J)), np.zeros(J), np.zeros((J + 1, J))
    for i in range(n):
        _predict(A[i], Q[i], m, P, work)
        for a in range(J):
            means[i, a] = m[a]
            for b in range(J):
                covariances[i, a, b] = P[a, b]
        if noise[i] == np.inf:
            continue
        D = _gain(P, h[i], u) + noise[i]
        v = y[i] - _dot(h[i], m)
        smallest = min(smallest, D)
        logdet += np.log(D) if D > 0 else np.nan
        quadratic += v * v / D if D > 0 else np.nan
        for a in range(J):
            m[a] += u[a] * v / D
            for b in range(J):
                P[a, b] -= u[a] * u[b] / D
    return logdet, quadratic, smallest


@compiled
def filter_backward(
    y, noise, A, h, means, covariances, by_logdet, by_quadratic, y_bar, noise_bar, A_bar, Q_bar, h_bar
):  # type: ignore[no-untyped-def]
    """Fill the derivatives of ``by_logdet * log det K + by_quadratic * y^T K^-1 y``."""
    n, J = h.shape
    mb, Pb, u, ub, e = np.zeros(J), np.zeros((J, J)), np.zeros(J), np.zeros(J), np.zeros(J)
    m_after, P_after, T = np.zeros(J), np.zeros((J, J)), np.zeros((J, J))
    for i in range(n - 1, -1, -1):
        # mb and Pb belong to the state after the update of i; then to the one before it
        if noise[i] < np.inf:
            m, P = means[i], covariances[i]
            D = _gain(P, h[i], u) + noise[i]
            v = y[i] - _dot(h[i], m)
            r = 1 / D
            along = _dot(mb, u)
            rb = v * along + by_quadratic * v * v - _gain(Pb, u, e)
            vb = r * along + 2 * by_quadratic * v * r
            Db = by_logdet * r - r * r * rb
            y_bar[i], noise_bar[i] = vb, Db
            for a in range(J):
                ub[a] = mb[a] * v * r - 2 * r * e[a] + Db * h[i, a]
                h_bar[i, a] = Db * u[a] - vb * m[a]
            for a in range(J):
                mb[a] -= vb * h[i, a]
                for b in range(J):
                    Pb[a, b] += 0.5 * (ub[a] * h[i, b] + h[i, a] * ub[b])
                    h_bar[i, a] += P[a, b] * ub[b]
        else:
            y_bar[i], noise_bar[i] = 0.0, 0.0
            for a in range(J):
                h_bar[i, a] = 0.0
        for a in range(J):
            for b in range(J):
                Q_bar[i, a, b] = Pb[a, b]
                A_bar[i, a, b] = 0.0
        if i == 0:
            break
        # the state after the update of i - 1, computed again
        for a in range(J):
            m_after[a] = means[i - 1, a]
            for b in range(J):
                P_after[a, b] = covariances[i - 1, a, b]
        if noise[i - 1] < np.inf:
            D = _gain(P_after, h[i - 1], u) + noise[i - 1]
            v = y[i - 1] - _dot(h[i - 1], m_after)
            for a in range(J):
                m_after[a] += u[a] * v / D
                for b in range(J):
                    P_after[a, b] -= u[a] * u[b] / D
        for a in range(J):
            for b in range(J):
                total = 0.0
                for k in range(J):
                    total += Pb[a, k] * A[i, k, b]
                T[a, b] = total  # Pb A
        for a in range(J):
            for b in range(J):
                total = mb[a] * m_after[b]
                for k in range(J):
                    total += 2 * T[a, k] * P_after[k, b]
                A_bar[i, a, b] = total
        for a in range(J):
            e[a] = 0.0
            for k in range(J):
                e[a] += A[i, k, a] * mb[k]
            for b in range(J):
                total = 0.0
                for k in range(J):
                    total += A[i, k, a] * T[k, b]
                Pb[a, b] = total
        for a in range(J):
            mb[a] = e[a]


@compiled
def smooth(Y, noise, A, Q, h, means, variances, innovations, D):  # type: ignore[no-untyped-def]
    """Means and variances of h x at every step, given all values; several series at once.

    Parameters
    ----------
    Y : array (n, k)
        Series with the same noise.
    means : array (n, k)
    variances : array (n,)
        Results, of the true values.
    innovations, D : arrays (n, k), (n,)
        Results: v and D; D is infinite where there is no information.
    """
    n, J = h.shape
    K = Y.shape[1]
    gains, prior = np.zeros((n, J)), np.zeros(n)
    P, u, work, none = np.zeros((J, J)), np.zeros(J), np.zeros((J + 1, J)), np.zeros(J)
    M, next_M = np.zeros((K, J)), np.zeros((K, J))
    for i in range(n):
        _predict(A[i], Q[i], none, P, work)
        prior[i] = _gain(P, h[i], u)
        for a in range(J):
            gains[i, a] = u[a]
        D[i] = prior[i] + noise[i]
        for s in range(K):
            for a in range(J):
                next_M[s, a] = _dot(A[i, a], M[s])
            means[i, s] = _dot(h[i], next_M[s])
            innovations[i, s] = Y[i, s] - means[i, s]
            # D = 0: a value known already, exactly
            r = 0.0 if D[i] == np.inf or D[i] <= 0.0 else 1 / D[i]
            for a in range(J):
                M[s, a] = next_M[s, a] + u[a] * (innovations[i, s] * r if r > 0 else 0.0)
        if D[i] < np.inf and D[i] > 0:
            for a in range(J):
                for b in range(J):
                    P[a, b] -= u[a] * u[b] / D[i]
    rho, N, T, e = np.zeros((K, J)), np.zeros((J, J)), np.zeros((J, J)), np.zeros(J)
    for i in range(n - 1, -1, -1):
        u = gains[i]
        curve = _gain(N, u, e)  # e = N u
        variances[i] = prior[i] - curve
        update = D[i] < np.inf and D[i] > 0
        r = 1 / D[i] if update else 0.0
        for s in range(K):
            along = _dot(u, rho[s])
            means[i, s] += along
            if update:  # the true value: the observed one is known
                factor = (innovations[i, s] - along) * r
                means[i, s] += prior[i] * factor
                for a in range(J):
                    rho[s, a] += h[i, a] * factor
        if update:
            # with the value of i itself: h x before, given what comes after it too
            back = prior[i] * r
            variances[i] = prior[i] - prior[i] * back - curve * (1 - back) ** 2
            for a in range(J):
                for b in range(J):
                    N[a, b] += r * (h[i, a] * h[i, b] * (1 + r * curve) - h[i, a] * e[b] - e[a] * h[i, b])
        if i == 0:
            break
        for a in range(J):
            for b in range(J):
                total = 0.0
                for k in range(J):
                    total += N[a, k] * A[i, k, b]
                T[a, b] = total
        for a in range(J):
            for b in range(J):
                total = 0.0
                for k in range(J):
                    total += A[i, k, a] * T[k, b]
                N[a, b] = total
        for s in range(K):
            for a in range(J):
                total = 0.0
                for k in range(J):
                    total += A[i, k, a] * rho[s, k]
                e[a] = total
            for a in range(J):
                rho[s, a] = e[a]


@compiled
def simulate(A, Q, h, normal, tiny, drawn):  # type: ignore[no-untyped-def]
    """Draws of h x along the chain, (n, k), from standard normal numbers (n, k).

    Each value is drawn given those before it, so that no root of Q is needed; where less
    than `tiny` variance is left, the value is the one expected.
    """
    n, J = h.shape
    K = normal.shape[1]
    P, u, work, none = np.zeros((J, J)), np.zeros(J), np.zeros((J + 1, J)), np.zeros(J)
    M, next_M = np.zeros((K, J)), np.zeros((K, J))
    for i in range(n):
        _predict(A[i], Q[i], none, P, work)
        D = _gain(P, h[i], u)
        known = tiny >= D
        for s in range(K):
            for a in range(J):
                next_M[s, a] = _dot(A[i, a], M[s])
            drawn[i, s] = _dot(h[i], next_M[s])
            if not known:
                v = np.sqrt(D) * normal[i, s]
                drawn[i, s] += v
                for a in range(J):
                    next_M[s, a] += u[a] * v / D
            for a in range(J):
                M[s, a] = next_M[s, a]
        if not known:
            for a in range(J):
                for b in range(J):
                    P[a, b] -= u[a] * u[b] / D

# %% [markdown]
# # Assignment 05, reference solution
#
# Runs like any submission; `python solution.py` prints its coverage on held-out stars.

# %%
import numpy as np
from scipy import linalg, stats


# %%
def _whitened(Phi, y, noise_var, prior_mean, prior_cov):
    """The posterior as one least-squares problem ``min |b - A u|``, ``w = prior_mean + L u``.

    In the variable u the prior is a unit normal, so its rows are an identity
    below the whitened data, and a QR of the stack never squares the condition
    number the way Phi^T Phi does.
    """
    sigma = np.sqrt(noise_var)
    L = linalg.cholesky(prior_cov, lower=True)
    p = Phi.shape[1]
    A = np.vstack([(Phi / sigma[:, None]) @ L, np.eye(p)])
    b = np.concatenate([(y - Phi @ prior_mean) / sigma, np.zeros(p)])
    Q, R = linalg.qr(A, mode="economic")
    u = linalg.solve_triangular(R, Q.T @ b)
    u += linalg.solve_triangular(R, Q.T @ (b - A @ u))
    return L, R, u, b - A @ u


def posterior(Phi, y, noise_var, prior_mean, prior_cov):
    L, R, u, _ = _whitened(Phi, y, noise_var, prior_mean, prior_cov)
    half = linalg.solve_triangular(R, L.T, trans="T").T
    return prior_mean + L @ u, half @ half.T


# %%
def log_evidence(Phi, y, noise_var, prior_mean, prior_cov):
    _, R, _, misfit = _whitened(Phi, y, noise_var, prior_mean, prior_cov)
    # det(Phi S0 Phi^T + C) = det(C) det(R)^2, and the least misfit is the quadratic form
    log_det = np.sum(np.log(noise_var)) + 2 * np.sum(np.log(np.abs(np.diag(R))))
    return -0.5 * (len(y) * np.log(2 * np.pi) + log_det + misfit @ misfit)


# %%
def predict(Phi_new, mean, cov, noise_var_new, scatter_var):
    n = len(Phi_new)
    parameter_var = np.einsum("ij,jk,ik->i", Phi_new, cov, Phi_new)
    return (
        Phi_new @ mean,
        parameter_var,
        np.broadcast_to(noise_var_new, n).astype(float),
        np.full(n, float(scatter_var)),
    )


# %%
def coverage(y, mean, std, level):
    half_width = stats.norm.ppf(0.5 + level / 2) * std
    return np.mean(np.abs(y - mean) <= half_width)


# %%
def _columns(flux, centre, spread, axes):
    """Constant, standardised log fluxes, and products of the leading principal components."""
    z = np.clip((_log_shape(flux) - centre) / spread, -5, 5)
    t = np.clip(z @ axes, -4, 4)
    i, j = np.triu_indices(axes.shape[1])
    return np.column_stack([np.ones(len(z)), z, t[:, i] * t[:, j]])


def _log_shape(flux):
    # the blue end of a red star may be noise around zero: keep the logarithm finite
    logs = np.log(np.maximum(flux, 1e-2 * np.median(flux, axis=1, keepdims=True)))
    return logs - logs.mean(axis=1, keepdims=True)


def _best_prior(Phi, y, error_var):
    """Prior width and intrinsic scatter [K] of the highest evidence."""
    scores = {}
    for scatter in (200.0, 250.0, 300.0):
        for width in (30.0, 100.0, 300.0):
            args = Phi, y, error_var + scatter**2, *_prior(y, Phi.shape[1], width)
            scores[width, scatter] = log_evidence(*args)
    return max(scores, key=scores.get)


def _prior(y, p, width):
    return np.r_[np.mean(y), np.zeros(p - 1)], np.diag(np.r_[1e6, np.full(p - 1, width**2)])


def _scale_columns(flux, flux_err, centre, spread, axes):
    """What the size of the error may depend on: the star's colours and its signal to noise."""
    t = np.clip(np.clip((_log_shape(flux) - centre) / spread, -5, 5) @ axes, -4, 4)
    snr = np.log(np.median(np.abs(flux) / flux_err, axis=1))
    return np.column_stack([np.ones(len(t)), t, t**2, snr - 5.0])


def fit_predict_teff(flux, flux_err, teff, teff_err, flux_new, flux_err_new, level):
    n = len(teff)
    logs = _log_shape(flux)
    centre, spread = logs.mean(axis=0), logs.std(axis=0)
    z = np.clip((logs - centre) / spread, -5, 5)
    _, singular, Vt = linalg.svd(z, full_matrices=False)
    axes = Vt[:10].T / singular[:10] * np.sqrt(n)

    Phi = _columns(flux, centre, spread, axes)
    width, scatter = _best_prior(Phi, teff, teff_err**2)
    prior = _prior(teff, Phi.shape[1], width)
    noise_var = teff_err**2 + scatter**2

    # Residuals of stars the fit has not seen: each fifth predicted from the other four.
    residual = np.empty(n)
    for fold in np.array_split(np.random.default_rng(5).permutation(n), 5):
        rest = np.setdiff1d(np.arange(n), fold)
        mean, _ = posterior(Phi[rest], teff[rest], noise_var[rest], *prior)
        residual[fold] = np.abs(teff[fold] - Phi[fold] @ mean)

    # The errors are neither Gaussian nor equally wide everywhere: their size is a
    # function of the spectrum, their shape is read off the residuals themselves.
    S = _scale_columns(flux, flux_err, centre, spread, axes)
    q = S.shape[1]
    log_size, _ = posterior(
        S, np.log(residual + 10.0), np.ones(n), np.zeros(q), np.diag(np.r_[1e4, np.ones(q - 1)])
    )
    ratio = np.sort(residual / np.exp(S @ log_size))
    rank = min(int(np.ceil((n + 1) * level)), n)

    mean, _ = posterior(Phi, teff, noise_var, *prior)
    centre_new = _columns(flux_new, centre, spread, axes) @ mean
    size_new = np.exp(_scale_columns(flux_new, flux_err_new, centre, spread, axes) @ log_size)
    half_width = ratio[rank - 1] * size_new
    return centre_new, centre_new - half_width, centre_new + half_width


# %%
if __name__ == "__main__":
    from course.spectra import binned_stars, split

    stars = binned_stars()
    print(f"{len(stars.teff)} real stars, {stars.flux.shape[1]} bins")
    for seed in range(3):
        train, new = split(stars, seed=seed)
        for level in (0.68, 0.95):
            centre_, low_, high_ = fit_predict_teff(
                train.flux, train.flux_err, train.teff, train.teff_err, new.flux, new.flux_err, level
            )
            inside = (low_ <= new.teff) & (new.teff <= high_)
            quartiles = np.array_split(np.argsort(centre_), 4)
            print(
                f"split {seed}, nominal {level:.2f}: observed {inside.mean():.3f}"
                f"  by quartile {' '.join(f'{inside[part].mean():.2f}' for part in quartiles)}"
                f"  median half-width {np.median(high_ - low_) / 2:.0f} K"
                f"  rms {np.sqrt(np.mean((centre_ - new.teff) ** 2)):.0f} K"
            )

"""Public tests of assignment 05: every student has them and may run them as often as she likes.

The stars are loaded here; the submission's functions see nothing but arrays.
"""

import numpy as np

from course.spectra import binned_stars, split
from course.testing import points

NAMES = ("mean", "parameter_var", "noise_var", "model_var")


def small_problem(seed=0, n=40, p=3):
    rng = np.random.default_rng(seed)
    Phi = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    noise_var = rng.uniform(0.1, 2.0, n) ** 2
    y = Phi @ np.arange(1.0, p + 1) + rng.normal(size=n) * np.sqrt(noise_var)
    return Phi, y, noise_var


@points(5, "posterior: right shapes, symmetric, positive definite")
def test_posterior_is_a_gaussian(submission):
    Phi, y, noise_var = small_problem()
    mean, cov = submission.call("posterior", Phi, y, noise_var, np.zeros(3), 10.0 * np.eye(3))
    assert mean.shape == (3,), f"mean has shape {mean.shape}; it must be (3,)"
    assert cov.shape == (3, 3), f"cov has shape {cov.shape}; it must be (3, 3)"
    assert np.allclose(cov, cov.T, rtol=1e-10), "cov is not symmetric"
    assert np.linalg.eigvalsh(cov).min() > 0, "cov has an eigenvalue that is not positive"


@points(5, "posterior: without prior information it is weighted least squares")
def test_flat_prior_is_weighted_least_squares(submission):
    Phi, y, noise_var = small_problem(seed=1)
    mean, cov = submission.call("posterior", Phi, y, noise_var, np.zeros(3), 1e10 * np.eye(3))
    root_weight = 1 / np.sqrt(noise_var)
    expected = np.linalg.lstsq(Phi * root_weight[:, None], y * root_weight, rcond=None)[0]
    assert np.allclose(mean, expected, rtol=1e-5), f"mean is {mean}; weighted least squares gives {expected}"
    fisher = (Phi.T / noise_var) @ Phi
    assert np.allclose(cov @ fisher, np.eye(3), atol=1e-5), "cov is not the inverse of Phi^T C^-1 Phi"


@points(5, "predict: the mean and three variances, one of each per star")
def test_predict_gives_three_variances(submission):
    Phi, _, noise_var = small_problem(seed=2)
    mean, cov = np.array([1.0, -2.0, 0.5]), np.diag([0.1, 0.2, 0.3])
    parts = submission.call("predict", Phi, mean, cov, noise_var, 4.0)
    assert isinstance(parts, tuple) and len(parts) == 4, f"predict must return the tuple {NAMES}"
    for name, part in zip(NAMES, parts):
        assert part.shape == (len(Phi),), f"{name} has shape {part.shape}; it must be ({len(Phi)},)"
    assert np.allclose(parts[0], Phi @ mean), "the mean of the prediction is Phi_new @ mean"
    assert np.allclose(parts[2], noise_var), "noise_var must come back as it was given"
    assert min(parts[1].min(), parts[3].min()) > 0, "parameter_var and model_var must be positive"


@points(5, "fit_predict_teff: runs on 400 real stars and beats guessing the mean")
def test_real_stars(submission):
    train, new = split(binned_stars(), seed=100)
    train, new = train.take(np.arange(400)), new.take(np.arange(200))
    arrays = (train.flux, train.flux_err, train.teff, train.teff_err, new.flux, new.flux_err)
    parts = submission.call("fit_predict_teff", *arrays, 0.68)
    assert isinstance(parts, tuple) and len(parts) == 3, "fit_predict_teff must return (mean, low, high)"
    mean, low, high = parts
    for name, part in zip(("mean", "low", "high"), parts):
        assert part.shape == (200,), f"{name} has shape {part.shape}; it must be (200,)"
        assert np.all(np.isfinite(part)), f"{name} holds values that are not finite"
    assert np.all((low < mean) & (mean < high)), "low < mean < high must hold for every star"
    rms = np.sqrt(np.mean((mean - new.teff) ** 2))
    assert rms < 0.75 * np.std(new.teff), (
        f"the errors have an rms of {rms:.0f} K; the stars themselves spread by {np.std(new.teff):.0f} K"
    )

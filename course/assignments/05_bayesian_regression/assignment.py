# %% [markdown]
# # Assignment 05: Temperatures of real stars, with errors one can believe
#
# Gaia has taken a low-resolution spectrum (an *XP* spectrum) of hundreds of
# millions of stars. For a few of them the APOGEE survey has measured the
# effective temperature from a far better spectrum. You will learn the relation
# on those, predict the temperature of stars you have not seen, and then do what
# is left out too often: **check whether your error bars are true**.
#
# | part | points |
# |---|---|
# | public tests (you have them) | 20 |
# | hidden tests (run when you hand in) | 44 |
# | question 1, question 2 | 14 + 14 |
# | how you used AI | 8 |
#
# **Rules of the game.** Write the five functions below with NumPy and SciPy.
# You may use `statml` to check yourself, not to do the work. Arrays go in,
# arrays come out; a test calls each function alone, away from this notebook, with
# 15 seconds to answer. Keep experiments and plots under `if __name__ ==
# "__main__":`, so that they do not run when you are graded. Check yourself with
# `course check 05 assignment.ipynb`.

# %%
import numpy as np

# %% [markdown]
# ## The stars
#
# `flux` has one row per star and 60 columns: the mean flux in bins of 10 nm
# between 392 and 992 nm, in units of the star's own median. `flux_err` are the
# standard errors Gaia gives. `teff` and `teff_err` [K] are APOGEE's.
# `split` divides the stars into training stars and new ones.

# %%
if __name__ == "__main__":
    from course.spectra import binned_stars, split

    stars = binned_stars()
    train, new = split(stars, seed=0)
    print(len(train.teff), "training stars,", len(new.teff), "new stars")

# %% [markdown]
# ## 1. The posterior
#
# The model is linear in its parameters: $y = \Phi w + \epsilon$, with
# $\epsilon_i \sim N(0, C_{ii})$ of *known* and different variance for each
# star, and the prior $w \sim N(m_0, S_0)$. The posterior is a Gaussian. Derive
# its mean and covariance, then think about how to compute them: columns of a
# design matrix made of spectra are nearly dependent, and forming
# $\Phi^T C^{-1} \Phi$ squares their condition number.


# %%
def posterior(Phi, y, noise_var, prior_mean, prior_cov):
    """Posterior of the parameters of a linear model with Gaussian errors and prior.

    Parameters
    ----------
    Phi : ndarray (n, p)
        Design matrix.
    y : ndarray (n,)
    noise_var : ndarray (n,)
        Variance of the error of each y (not its standard deviation).
    prior_mean : ndarray (p,)
    prior_cov : ndarray (p, p)
        Symmetric positive definite.

    Returns
    -------
    mean : ndarray (p,)
    cov : ndarray (p, p)
    """
    raise NotImplementedError


# %% [markdown]
# ## 2. The evidence
#
# Before any star is seen the model already predicts the data: $y$ is Gaussian
# with mean $\Phi m_0$ and covariance $\Phi S_0 \Phi^T + C$. Its log density at
# the observed $y$ is the log evidence. With it you can choose the width of the
# prior and the intrinsic scatter without touching a single held-out star. It
# is called often, so do not build the $n \times n$ matrix.


# %%
def log_evidence(Phi, y, noise_var, prior_mean, prior_cov):
    """Natural logarithm of the probability density of y, parameters marginalised.

    Parameters are those of `posterior`; returns a float.
    """
    raise NotImplementedError


# %% [markdown]
# ## 3. Prediction: three variances
#
# A prediction for a new star is uncertain because the parameters are
# (*parameter*), because its label is measured with an error (*noise*), and because
# stars of the same spectrum differ in temperature by more than that (*model*:
# the intrinsic scatter). Keep the three apart; the variance of the observed value is
# their sum.


# %%
def predict(Phi_new, mean, cov, noise_var_new, scatter_var):
    """Mean of the prediction of each new star and the three parts of its variance.

    Parameters
    ----------
    Phi_new : ndarray (n, p)
    mean, cov : ndarray (p,), (p, p)
        The posterior.
    noise_var_new : ndarray (n,)
        Variance of the error of each new label.
    scatter_var : float
        Variance of the intrinsic scatter.

    Returns
    -------
    mean, parameter_var, noise_var, model_var : four ndarray (n,)
    """
    raise NotImplementedError


# %% [markdown]
# ## 4. Are the error bars true?
#
# Of all intervals that claim to hold with probability `level`, that share
# should contain the value. Count, for Gaussian predictions and central
# intervals.


# %%
def coverage(y, mean, std, level):
    """Share of the values y that lie in the central Gaussian interval of probability `level`.

    Parameters
    ----------
    y, mean, std : ndarray (n,)
    level : float
        Between 0 and 1.

    Returns
    -------
    float
    """
    raise NotImplementedError


# %% [markdown]
# ## 5. Temperatures of stars you have not seen
#
# Now put it together. Which functions of the 60 fluxes you use, how you choose
# prior and scatter, and how you come by your interval is yours to decide. The
# hidden tests call the function with some 1,880 training stars for three splits
# you do not know, and ask of the 1,250 or so new stars of each, on average:
#
# * the 68 % interval covers between 63.5 and 72.5 % of them,
# * the 95 % interval covers between 92.5 and 97.5 %,
# * in each quarter of the predicted temperatures the 68 % interval covers
#   between 55 and 80 %,
# * the median half-width of the 68 % interval is below 300 K.
#
# Start with a Gaussian of one constant scatter, look at its coverage at several
# levels, and let question 1 lead you on. `flux_err` may be smaller than you
# would like and a few spectra are strange: a star far outside the range of the
# training stars must not get an absurd temperature.


# %%
def fit_predict_teff(flux, flux_err, teff, teff_err, flux_new, flux_err_new, level):
    """Learn Teff from training spectra, predict it with an interval for new ones.

    Parameters
    ----------
    flux, flux_err : ndarray (n, 60)
        Training spectra and their standard errors.
    teff, teff_err : ndarray (n,)
        Labels and their standard errors [K].
    flux_new, flux_err_new : ndarray (n_new, 60)
    level : float
        Probability the interval is to hold, for instance 0.68.

    Returns
    -------
    mean, low, high : three ndarray (n_new,)
        Prediction and the ends of the interval for the observed label [K].
    """
    raise NotImplementedError


# %% [markdown]
# Look at your own coverage here before you answer the questions.

# %%
if __name__ == "__main__":
    for level in (0.5, 0.68, 0.9, 0.95):
        try:
            mean, low, high = fit_predict_teff(
                train.flux, train.flux_err, train.teff, train.teff_err, new.flux, new.flux_err, level
            )
        except NotImplementedError:
            print("fit_predict_teff is still to be written")
            break
        print(level, np.mean((low <= new.teff) & (new.teff <= high)))

# %% [markdown]
# ## Question 1
#
# Why does the nominal 68 % interval of a Gaussian with one constant scatter
# cover about three quarters of the held-out stars while its 95 % interval looks
# right, and what would you change? Answer in 100 to 250 words in the
# cell below; keep its first line.

# %% [markdown]
# <!-- answer: q1 -->

# %% [markdown]
# ## Question 2
#
# What do the parameter, noise and model variances of a prediction mean here, and
# which of them shrinks when more training stars are added? Answer in 100 to 250
# words in the cell below; keep its first line.

# %% [markdown]
# <!-- answer: q2 -->

# %% [markdown]
# ## How you used AI
#
# Using a language model is allowed, and so is not using one: neither costs or
# earns a point. What is graded is how completely you document it and how you
# checked what it said. Fill in one entry per purpose, or replace the list by
# `ai_use: none`. `confidence` is yours, from 0 to 1, in the result you kept.

# %% [markdown]
# <!-- answer: ai_use -->
#
# ```yaml
# ai_use:
#   - tool:
#     version:
#     date:
#     purpose:
#     prompts: []
#     what_accepted:
#     what_rejected:
#     how_verified:
#     effect_on_answer:
#     confidence:
# ```

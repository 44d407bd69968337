"""Predictions against observed correlations, and the inference of a channel: known answers, calibration, real tables."""

from __future__ import annotations

import os

import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_allclose
from scipy import stats

from statml import datasets
from statml.errors import DataNotFoundError, InputError, InputTypeError
from statml.research.abundances import (
    Channel,
    Element,
    Environment,
    Priors,
    Sample,
    correlation_matrix,
    difference,
    infer_r_process,
    known_element_trials,
    load_elements,
    load_sample,
    observe_stars,
    predictions,
    scores,
    verdicts,
)
from statml.research.abundances.discrepancy import fisher_z, learn_discrepancy, sampling_covariance
from statml.research.abundances.r_process import PARAMETERS
from statml.research.abundances.samples import clusters_sample
from statml.research.abundances.stellar import baselines, jackknife_error, score, without_each
from statml.research.abundances.trials import NOT_CONSTRAINED
from statml.research.abundances.unknown_element import unknown_correlations

TABLES = pytest.mark.skipif(
    "STATML_DATA" not in os.environ, reason="needs $STATML_DATA/abundances/corr_mead25.txt and its neighbours"
)
ENV = Environment.fiducial()
COARSE = Priors(points=(16, 8, 6, 8))
SYMBOLS = ["C", "N", "O", "Na", "Mg", "Si", "Ca", "Fe", "Ni", "Sr", "Y", "Zr", "Ba"]


def made_up(values, symbols, name="made up"):
    return Sample(name, tuple(symbols), values, {})


# --- scores ---


def test_a_perfect_prediction_scores_perfectly():
    rho = correlation_matrix(load_elements(SYMBOLS), ENV)
    found = score(made_up(rho.values, SYMBOLS), "itself", rho.values)
    assert (found.r, found.rank, found.rms, found.bias) == pytest.approx((1, 1, 0, 0), abs=1e-12)
    assert found.pairs == 78 and found.p == 0.001


def test_chance_is_called_chance():
    """Over 60 made-up samples p is below 0.05 in about 5 % (binomial, 1e-3)."""
    rng = np.random.default_rng(3)
    rho = correlation_matrix(load_elements(SYMBOLS[:8]), ENV).values
    small = 0
    for seed in range(60):
        noise = rng.normal(size=(8, 8))
        small += score(made_up(noise + noise.T, SYMBOLS[:8]), "x", rho, rng=seed).p <= 0.05
    assert small <= stats.binom.isf(1e-3, 60, 0.05)


def test_unobserved_pairs_do_not_count():
    rho = correlation_matrix(load_elements(SYMBOLS), ENV).values
    holes = rho.copy()
    holes[0, 1] = holes[1, 0] = np.nan
    assert score(made_up(holes, SYMBOLS), "itself", rho).pairs == 77


def test_the_jackknife_of_a_mean_is_the_standard_error():
    values = np.random.default_rng(1).normal(size=40)
    left_out = np.array([np.delete(values, i).mean() for i in range(40)])
    assert_allclose(jackknife_error(left_out), values.std(ddof=1) / np.sqrt(40), rtol=1e-12)


def test_baselines_know_channels_only():
    found = baselines(load_elements(["O", "Mg", "Ba", "Y"]))
    assert found["same family"].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert found["cosine"][2, 3] > 0.99 > 0.6 > found["cosine"][0, 2]


def test_a_difference_needs_two_standard_errors():
    rho = correlation_matrix(load_elements(SYMBOLS), ENV).values
    rng = np.random.default_rng(2)
    noise = 0.3 * rng.normal(size=rho.shape)
    found = {"theory": rho, "noisy": rho + noise + noise.T, "same": rho.copy()}
    sample = made_up(rho, SYMBOLS)
    assert (
        difference(sample, "theory", "noisy", found).verdict == "r: theory is better; rms: theory is better"
    )
    equal = difference(sample, "theory", "same", found)
    assert equal.r == 0 and equal.verdict.count("no difference") == 2


def test_a_sample_of_strangers_is_refused():
    with pytest.raises(InputError, match="at least 4"):
        predictions(made_up(np.eye(3), ["Eu", "Gd", "Dy"]))
    with pytest.raises(InputError, match="'occam'"):
        load_sample("nobody25")


def test_a_missing_table_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("STATML_DATA", str(tmp_path))
    monkeypatch.setattr("statml.datasets.files._cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(DataNotFoundError, match=r"corr_mead25\.txt"):
        load_sample("mead25")


# --- the discrepancy ---


def test_a_two_way_table_is_taken_apart():
    m, rng = 40, np.random.default_rng(4)
    a = 0.3 * rng.normal(size=m)
    noise = rng.normal(size=(m, m)) * 0.1
    noise = np.triu(noise, 1) + np.triu(noise, 1).T
    left = 0.2 + a[:, None] + a[None, :] + noise
    found = learn_discrepancy(np.tanh(left), np.zeros((m, m)))
    assert found.element_scatter == pytest.approx(np.std(a, ddof=1), rel=0.1)
    assert found.pair_scatter == pytest.approx(0.1, rel=0.1)
    assert_allclose(found.mean - a, 0.2, atol=0.1)


def test_the_sampling_covariance_is_that_of_samples():
    """Correlations of one element with three others, in 4000 samples of 60 stars; 5 standard errors of each entry."""
    rho = np.array([[1, 0.6, 0.3, 0.5], [0.6, 1, 0.4, 0.2], [0.3, 0.4, 1, 0.3], [0.5, 0.2, 0.3, 1]])
    stars, repeats = 60, 4000
    draws = np.random.default_rng(5).multivariate_normal(np.zeros(4), rho, size=(repeats, stars))
    each = draws - draws.mean(1, keepdims=True)
    cov = np.einsum("rni,rnj->rij", each, each)
    z = np.arctanh(cov[:, 0, 1:] / np.sqrt(cov[:, 0, :1] * np.stack([cov[:, i, i] for i in (1, 2, 3)], 1)))
    expected = sampling_covariance(rho[0, 1:], rho[1:, 1:], stars)
    found = np.cov(z.T)
    error = np.sqrt((found**2 + np.outer(np.diag(found), np.diag(found))) / repeats)
    # the formula is of first order in 1 / stars: one per cent at 60
    assert (np.abs(found - expected) < 5 * error + 0.02 * expected).all()


# --- inference ---


def test_the_grid_is_the_forward_model():
    known = load_elements(["O", "Fe", "Ba"])
    grid = {"delay": np.array([30.0, 400.0]), "width": np.array([5.0, 80.0]), "kick": np.array([0.5, 10.0]),
            "events": np.array([0.01, 3.0])}  # fmt: skip
    for drift in ("isotropic", "epicyclic", "dispersing", "aligned"):
        rho = unknown_correlations(known, ENV, grid, drift=drift, sigma_dex=0.02)
        for i, j, k, n in np.ndindex(2, 2, 2, 2):
            channel = Channel(
                "r",
                grid["width"][j] * u.pc,
                kick=grid["kick"][k] * u.pc / u.Myr,
                events_per_cluster=grid["events"][n],
            )
            x = Element("X", {channel: 1.0}, {channel: grid["delay"][i] * u.Myr})
            direct = observe_stars(correlation_matrix([*known, x], ENV, drift=drift), [0, 0, 0, 0.02])
            assert_allclose(rho[i, j, k, n], direct.values[-1, :-1], rtol=0, atol=1e-12)


def observed_with(row_z, symbols, rng, element_scatter, pair_scatter, mean):
    """A made-up sample of known elements and X, its differences from theory drawn from the two-way model."""
    theory = correlation_matrix(load_elements(symbols), ENV).values
    m = len(symbols)
    a = element_scatter * rng.normal(size=m + 1)
    noise = np.triu(pair_scatter * rng.normal(size=(m + 1, m + 1)), 1)
    z = np.zeros((m + 1, m + 1))
    z[:m, :m] = np.arctanh(theory - np.eye(m))
    z[m, :m] = z[:m, m] = row_z
    values = np.tanh(z + mean + a[:, None] + a[None, :] + noise + noise.T)
    np.fill_diagonal(values, 1.0)
    return Sample("made up", (*symbols, "X"), values, {})


def coverage(repeats, level, seed):
    """Share of truths, drawn from the prior, inside central intervals; one for each parameter."""
    rng, grid = np.random.default_rng(seed), COARSE.grid()
    rho = unknown_correlations(load_elements(SYMBOLS), ENV, grid)
    inside = np.zeros((repeats, 4), bool)
    for i in range(repeats):
        cell = tuple(rng.integers(n) for n in COARSE.points)
        sample = observed_with(fisher_z(rho[cell]), SYMBOLS, rng, 0.1, 0.2, 0.3)
        posterior = infer_r_process(sample, "X", priors=COARSE, stars=10_000)
        for p, name in enumerate(PARAMETERS):
            low, high = posterior.interval(name, level).value
            # truths are points, cells have a width: put the truth anywhere in its cell
            points = np.log(posterior.grid[name])
            truth = np.exp(points[cell[p]] + (rng.random() - 0.5) * (points[1] - points[0]))
            inside[i, p] = low <= truth <= high
    return inside


def test_intervals_hold_the_truth_as_often_as_they_say():
    """40 unknown elements from the prior, with a discrepancy the inference has to learn: binomial at 1e-3 for each."""
    inside = coverage(40, 0.68, 1).sum(0)
    low, high = stats.binom.ppf([0.5e-3, 1 - 0.5e-3], 40, 0.68)
    assert ((low <= inside) & (inside <= high)).all(), inside


@pytest.mark.slow
def test_intervals_of_400_elements():
    for level in (0.68, 0.95):
        inside = coverage(400, level, 2).sum(0)
        low, high = stats.binom.ppf([0.5e-3, 1 - 0.5e-3], 400, level)
        assert ((low <= inside) & (inside <= high)).all(), inside


def test_a_clear_row_gives_the_channel_back():
    """No discrepancy and many stars: the delay comes out, and the answer is no limit."""
    channel = Channel("r", 40 * u.pc, events_per_cluster=0.02)
    known = load_elements(SYMBOLS)
    x = Element("X", {channel: 1.0}, {channel: 300 * u.Myr})
    rho = correlation_matrix([*known, x], ENV)
    sample = made_up(rho.values, rho.symbols)
    posterior = infer_r_process(sample, "X", stars=100_000, priors=Priors(points=(40, 12, 6, 12)))
    low, high = posterior.interval("delay", 0.95).to_value(u.Myr)
    assert low < 300 < high and posterior.shrinkage("delay") < 0.2
    assert posterior.piled("delay") == "" and "to" in posterior.statement("delay")
    assert posterior.probability.sum() == pytest.approx(1)
    assert_allclose(posterior.joint("delay", "events").sum(0), posterior.marginal("events"), rtol=1e-12)


def test_a_posterior_at_the_end_of_its_prior_is_a_limit():
    """So many events that their number does not matter: a lower limit, and no interval."""
    known = load_elements(SYMBOLS)
    x = Element("X", {"ccsn": 1.0}, {"ccsn": 8 * u.Myr})
    rho = correlation_matrix([*known, x], ENV)
    posterior = infer_r_process(made_up(rho.values, rho.symbols), "X", stars=1000, priors=COARSE)
    assert posterior.piled("events") == "upper"
    assert posterior.statement("events").startswith("> ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"symbol": "Zz"}, "symbol is 'Zz'"),
        ({"stars": 3}, "stars is 3"),
        ({"drift": "sideways"}, "drift"),
        ({"discrepancy": "some"}, "'learned' and 'none'"),
        ({"priors": Priors(delay=(10, 1) * u.Myr)}, "a range that grows"),
        ({"priors": Priors(width=(10, 100) * u.Myr)}, r"width\[0\] is in Myr"),
        ({"priors": Priors(points=(2, 2, 2, 2))}, "at least 4"),
    ],
)
def test_bad_input(change, words):
    rho = correlation_matrix(load_elements(SYMBOLS), ENV)
    options = {"symbol": "Mg"} | change
    with pytest.raises(InputError, match=words):
        infer_r_process(made_up(rho.values, rho.symbols), **options)
    with pytest.raises(InputTypeError, match="Sample"):
        infer_r_process(rho)


# --- real stars ---


@TABLES
@pytest.mark.data
def test_published_comparisons():
    """r, rank and rms of three samples; the released inputs, recomputed."""
    expected = {
        "mead25": {"released kernel": (0.8211, 0.753, 0.309), "isotropic": (0.820, 0.740, 0.271), "cosine": (0.746, None, 0.187)},
        "ting22_0.1": {"released kernel": (0.5828, 0.549, 0.171), "isotropic": (0.587, 0.557, 0.184), "cosine": (0.198, None, None)},
        "ting22_0.05": {"released kernel": (0.6047, 0.569, 0.192), "isotropic": (0.615, 0.584, 0.214), "cosine": (0.105, None, None)},
    }  # fmt: skip
    for name, rows in expected.items():
        sample, found = predictions(load_sample(name))
        for which, values in rows.items():
            each = score(sample, which, found[which])
            for ours, published in zip((each.r, each.rank, each.rms), values):
                if published is not None:
                    assert ours == pytest.approx(published, abs=1e-3)
        full = score(sample, "full delays", found["full delays"])
        if name == "mead25":
            assert (full.r, full.rms) == pytest.approx((0.866, 0.155), abs=0.01)
            assert each.pairs == 231
            # an upgrade of r by one standard error is none
            assert "r: no difference" in difference(sample, "full delays", "isotropic", found).verdict


@TABLES
@pytest.mark.data
def test_open_clusters():
    sample = load_sample("occam")
    found = {each.prediction: each for each in scores(sample)}
    assert found["isotropic"].pairs == 190
    assert found["released kernel"].r == pytest.approx(0.53, abs=0.01)
    assert found["isotropic"].r == pytest.approx(0.55, abs=0.01)
    assert found["full delays"].r == pytest.approx(0.58, abs=0.015)
    known, predicted = predictions(sample)
    left_out = without_each(known, predicted["isotropic"])
    assert left_out["Ce"] < 0.2 and sorted(left_out.values())[1] > 0.5  # it all hangs on cerium
    other = clusters_sample(datasets.load("occam_clusters"), "r_gc_mwsc")
    known, predicted = predictions(other)
    assert score(known, "isotropic", predicted["isotropic"]).r < 0.4  # with other distances


@TABLES
@pytest.mark.data
def test_without_a_discrepancy_known_elements_come_out_wrong():
    sample, options = load_sample("mead25"), {"priors": Priors(points=(30, 12, 8, 10))}
    alone = known_element_trials(sample, discrepancy="none", **options)
    assert sum(trial.contains_delay for trial in alone) <= 1
    assert min(trial.posterior.chi2 for trial in alone) > 300
    learned = known_element_trials(sample, **options)
    assert sum(trial.contains_delay for trial in learned) == 5
    found = verdicts(learned)
    assert found["delay"].endswith("recovered for known elements")
    assert found["width"].endswith(NOT_CONSTRAINED)
    europium = infer_r_process(sample, "Eu", **options)
    assert europium.chi2_alone > 100 > 22 > europium.chi2
    assert europium.statement("width") == europium.statement("kick") == "unconstrained"

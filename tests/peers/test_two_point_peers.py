"""Pair counts and correlation functions beside treecorr, at equal counts."""

from __future__ import annotations

import numpy as np
import pytest

from statml.statistics import pair_counts, two_point

treecorr = pytest.importorskip("treecorr")
EDGES = np.geomspace(0.01, 0.3, 8)
# Products of weights are kept in single precision there.
SINGLE = 1e-7


def correlation(**settings):
    # bin_slop 0: every pair in its own bin, as ours.
    return treecorr.NNCorrelation(
        min_sep=EDGES[0], max_sep=EDGES[-1], nbins=len(EDGES) - 1, bin_slop=0, num_threads=1, **settings
    )


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    parents = rng.random((40, 3))
    data = np.repeat(parents, 8, axis=0) + 0.03 * rng.normal(size=(320, 3))
    return data, rng.random((1500, 3)), rng.uniform(0.5, 2, 320), rng.uniform(0.5, 2, 1500)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_weighted_counts_are_equal(points, dimensions: int) -> None:
    data, randoms, weights, other = (points[0][:, :dimensions], points[1][:, :dimensions], *points[2:])
    names = "xyz"[:dimensions]
    ours = treecorr.Catalog(**dict(zip(names, data.T)), w=weights)
    theirs = treecorr.Catalog(**dict(zip(names, randoms.T)), w=other)
    dd, dr = correlation(), correlation()
    dd.process(ours)
    dr.process(ours, theirs)
    np.testing.assert_allclose(pair_counts(data, edges=EDGES, first_weights=weights), dd.weight, rtol=SINGLE)
    np.testing.assert_allclose(
        pair_counts(data, randoms, edges=EDGES, first_weights=weights, second_weights=other),
        dr.weight,
        rtol=SINGLE,
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_landy_szalay_and_its_jackknife_are_equal(points, weighted: bool) -> None:
    data, randoms = points[0][:, :2], points[1][:, :2]
    w, v = (points[2], points[3]) if weighted else (None, None)
    labels = tuple(
        (np.digitize(p[:, 0], [0.33, 0.66]) * 3 + np.digitize(p[:, 1], [0.33, 0.66])) for p in (data, randoms)
    )
    catalogues = [
        treecorr.Catalog(x=p[:, 0], y=p[:, 1], w=each, patch=label)
        for p, each, label in zip((data, randoms), (w, v), labels)
    ]
    # Pairs across regions left out by the region of either point, as ours.
    settings = {"var_method": "jackknife", "cross_patch_weight": "simple"}
    dd, dr, rr = correlation(**settings), correlation(**settings), correlation(**settings)
    dd.process(catalogues[0])
    dr.process(*catalogues)
    rr.process(catalogues[1])
    # Its number of all pairs counts every point with itself, n^2 / 2; ours does not, n (n - 1) / 2.
    for own, each in ((dd, w), (rr, v)):
        n = len(data) if own is dd else len(randoms)
        own.tot *= 1 - (1 / n if each is None else np.sum(each**2) / np.sum(each) ** 2)
    xi, _ = dd.calculateXi(rr=rr, dr=dr)
    ours = two_point(data, randoms, EDGES, data_weights=w, random_weights=v, regions=labels)
    np.testing.assert_allclose(ours.xi, xi, rtol=1e-6, atol=1e-8)
    # The same convention in its covariance, which cannot be changed, moves it by a per cent.
    np.testing.assert_allclose(ours.std, np.sqrt(np.diag(dd.cov)), rtol=0.03)


def test_angles_on_the_sky_are_equal() -> None:
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(0, 60, 500), np.degrees(np.arcsin(rng.uniform(-0.3, 0.8, 500)))
    edges = np.geomspace(0.5, 20, 7)
    peer = treecorr.NNCorrelation(
        min_sep=0.5, max_sep=20, nbins=6, sep_units="deg", bin_slop=0, num_threads=1, metric="Arc"
    )
    peer.process(treecorr.Catalog(ra=lon, dec=lat, ra_units="deg", dec_units="deg"))
    np.testing.assert_array_equal(
        pair_counts(np.column_stack([lon, lat]), edges=edges, metric="sky"), peer.npairs
    )

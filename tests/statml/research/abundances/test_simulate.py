"""What the simulator accepts, and that it does the same thing twice."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from astropy import units as u

from statml.errors import InputError, InputTypeError, MissingExtraError
from statml.research.abundances import Channel, Element, Environment, gaussian_fields, load_elements, simulate

ENV = Environment(
    1 * u.kpc**2 / u.Gyr, t_star=1 * u.Gyr, cluster_rate=50 / u.kpc**2 / u.Gyr, mass_scatter2=1.0
)
WIDE, NARROW = Channel("wide", 0.2 * u.kpc), Channel("narrow", 0.02 * u.kpc)
FAST = Element("F", {WIDE: 1.0}, {WIDE: 0 * u.Myr})
SLOW = Element("S", {WIDE: 1.0}, {WIDE: 200 * u.Myr})
MIXED = Element("M", {WIDE: 1.0}, {WIDE: 205 * u.Myr})


def run(elements=(FAST, SLOW), **how):
    how = {"box": 4 * u.kpc, "grid": 64, "rng": 0, "progress": False, **how}
    return simulate(ENV, list(elements), **how)


def test_a_realisation_is_its_seeds_alone():
    three, five = run(realisations=3), run(realisations=5)
    assert np.allclose(three.maps, five.maps[:3], rtol=1e-5)
    assert not np.allclose(five.maps[0], five.maps[1])
    assert np.array_equal(run(realisations=3).maps, three.maps)


def test_the_size_of_a_batch_does_not_matter(monkeypatch):
    batched = run(realisations=3)
    monkeypatch.setitem(simulate.__globals__["BATCH_BYTES"], "cpu", 1)
    assert np.allclose(run(realisations=3).maps, batched.maps, rtol=1e-4, atol=1e-3)


def test_precisions_agree():
    single, double = run(), run(precision="double")
    assert single.maps.dtype == np.float32 and double.maps.dtype == np.float64
    assert np.abs(single.maps - double.maps).max() < 1e-4 * double.maps.std()


def test_units_do_not_matter():
    assert np.array_equal(run(box=4000 * u.pc, lags=0 * u.Gyr).maps, run().maps)


def test_an_element_is_the_sum_of_its_products():
    half = Element(
        "H",
        {WIDE: 0.5, Channel("other", 0.2 * u.kpc): 0.5},
        {WIDE: 0 * u.Myr, Channel("other", 0.2 * u.kpc): 200 * u.Myr},
    )
    fields = run([FAST, SLOW, half])
    maps = fields.maps[0, 0]
    assert np.allclose(maps[2], (maps[0] + maps[1]) / 2, rtol=1e-4)
    # One channel at two delays and another of the same width at one of them: three products.
    assert fields.product_maps.shape[2] == 3


def test_elements_share_products_where_delays_are_rounded():
    assert run([SLOW, MIXED]).product_maps.shape[2] == 2
    rounded = run([SLOW, MIXED], delay_step=0.1)
    assert rounded.product_maps.shape[2] == 1
    assert np.allclose(rounded.correlation().mean, 1)
    forty = load_elements(channels=[Channel(name, 0.2 * u.kpc) for name in ("ccsn", "agb", "snia")])
    fields = simulate(
        Environment.fiducial().replace(cluster_rate=1e-7 / u.pc**2 / u.Myr, mass_scatter2=1.0),
        forty,
        box=4 * u.kpc,
        grid=64,
        delay_step=0.2,
        rng=0,
        progress=False,
    )
    assert len(fields.symbols) == 42 and fields.product_maps.shape[2] <= 20
    assert fields.covariance().mean.shape == (42, 42)


def test_statistics_of_elements_are_those_of_their_maps():
    fields = run([FAST, SLOW], realisations=2, lags=[0, 100] * u.Myr)
    maps = fields.maps.astype(float)
    for number in range(2):
        first, later = maps[number, 0].reshape(2, -1), maps[number, 1].reshape(2, -1)
        joint = np.cov(np.concatenate([first, later]), bias=True)
        assert np.allclose(fields.covariance().each[number], joint[:2, :2], rtol=1e-3)
        assert np.allclose(fields.covariance(lag=1).each[number], joint[:2, 2:], rtol=1e-3)
        rho = np.corrcoef(np.concatenate([first, later]))
        assert np.allclose(fields.correlation(lag=1).each[number], rho[:2, 2:], rtol=1e-3)
        third = np.mean((first - first.mean(axis=1, keepdims=True)) ** 3, axis=1)
        assert np.allclose(fields.third_cumulant().each[number], third, rtol=1e-3)
    zero = fields.cross_correlation(0 * u.pc).each[..., 0]
    assert np.allclose(zero, fields.covariance().each)
    # Two maps shifted against each other by whole cells, over all directions of the same distance.
    cells, off = 4, maps[:, 0, 0] - maps[:, 0, 0].mean(axis=(1, 2), keepdims=True)
    along = np.mean([np.mean(off * np.roll(off, cells, axis), axis=(1, 2)) for axis in (1, 2)], axis=0)
    found = fields.cross_correlation(cells * fields.pixel).each[:, 0, 0, 0]
    assert np.allclose(found, along, rtol=0.15, atol=0.02 * off.var())


def test_all_of_the_power_is_in_the_bins():
    fields = run(realisations=2)
    edges = [0.01, 1000] / u.kpc
    power, modes, k = fields.power(edges)
    area = (fields.box / ENV.length_unit).to_value(u.one) ** 2
    assert np.allclose(power.mean[..., 0] * 2 * modes[0] / area, fields.covariance().mean, rtol=1e-6)
    assert fields.in_bins(np.ones(len(k)), edges) == pytest.approx(1)


def test_ctrl_c_keeps_what_was_finished(monkeypatch):
    run_class = simulate.__globals__["_Run"]
    original, calls = run_class.batch, []

    def batch(self, streams):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, streams)

    monkeypatch.setitem(simulate.__globals__["BATCH_BYTES"], "cpu", 1)
    monkeypatch.setattr(run_class, "batch", batch)
    with pytest.warns(RuntimeWarning, match="2 of 5 realisations"):
        fields = run(realisations=5)
    assert len(fields) == 2
    monkeypatch.undo()
    assert np.allclose(fields.maps, run(realisations=2).maps, rtol=1e-4)


def test_a_product_of_later_times_is_left_out_with_a_warning():
    late = Element("L", {WIDE: 0.5, NARROW: 0.5}, {WIDE: 0 * u.Myr, NARROW: 2 * u.Gyr})
    with pytest.warns(UserWarning, match="contributes nothing"):
        fields = run([late])
    assert fields.product_maps.shape[2] == 1
    never = Element("N", {WIDE: 1.0}, {WIDE: 2 * u.Gyr})
    with pytest.warns(UserWarning), pytest.raises(InputError, match="no product"):
        run([never])


def test_a_coarse_grid_is_refused_with_the_size_that_is_needed():
    narrow = Element("N", {NARROW: 1.0}, {NARROW: 0 * u.Myr})
    with pytest.raises(
        InputError, match=r"grid is 64, too coarse for the injection width 20 pc of narrow.* (\d+) cells"
    ) as found:
        run([narrow])
    needed = int(str(found.value).split("at least ")[1].split()[0])
    assert run([narrow], grid=needed).maps.shape[-1] == needed
    with pytest.raises(InputError, match="too coarse"):
        run([narrow], grid=needed - 2)


@pytest.mark.parametrize(
    "change, error, words",
    [
        ({"grid": 65}, InputError, "even whole number"),
        ({"grid": 6}, InputError, "at least 8"),
        ({"box": 4}, InputTypeError, "no unit"),
        ({"box": 4 * u.Myr}, u.UnitConversionError, "box is in Myr"),
        ({"box": -4 * u.kpc}, InputError, "box is -4"),
        ({"lags": -1 * u.Myr}, InputError, "lags"),
        ({"realisations": 0}, InputError, "realisations is 0"),
        ({"drift": "sideways"}, InputError, "drift is 'sideways'"),
        ({"stars_per_cluster": 3}, InputError, "dispersing"),
        ({"precision": "half"}, InputError, "precision is 'half'"),
        ({"device": "tpu"}, InputError, "device is 'tpu'"),
        ({"delay_step": -1}, InputError, "delay_step"),
        ({"rng": "seed"}, InputError, "rng is 'seed'"),
    ],
)
def test_bad_input_is_one_sentence(change, error, words):
    with pytest.raises(error, match=words) as found:
        run(**change)
    assert "\n" not in str(found.value)


def test_bad_questions():
    fields = run()
    for ask, words in (
        (lambda: fields.covariance(lag=1), "lag is 1"),
        (lambda: fields.covariance().std_error, "one realisation"),
        (lambda: fields.cross_correlation(3 * u.kpc), "half of the box"),
        (lambda: fields.power([2, 1] / u.kpc), "growing"),
        (lambda: fields.power([0.1, 0.2] / u.kpc), "without any wave"),
        (lambda: simulate(ENV, [], box=1 * u.kpc, grid=64), "empty"),
        (lambda: simulate(None, [FAST], box=1 * u.kpc, grid=64), "Environment"),
        (lambda: gaussian_fields(ENV, [FAST], box=4 * u.kpc, grid=7), "grid is 7"),
    ):
        with pytest.raises((InputError, InputTypeError), match=words):
            ask()


def test_without_torch_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "torch":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"statml\[neural\]"):
        run()

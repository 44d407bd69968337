"""`sample` and `Chain`: what is accepted, what is said of the rest, runs that stop and go on."""

import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

torch = pytest.importorskip("torch")

from statml.errors import InputError, InputTypeError  # noqa: E402
from statml.sampling import (  # noqa: E402
    HMC,
    NUTS,
    Chain,
    Ensemble,
    Gibbs,
    Metropolis,
    Tempering,
    ValueAndGradient,
    sample,
)
from statml.sampling.diagnostics import ess, rhat  # noqa: E402

START = np.random.default_rng(0).normal(size=(8, 2))


def normal(x):
    return -0.5 * (x * x).sum(-1)


ANALYTIC = ValueAndGradient(lambda x: (normal(x), -x))


def conditional(x, rng):
    return rng.standard_normal(len(x))


SAMPLERS = {
    "nuts": NUTS(),
    "nuts, dense": NUTS(dense=True),
    "hmc": HMC(),
    "ensemble": Ensemble(),
    "differential": Ensemble(move="differential"),
    "metropolis": Metropolis(),
    "gibbs": Gibbs([conditional, conditional]),
    "tempering": Tempering(lambda x: normal(x) / 2, 4),
    "tempered ensemble": Tempering(
        lambda x: normal(x) / 2, [1.0, 3.0, np.inf], inner=Ensemble(a=2.5), steps=2
    ),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_returns_a_chain(name):
    chain = sample(normal, START, sampler=SAMPLERS[name], draws=30, warmup=20, rng=1, names=["a", "b"])
    assert chain.draws.shape == (8, 30, 2)
    assert chain.log_prob.shape == (8, 30)
    np.testing.assert_allclose(chain.log_prob, normal(chain.draws), rtol=1e-10)
    assert all(value.shape[:2] == (8, 30) for value in chain.statistics.values())
    assert chain.dependent == ("ensemble" in name or name == "differential")
    assert 0 < chain.acceptance <= 1
    again = sample(normal, START, sampler=SAMPLERS[name], draws=30, warmup=20, rng=1, names=["a", "b"])
    assert_array_equal(again.draws, chain.draws)
    other = sample(normal, START, sampler=SAMPLERS[name], draws=30, warmup=20, rng=2, names=["a", "b"])
    assert not np.array_equal(other.draws, chain.draws)


@pytest.mark.parametrize("name", ["nuts", "hmc", "ensemble", "metropolis"])
def test_strings_are_classes_with_defaults(name):
    by_name = sample(ANALYTIC, START, sampler=name, draws=5, warmup=3, rng=1)
    by_class = sample(ANALYTIC, START, sampler=SAMPLERS[name], draws=5, warmup=3, rng=1)
    assert_array_equal(by_name.draws, by_class.draws)


def test_default_warmup():
    calls = []

    def counted(x):
        calls.append(len(x))
        return normal(x)

    sample(counted, START, sampler=Metropolis(scale=1.0), draws=7, rng=0)
    assert len(calls) == 2 + 7  # the check, and no warm-up
    assert (NUTS.default_warmup, HMC.default_warmup) == (1000, 1000)


def test_one_starting_point_and_scalar_functions():
    def scalar(x):
        assert x.shape == (2,)
        return -0.5 * (x[0] ** 2 + x[1] ** 2)

    for sampler in ("metropolis", "nuts"):
        chain = sample(
            scalar, [0.1, 0.2], chains=3, sampler=sampler, draws=20, warmup=10, vectorized=False, rng=0
        )
        batch = sample(normal, [0.1, 0.2], chains=3, sampler=sampler, draws=20, warmup=10, rng=0)
        np.testing.assert_allclose(chain.draws, batch.draws, rtol=1e-9)
    assert sample(scalar, [0.1, 0.2], sampler="metropolis", draws=4, vectorized=False, rng=0).draws.shape == (
        1,
        4,
        2,
    )


def test_gradients_by_hand_are_those_of_torch():
    for sampler in ("nuts", "hmc"):
        ours = sample(ANALYTIC, START, sampler=sampler, draws=20, warmup=50, rng=0)
        theirs = sample(normal, START, sampler=sampler, draws=20, warmup=50, rng=0)
        np.testing.assert_allclose(ours.draws, theirs.draws, rtol=1e-8)


def test_threads_of_torch_are_given_back():
    before, seen = torch.get_num_threads(), []

    def log_prob(x):
        seen.append(torch.get_num_threads())
        return normal(x)

    sample(log_prob, START, sampler="nuts", draws=2, warmup=0, rng=0)
    assert seen[-1] == 1
    assert torch.get_num_threads() == before


BAD = [
    ({"sampler": "slice"}, "sampler is 'slice'; accepted are 'nuts', 'hmc', 'ensemble', 'metropolis'"),
    ({"draws": 0}, "draws is 0; accepted is a whole number of at least 1"),
    ({"warmup": -1}, "warmup is -1; accepted"),
    ({"initial": np.zeros((2, 2, 2))}, r"initial has shape \(2, 2, 2\); accepted is \(chains, parameters\)"),
    ({"initial": [[np.nan, 0.0]]}, "initial contains NaN"),
    ({"chains": 3}, "chains is 3 and initial has 8 rows"),
    ({"names": ["a", "a"]}, "accepted are 2 different names"),
    ({"rng": "seed"}, "rng is 'seed'"),
    ({"log_prob": lambda x: x[..., 0] * np.nan}, r"log_prob is nan at \["),
    ({"log_prob": lambda x: np.full(len(x), -np.inf)}, r"log_prob is -inf at initial\[0\]"),
    ({"log_prob": lambda x: np.sum(x**2)}, r"log_prob returned shape \(\).*vectorized=False maps"),
    ({"log_prob": lambda x: x}, r"log_prob returned shape \(1, 2\) for points of shape \(1, 2\)"),
    ({"log_prob": lambda x: torch.exp(x).sum(-1)}, "log_prob fails on NumPy arrays"),
    ({"log_prob": lambda x: x, "vectorized": False}, "accepted with vectorized=False is one number"),
    ({"log_prob": lambda x: np.log(np.exp(x).sum(-1)), "sampler": "nuts"}, "log_prob fails on torch tensors"),
    ({"log_prob": lambda x: x.sum(), "sampler": "nuts"}, r"log_prob returned shape \(\)"),
    (
        {"log_prob": lambda x: torch.sqrt(x[..., 0] * 0) + normal(x), "sampler": "nuts"},
        "the gradient of log_prob is",
    ),
    (
        {"sampler": "ensemble", "initial": START[:3]},
        "3 walkers for 2 parameters; accepted are an even number",
    ),
    ({"sampler": "ensemble", "initial": np.ones((8, 2))}, "lie in a subspace"),
    ({"sampler": Metropolis(scale=[1.0, 1.0, 1.0])}, r"scale has shape \(3,\)"),
    ({"sampler": Metropolis(cov=-np.eye(2))}, "cov is not positive definite"),
    ({"sampler": Gibbs([conditional])}, r"parameters \[0\]; accepted is each of the 2 parameters"),
    ({"sampler": Gibbs([conditional, lambda x, rng: 0.0])}, r"conditionals\[1\] returned shape \(\)"),
    ({"checkpoint_every": -1.0, "checkpoint": "x.npz"}, "checkpoint_every is -1.0"),
    ({"device": "tpu", "sampler": "nuts"}, "device is 'tpu'"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_input_gets_one_sentence(changes, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"log_prob": normal, "initial": START, "sampler": "metropolis", "draws": 3, "rng": 0} | changes
    with pytest.raises(InputError, match=message) as caught:
        sample(given.pop("log_prob"), given.pop("initial"), **given)
    assert "accepted" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample(3, START, draws=1), "log_prob is a int; accepted is a function"),
        (
            lambda: sample(normal, START, sampler=NUTS, draws=1),
            r"sampler is the class NUTS; accepted is an instance",
        ),
        (lambda: sample(lambda x: "no", START, sampler="metropolis", draws=1), "log_prob returned a str"),
        (lambda: sample(lambda x: x.detach().sum(-1), START, sampler="nuts", draws=1), "without a gradient"),
        (lambda: Gibbs([3]), "conditionals.* is a int; accepted are functions"),
        (lambda: Tempering(3), "log_likelihood is a int; accepted is a function"),
    ],
)
def test_bad_types_get_one_sentence(call, message):
    with pytest.raises(InputTypeError, match=message):
        call()


@pytest.mark.parametrize(
    "make",
    [
        lambda: NUTS(target_accept=1.0),
        lambda: NUTS(max_depth=0),
        lambda: HMC(step_size=-1),
        lambda: HMC(duration=0),
        lambda: Metropolis(scale=-1),
        lambda: Metropolis(scale=1, cov=np.eye(2)),
        lambda: Metropolis(target_accept=2),
        lambda: Ensemble(a=1),
        lambda: Ensemble(move="walk"),
        lambda: Tempering(normal, [2.0, 3.0]),
        lambda: Tempering(normal, 4, steps=0),
        lambda: Tempering(normal, 4, inner="nuts"),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(InputError, match="accepted"):
        make()


def test_nan_during_a_run_is_refused():
    def late(x):
        return np.where(np.abs(x[..., 0]) > 2.5, np.nan, normal(x))

    with pytest.raises(InputError, match=r"log_prob is nan at .*-inf where a point is impossible"):
        sample(late, START * 0.1, sampler=Metropolis(scale=2.0), draws=500, rng=0)


def test_impossible_points_are_never_drawn():
    """A truncated normal: -inf outside; for NUTS the wall is a divergence, and never crossed."""

    def wall(x):
        return np.where(x[..., 0] > 0, normal(x), -np.inf)

    def torch_wall(x):
        return torch.where(x[..., 0] > 0, normal(x), -torch.inf)

    shallow = NUTS(max_depth=5)
    for log_prob, sampler in (
        (wall, Metropolis()),
        (wall, Ensemble()),
        (torch_wall, shallow),
        (torch_wall, HMC()),
    ):
        chain = sample(log_prob, np.abs(START), sampler=sampler, draws=100, warmup=40, rng=1)
        assert np.all(chain["theta[0]"] > 0)
        assert np.all(np.isfinite(chain.log_prob))


# -- runs that stop and go on -----------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("stop", [13, 31])
def test_a_run_goes_on_bit_by_bit_the_same(name, stop, tmp_path):
    """Stopped in the warm-up of 20 steps, or after it."""
    path = tmp_path / "run.npz"
    arguments = {"sampler": SAMPLERS[name], "draws": 25, "warmup": 20, "rng": 3}
    whole = sample(normal, START, **arguments)

    class StopError(Exception):
        pass

    def stopping(steps, *_, **__):
        for i in steps:
            if i == stop:
                raise StopError
            yield i

    from statml.sampling import run

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopError):
        patch.setattr(run.console, "progress", stopping)
        sample(normal, START, checkpoint=path, checkpoint_every=0, **arguments)
    resumed = sample(normal, START, checkpoint=path, **arguments)
    for field in ("draws", "log_prob"):
        assert_array_equal(getattr(resumed, field), getattr(whole, field))
    for key, value in whole.statistics.items():
        assert_array_equal(resumed.statistics[key], value)
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import sys, time
import numpy as np
from statml.sampling import sample

def log_prob(x):
    time.sleep(0.002)
    return -0.5 * np.sum(x**2, axis=-1) - 0.1 * np.sum(x**4, axis=-1)

start = np.random.default_rng(0).normal(size=(8, 2))
pace = float(sys.argv[2])
chain = sample(log_prob, start, sampler=sys.argv[3], draws=400, warmup=50, rng=5,
               checkpoint=sys.argv[1], checkpoint_every=pace)
chain.save(sys.argv[1] + ".done")
"""


@pytest.mark.parametrize("sampler", [pytest.param("ensemble", marks=pytest.mark.slow), "metropolis"])
def test_a_killed_process_has_lost_nothing_that_matters(sampler, tmp_path):
    """SIGKILL while it writes as fast as it can, three times; then the end, the same as uninterrupted."""

    def run(path, pace):
        return subprocess.Popen([sys.executable, "-c", KILLED, str(path), str(pace), sampler])

    assert run(tmp_path / "whole.npz", 1000).wait(timeout=120) == 0
    path = tmp_path / "killed.npz"
    kills = 0
    for _ in range(3):
        process = run(path, 0)
        seen = path.stat().st_mtime_ns if path.exists() else None
        for _ in range(2000):
            if process.poll() is not None or (path.exists() and path.stat().st_mtime_ns != seen):
                break
            time.sleep(0.01)
        time.sleep(0.15)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait(timeout=60)
    assert kills >= 1
    assert run(path, 1000).wait(timeout=120) == 0
    whole, resumed = (Chain.load(Path(f"{each}.done")) for each in (tmp_path / "whole.npz", path))
    assert_array_equal(resumed.draws, whole.draws)
    assert_array_equal(resumed.log_prob, whole.log_prob)


def test_a_finished_run_can_be_extended(tmp_path):
    path = tmp_path / "run.npz"
    whole = sample(normal, START, sampler="ensemble", draws=50, rng=3)
    short = sample(normal, START, sampler="ensemble", draws=20, rng=3, checkpoint=path)
    assert_array_equal(short.draws, whole.draws[:, :20])
    longer = sample(normal, START, sampler="ensemble", draws=50, rng=3, checkpoint=path)
    assert_array_equal(longer.draws, whole.draws)
    # Fewer draws than are there: the first of them, and the file keeps all.
    fewer = sample(normal, START, sampler="ensemble", draws=10, rng=3, checkpoint=path)
    assert_array_equal(fewer.draws, whole.draws[:, :10])
    again = sample(normal, START, sampler="ensemble", draws=50, rng=3, checkpoint=path)
    assert_array_equal(again.draws, whole.draws)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"sampler": Ensemble(a=3)}, "sampler"),
        ({"warmup": 5}, "warmup"),
        ({"rng": 4}, "seed"),
        ({"initial": START + 0.1}, "initial"),
        ({"names": ["a", "b"]}, "names"),
        ({"log_prob": lambda x: 2 * normal(x)}, "another log_prob"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(changes, what, tmp_path):
    path = tmp_path / "run.npz"
    given = {
        "log_prob": normal,
        "initial": START,
        "sampler": "ensemble",
        "draws": 20,
        "rng": 3,
        "checkpoint": path,
    }
    sample(given["log_prob"], given["initial"], **{k: given[k] for k in list(given)[2:]})
    given |= changes
    with pytest.raises(InputError, match=f"{what}.*accepted is a checkpoint of this run, or a new path"):
        sample(given.pop("log_prob"), given.pop("initial"), **given)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    path.write_text("something else")
    with pytest.raises(InputError, match="cannot be read as one"):
        sample(normal, START, sampler="ensemble", draws=5, checkpoint=path)
    assert path.read_text() == "something else"


def test_ctrl_c_returns_what_was_drawn(tmp_path):
    path = tmp_path / "run.npz"
    calls = []

    def interrupted(x):
        calls.append(1)
        if len(calls) == 30:
            raise KeyboardInterrupt
        return normal(x)

    with pytest.warns(RuntimeWarning, match=r"interrupted after \d+ of 1000 draws"):
        chain = sample(interrupted, START, sampler=Metropolis(scale=1.0), draws=1000, rng=1, checkpoint=path)
    assert 20 < chain.draws.shape[1] < 30
    whole = sample(normal, START, sampler=Metropolis(scale=1.0), draws=1000, rng=1, checkpoint=path)
    assert_array_equal(
        whole.draws, sample(normal, START, sampler=Metropolis(scale=1.0), draws=1000, rng=1).draws
    )


def test_ctrl_c_before_the_first_draw_stays_ctrl_c():
    def interrupted(x):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return normal(x)

    calls = []
    with pytest.raises(KeyboardInterrupt):
        sample(interrupted, START, sampler="metropolis", draws=10, warmup=100, rng=1)


# -- chains ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain():
    return sample(ANALYTIC, START, sampler="nuts", draws=200, warmup=100, rng=1, names=["a", "b"])


@pytest.fixture(scope="module")
def walkers():
    return sample(normal, START, sampler="ensemble", draws=400, rng=1)


def test_slices(chain):
    part = chain[2:, 50:]
    assert part.draws.shape == (6, 150, 2)
    assert_array_equal(part.statistics["energy"], chain.statistics["energy"][2:, 50:])
    assert_array_equal(chain["b"], chain.draws[:, :, 1])
    assert chain[0].draws.shape == chain[-1].draws.shape == (1, 200, 2)
    assert_array_equal(chain[[1, 3]].draws, chain.draws[[1, 3]])
    assert chain.flat.shape == (1600, 2)
    with pytest.raises(InputError, match="there is no parameter 'c'; accepted are a, b"):
        chain["c"]
    with pytest.raises(InputError, match="accepted are a name, chains, or chains and a slice"):
        chain[0, 0]


@pytest.mark.parametrize("name", ["nuts", "tempering"])
def test_save_and_load(name, tmp_path):
    made = sample(normal, START, sampler=SAMPLERS[name], draws=20, warmup=10, rng=1, names=["a", "b"])
    made.save(tmp_path / "chain.npz")
    read = Chain.load(tmp_path / "chain.npz")
    assert (read.names, read.dependent, read.sampler) == (made.names, made.dependent, made.sampler)
    assert_array_equal(read.draws, made.draws)
    assert read.statistics.keys() == made.statistics.keys()
    if name == "tempering":
        assert read.log_evidence() == made.log_evidence()
    with pytest.raises(InputError, match="no saved chain"):
        (tmp_path / "other.npz").write_text("x")
        Chain.load(tmp_path / "other.npz")
    with pytest.raises(InputError, match="there is no file"):
        Chain.load(tmp_path / "none.npz")


def test_summary(chain, walkers):
    table = chain.summary()
    assert list(table["name"]) == ["a", "b"]
    np.testing.assert_allclose(table["ess_bulk"], ess(chain.draws))
    np.testing.assert_allclose(table["rhat"], rhat(chain.draws))
    np.testing.assert_allclose(table["q50"], np.median(chain.flat, axis=0))
    assert table.meta["divergences"] == chain.divergences
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dependent = walkers.summary()
    assert np.all(np.isnan(dependent["rhat"]))
    np.testing.assert_allclose(dependent["ess_bulk"], 8 * 400 / walkers.autocorrelation_time())


def test_dependent_walkers_are_named(walkers, chain):
    with pytest.warns(UserWarning, match="walkers of one ensemble and depend on each other"):
        walkers.rhat()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chain.rhat()


def test_inference_data(chain, walkers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("arviz")
        data = chain.to_inference_data()
        assert walkers.to_inference_data()["posterior"].attrs["dependent_chains"] == 1
    assert_array_equal(data["posterior"]["b"].values, chain["b"])
    assert_array_equal(data["sample_stats"]["diverging"].values, chain.statistics["diverging"])
    assert data["posterior"].attrs["sampler"] == "nuts"


def test_inference_data_of_arviz_1(chain, monkeypatch):
    """There `from_dict` takes one dictionary of groups."""
    import types

    class Group(dict):
        attrs: dict

    def from_dict(data):
        groups = {name: Group(values) for name, values in data.items()}
        for group in groups.values():
            group.attrs = {}
        return groups

    monkeypatch.setitem(sys.modules, "arviz", types.SimpleNamespace(__version__="1.2.0", from_dict=from_dict))
    data = chain.to_inference_data()
    assert_array_equal(data["posterior"]["a"], chain["a"])
    assert data["posterior"].attrs["sampler"] == "nuts"


def test_figure(chain, walkers):
    figure = chain.figure()
    assert len(figure.axes) == 4
    assert len(walkers.figure().axes) == 4
    with pytest.raises(InputError, match="accepted are at least 20"):
        chain[:, :5].figure()


def test_evidence_needs_a_ladder(chain):
    with pytest.raises(
        InputError, match="the chain is of nuts; accepted for log_evidence is one of Tempering"
    ):
        chain.log_evidence()
    short = sample(normal, START, sampler=Tempering(normal, [1.0, 2.0, 3.0]), draws=30, rng=0)
    with pytest.raises(InputError, match="from 1 to infinity"):
        short.log_evidence()
    with pytest.raises(InputError, match="method is 'harmonic'"):
        short.log_evidence("harmonic")


def test_nothing_heavy_is_loaded():
    code = "import sys, statml.sampling; print([m for m in ('torch', 'arviz', 'pymc', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "of_one_point", [lambda x: -0.5 * (x[0] ** 2 + x[1] ** 2), lambda x: -0.5 * float(x @ x)]
)
def test_a_function_of_one_point_is_told_how_to_be_mapped(of_one_point):
    start = np.random.default_rng(0).normal(size=(4, 2))
    with pytest.raises(InputError, match=r"fails on points of shape .* \(vectorized=False maps"):
        sample(of_one_point, start, sampler="metropolis", draws=5, rng=0)
    mapped = sample(of_one_point, start, sampler="metropolis", draws=5, rng=0, vectorized=False)
    assert mapped.draws.shape == (4, 5, 2)


def test_a_chain_is_an_array_to_numpy_and_ends():
    start = np.random.default_rng(0).normal(size=(8, 2))
    chain = sample(lambda x: -0.5 * np.sum(x**2, axis=-1), start, sampler="metropolis", draws=50, rng=0)
    assert_array_equal(np.asarray(chain), chain.draws)
    assert_array_equal(rhat(chain), chain.rhat())
    assert [len(each) for each in chain] == 8 * [1]
    walkers = sample(lambda x: -0.5 * np.sum(x**2, axis=-1), start, sampler="ensemble", draws=50, rng=0)
    with pytest.raises(InputError, match="a Chain of dependent walkers"):
        ess(walkers)

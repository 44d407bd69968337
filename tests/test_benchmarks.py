"""The benchmarks: answers are compared before anything is timed, and a run leaves a whole record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_small_run_leaves_numbers_and_a_figure(tmp_path: Path) -> None:
    from benchmarks import regression, report

    record = regression.benchmark([200, 400], 4, 2)
    numbers, picture = report.save(record, tmp_path)
    assert json.loads(numbers.read_text()) == record
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [(entry["problem"], entry["n"]) for entry in record["measurements"]] == [
        (problem, n) for n in (200, 400) for problem in ("OLS", "WLS", "Bayes")
    ]
    for entry in record["measurements"]:
        peers = [cost for cost in entry["costs"] if not cost["ours"]]
        assert set(entry["differences"]) == {cost["label"] for cost in peers}
        ours = entry["costs"][0]["median_s"]
        assert entry["ratio"] == ours / min(cost["median_s"] for cost in peers)
        assert all(len(cost["seconds"]) == 2 for cost in entry["costs"])
    text = report.tables(record)
    assert "ours / fastest peer" in text
    assert "GPU: not measured" in text


def test_least_squares_is_that_of_both_peers_to_1e_8() -> None:
    from benchmarks import regression

    for name in ("OLS", "WLS"):
        competitors, check = regression.problems(*regression.simulate(3_000, 12))[name]
        ours = competitors[0].fit()
        found = [check(ours, peer.fit()) for peer in competitors[1:]]
        assert [set(each) for each in found] == [{"params", "errors"}] * 2 + [{"params"}]
        assert max(max(each.values()) for each in found) < 1e-10


@pytest.mark.parametrize("wrong", ["params", "errors"])
def test_a_wrong_answer_is_never_timed(wrong: str) -> None:
    from benchmarks.measurement import Answer, DisagreementError
    from benchmarks.regression import close, same

    right = Answer(np.array([1.0, 2.0]), np.array([0.1, 0.2]))
    values = {"params": right.params, "errors": right.errors} | {wrong: getattr(right, wrong) * 1.02}
    for check in (same, close):
        assert max(check(right, right).values()) == 0
        with pytest.raises(DisagreementError, match=wrong):
            check(right, Answer(**values))


def test_robust_maxima_are_those_of_the_peers() -> None:
    from benchmarks import robust

    record = robust.benchmark([400], 2, 1)
    assert [entry["problem"] for entry in record["measurements"]] == ["Student t", "mixture"]
    for entry in record["measurements"]:
        assert max(max(each.values()) for each in entry["differences"].values()) < 5e-3


def test_repeats_are_interleaved_and_the_fastest_peer_counts() -> None:
    from benchmarks.measurement import Answer, Competitor, Cost, measure, ratio_to_fastest_peer

    calls: list[str] = []

    def competitor(label: str, ours: bool) -> Competitor:
        def fit() -> Answer:
            calls.append(label)
            return Answer(np.ones(1), None)

        return Competitor(label, ours, fit)

    every = [competitor("a", True), competitor("b", False), competitor("c", False)]
    costs = measure(every, 2)
    assert calls == ["a", "b", "c", "a", "b", "c", "b", "c", "a"]  # memory first, then two turns
    assert all(len(cost.seconds) == 2 for cost in costs.values())
    known = {"a": Cost((2.0, 9.0, 2.0), None), "b": Cost((8.0,), None), "c": Cost((4.0,), None)}
    assert ratio_to_fastest_peer(every, known) == (0.5, "c")


def test_peak_memory_sees_an_array() -> None:
    # In a process of its own: a system that reclaims memory meanwhile can take more from a large one.
    code = """
import numpy as np
from benchmarks.measurement import peak_memory
print(peak_memory(lambda: np.ones(10_000_000).sum()))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() == "None":
        pytest.skip("this system does not tell the peak memory of a process")
    assert 70e6 < int(done.stdout) < 140e6


def test_command_line(tmp_path: Path) -> None:
    done = command("regression", "--quick", "--json", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0] == json.loads((tmp_path / "regression.json").read_text())


def test_unknown_family() -> None:
    done = command("cosmology")
    assert done.returncode == 2
    assert done.stderr.startswith("python -m benchmarks: name is 'cosmology'; accepted are regression, ")
    assert done.stderr.count("\n") == 1


def test_lines_with_errors_in_both_coordinates_are_those_of_the_peers() -> None:
    from benchmarks import errors_in_variables

    for name, build in errors_in_variables.PROBLEMS.items():
        ours, *peers = build(*errors_in_variables.simulate(300, name))
        for peer in peers:
            # Raises beyond a hundredth of a standard error: the peers stop at their default tolerances
            # (tests/peers compares them with tight ones).
            found = errors_in_variables.close(ours.fit(), peer.fit())
            assert 0 < found["params"] <= errors_in_variables.CLOSE, name


def test_classes_are_those_of_the_peers() -> None:
    from benchmarks import classification

    record = classification.benchmark([400], 3, 1)
    assert [entry["problem"] for entry in record["measurements"]] == ["two classes", "four classes"]
    for entry in record["measurements"]:
        assert len(entry["costs"]) == 4 and len(entry["differences"]) == 3
        by_newton = [
            max(each.values()) for label, each in entry["differences"].items() if "lbfgs" not in label
        ]
        assert max(by_newton) < classification.SAME


@pytest.mark.slow
def test_kelly_agrees_with_pymc_before_rates_are_compared(tmp_path: Path) -> None:
    from benchmarks import kelly, report

    record = kelly.benchmark(200, *[kelly.Length(chains, 300, 300) for chains in (4, 2, 2)])
    numbers, picture = report.save(record, tmp_path, kelly.draw)
    assert json.loads(numbers.read_text()) == record
    assert picture.read_bytes().startswith(b"\x89PNG")
    ours, *peers = record["measurements"]
    assert record["ratios"] == {peer["label"]: ours["ess_per_s"] / peer["ess_per_s"] for peer in peers}
    assert "PyMC marginal" in kelly.tables(record)


def test_principal_components_are_those_of_scikit_learn() -> None:
    from benchmarks import decomposition

    ours, also_ours, peer = decomposition.competitors(decomposition.simulate(600, 20), 5)
    for other in (also_ours, peer):
        assert max(decomposition.equal(ours.fit(), other.fit()).values()) < 1e-9
    wrong = ours.fit()
    wrong.errors[0] *= -1
    with pytest.raises(decomposition.DisagreementError, match="axes"):
        decomposition.equal(ours.fit(), wrong)


def test_pairs_are_those_of_treecorr() -> None:
    from benchmarks import two_point

    record = two_point.benchmark([900], 1)
    assert [entry["problem"] for entry in record["measurements"]] == ["points", "weights", "field"]
    for entry in record["measurements"]:
        assert max(max(each.values()) for each in entry["differences"].values()) < two_point.SAME


def test_mixtures_take_the_steps_of_the_peers() -> None:
    from benchmarks import mixture

    record = mixture.benchmark([300], 2, 2, 1)
    assert [entry["problem"] for entry in record["measurements"]] == [
        "extreme deconvolution",
        "Gaussian mixture",
    ]
    for entry in record["measurements"]:
        assert max(max(each.values()) for each in entry["differences"].values()) < mixture.SAME


def test_effective_draws_per_second_beside_emcee(tmp_path: Path) -> None:
    from benchmarks import sampling
    from benchmarks.measurement import DisagreementError

    found = sampling.ensembles(400, [1])
    assert [len(entry["costs"]) for entry in found] == [2, 2, 2]
    record = {
        "family": "sampling",
        "machine": sampling.machine(),
        "efficiencies": found,
        "gpu": "not measured",
    }
    text = sampling.tables(record)
    assert "effective draws per second" in text and "GPU: not measured" in text
    sampling.draw(record, tmp_path / "sampling.png")
    assert (tmp_path / "sampling.png").read_bytes().startswith(b"\x89PNG")
    right = sampling.Yield("statml", True, 100.0, 1.0, np.zeros(2), np.ones(2))
    wrong = sampling.Yield("peer", False, 100.0, 1.0, np.full(2, 9.0), np.ones(2))
    assert sampling._entry("same", [right, right], None)["ratio"] == 1.0
    with pytest.raises(DisagreementError, match=r"means differ by 6\.4"):
        sampling._entry("different", [right, wrong], None)

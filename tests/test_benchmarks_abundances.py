"""The benchmark of correlations: peers answer alike before they are timed, and targets are printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def test_peers_answer_alike() -> None:
    """Without torch, whose first forward derivative takes ten seconds of imports."""
    from benchmarks import abundances

    for problem, competitors in abundances.problems(5).items():
        check = abundances._check(problem)
        ours, *peers = (each.fit() for each in competitors if "torch" not in each.label)
        assert peers and all(check(ours, peer)["params"] < 1e-6 for peer in peers)


@pytest.mark.slow
def test_a_small_run_compares_and_prints_targets(tmp_path: Path) -> None:
    from benchmarks import abundances, report

    record = abundances.benchmark([4, 6], 1)
    problems = {entry["problem"] for entry in record["measurements"]}
    assert {"matrix", "gradient"} <= problems <= {"matrix", "gradient", "whole curves"}
    for entry in record["measurements"]:
        assert max(max(each.values()) for each in entry["differences"].values()) < 1e-6
    text = abundances.tables(record)
    assert "at most 5 ms" in text and "gradient / matrix" in text
    assert [path.suffix for path in report.save(record, tmp_path)] == [".json", ".png"]


def test_a_wrong_peer_is_not_timed() -> None:
    from benchmarks import abundances
    from benchmarks.measurement import Answer, DisagreementError

    check = abundances._check("matrix")
    ours = Answer(np.array([0.5, 1.0]), None)
    assert check(ours, ours) == {"params": 0.0}
    with pytest.raises(DisagreementError, match="matrix"):
        check(ours, Answer(np.array([0.5001, 1.0]), None))

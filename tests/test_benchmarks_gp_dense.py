"""The benchmark of dense Gaussian processes, small: equal answers first."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.slow
def test_dense_processes_agree_with_the_peers(tmp_path: Path) -> None:
    from benchmarks import gp_dense, report

    record = gp_dense.benchmark([60, 80], 1)
    assert [entry["problem"] for entry in record["measurements"][:2]] == [
        "evidence and gradient",
        "prediction",
    ]
    for entry in record["measurements"]:
        assert [cost["label"] for cost in entry["costs"]] == ["statml", "scikit-learn", "gpytorch"]
        assert max(max(each.values()) for each in entry["differences"].values()) < gp_dense.SAME
    assert all(path.exists() for path in report.save(record, tmp_path))


def test_another_answer_is_refused() -> None:
    from benchmarks import gp_dense
    from benchmarks.measurement import Answer, DisagreementError

    X, y, _ = gp_dense.simulate(30)
    ours = gp_dense._our_evidence(X, y).fit()
    assert ours.errors is not None
    with pytest.raises(DisagreementError, match="second"):
        gp_dense.same(ours, Answer(ours.params, ours.errors * (1 + 1e-6)))

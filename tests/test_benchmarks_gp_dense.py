"""The benchmark of dense Gaussian processes, small: equal answers first."""

import pytest

from benchmarks import gp_dense
from benchmarks.measurement import Answer, DisagreementError


def test_dense_processes_agree_with_the_peers() -> None:
    record = gp_dense.benchmark([60], 1)
    assert [entry["problem"] for entry in record["measurements"]] == ["evidence and gradient", "prediction"]
    for entry in record["measurements"]:
        assert [cost["label"] for cost in entry["costs"]] == ["statml", "scikit-learn", "gpytorch"]
        assert max(max(each.values()) for each in entry["differences"].values()) < gp_dense.SAME


def test_another_answer_is_refused() -> None:
    X, y, _ = gp_dense.simulate(30)
    ours = gp_dense._our_evidence(X, y).fit()
    assert ours.errors is not None
    with pytest.raises(DisagreementError, match="second"):
        gp_dense.same(ours, Answer(ours.params, ours.errors * (1 + 1e-6)))

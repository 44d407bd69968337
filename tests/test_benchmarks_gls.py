"""The benchmark of correlated errors compares answers that are the same, statsmodels' among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.slow
def test_a_small_run_leaves_numbers_and_a_figure(tmp_path: Path) -> None:
    from benchmarks import gls, report

    record = gls.benchmark([200], [2, 3], 1)
    names = [f"{name}, p = {p}" for p in (2, 3) for name in ("blocks of 10", "low rank")]
    assert [entry["problem"] for entry in record["measurements"]] == names
    assert all(path.exists() for path in report.save(record, tmp_path))
    assert "GPU: " in report.tables(record)


@pytest.mark.parametrize("name", ["blocks of 10", "low rank"])
def test_every_way_gives_the_same_answer(name: str) -> None:
    from benchmarks import gls, regression

    competitors = gls.problems(2_000, 6)[name]
    ours = competitors[0].fit()
    for peer in competitors[1:]:
        assert max(regression.same(ours, peer.fit()).values()) < 1e-10


def test_another_answer_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import gls
    from benchmarks.measurement import Answer, DisagreementError

    monkeypatch.setattr(gls, "_normal", lambda equations: Answer(np.ones(len(equations)), None))
    with pytest.raises(DisagreementError, match="params"):
        gls.check_small(2)


def test_without_a_gpu_nothing_is_claimed() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    from benchmarks.gpu import weighted_on_gpu

    assert weighted_on_gpu() == "not measured"

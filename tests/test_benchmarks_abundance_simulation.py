"""The benchmark of simulated maps: equal powers before any time, and a record with every ratio."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.slow
def test_a_small_run_leaves_numbers_and_a_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from benchmarks import abundance_simulation, report

    monkeypatch.setattr(abundance_simulation, "CLUSTERS", 500)
    monkeypatch.setattr(abundance_simulation, "WIDTH", 0.2)
    record = abundance_simulation.benchmark([64], [200], [2], 1)
    numbers, picture = report.save(record, tmp_path, abundance_simulation.draw)
    assert json.loads(numbers.read_text()) == record
    assert picture.read_bytes().startswith(b"\x89PNG")
    for row in record["measurements"]:
        assert all(cost["power_difference"] < abundance_simulation.SAME for cost in row["costs"])
        assert set(row["ratios"]) == {"spectral time stepping", "finufft on our ladder"}
    text = abundance_simulation.tables(record)
    assert "target at 512^2" in text and "GPU: not measured" in text


def test_a_wrong_answer_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import abundance_simulation
    from benchmarks.measurement import DisagreementError

    def wrong(events, grid):
        return 1.01 * abundance_simulation.ours(events, grid)

    monkeypatch.setattr(abundance_simulation, "WIDTH", 0.2)
    monkeypatch.setitem(abundance_simulation.COMPETITORS, "statml snapshot", wrong)
    with pytest.raises(DisagreementError, match=r"statml snapshot: power differs by 2"):
        abundance_simulation.measure(64, 200, 1, "grid")

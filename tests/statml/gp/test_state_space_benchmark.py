"""The benchmark beside celerite2: answers agree before anything is timed, and the record is whole."""

import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def repository_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.slow
def test_a_small_run_leaves_a_record_and_a_figure(tmp_path, monkeypatch):
    from benchmarks import report, state_space

    monkeypatch.setattr(state_space, "compilation", lambda: 0.0)
    record = state_space.benchmark([200, 400], [20], 1, 5)
    numbers, picture = report.save(record, tmp_path, state_space.draw)
    assert json.loads(numbers.read_text()) == record and picture.exists()
    assert {entry["problem"] for entry in record["measurements"]} == {
        f"{what}, {states} states" for what in ("value", "gradient", "batch") for states in (2, 4)
    }
    assert all(max(d.values()) < 1e-8 for e in record["measurements"] for d in e["differences"].values())
    text = state_space.tables(record)
    assert "ours / celerite2" in text and "GPU: not measured" in text


def test_disagreement_stops_it():
    from benchmarks.measurement import Answer, DisagreementError
    from benchmarks.state_space import same

    one = Answer(np.array([-100.0]), np.ones((2, 3)))
    assert max(same(one, one).values()) == 0
    with pytest.raises(DisagreementError, match="log_likelihood"):
        same(one, Answer(np.array([-100.001]), None))
    with pytest.raises(DisagreementError, match="derivatives"):
        same(one, Answer(np.array([-100.0]), np.ones((2, 3)) + 1e-6))

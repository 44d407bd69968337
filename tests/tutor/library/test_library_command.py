"""``tutor library``: add, embed, search and stats as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tutor.cli import main
from tutor.library import Library
from tutor.library.index.minilm import MiniLM

PAPERS = [
    {
        "id": "2401.00001",
        "title": "Ages of stars",
        "abstract": "Gyrochronology infers the age of a star from its rotation.",
        "categories": ["astro-ph.SR"],
    },
    {
        "id": "1901.00001",
        "title": "Spinning down",
        "abstract": "Old stars rotate slowly because winds brake them.",
        "categories": ["astro-ph.GA", "astro-ph.SR"],
    },
    {"id": "note", "title": "Bread", "text": "Yeast makes dough rise overnight."},
]


@pytest.fixture(autouse=True)
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTOR_HOME", str(home))
    monkeypatch.setenv("TUTOR_VECTORS", "mapped")
    monkeypatch.setenv("TUTOR_EMBEDDER", "minilm")
    monkeypatch.delenv("TUTOR_OFFLINE", raising=False)


@pytest.fixture
def papers(tmp_path: Path) -> str:
    path = tmp_path / "papers.jsonl"
    path.write_text("\n".join(map(json.dumps, PAPERS)))
    return str(path)


def found(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["library", "search", *argv, "--json"]) == 0
    return list(json.loads(capsys.readouterr().out)["hits"])


def test_from_adding_to_finding(papers: str, capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert main(["library", "add", papers]) == 0
    shown = capsys.readouterr().out
    assert "3 added" in shown and "3 passages encoded by all-MiniLM-L6-v2@" in shown and "a second" in shown
    assert main(["library", "add", papers, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["unchanged"] == 3 and again["vectors"]["embedded"] == 0
    hit = found(capsys, "inferring the age of a star")[0]
    assert (hit["source_id"], hit["year"], hit["categories"]) == ("2401.00001", 2024, ["astro-ph.SR"])
    assert hit["local_only"] is False and hit["text"] == PAPERS[0]["abstract"]
    assert [h["source_id"] for h in found(capsys, "star ages", "--year", "2015-2020")] == ["1901.00001"]
    assert [h["source_id"] for h in found(capsys, "stars", "--year", "2024")] == ["2401.00001"]
    assert {h["source_id"] for h in found(capsys, "bread", "--category", "astro-ph")} == {
        "2401.00001",
        "1901.00001",
    }
    assert (
        found(capsys, "stars", "--category", "astro-ph.GA", "--by", "words")[0]["source_id"] == "1901.00001"
    )
    assert main(["library", "search", "yeast"]) == 0
    assert "1. Bread [note]" in capsys.readouterr().out
    assert main(["library", "verify"]) == 0
    assert main(["library", "stats"]) == 0
    assert "of the model  all-MiniLM-L6-v2@" in capsys.readouterr().out
    assert main(["ask", "How does gyrochronology infer ages?", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["claims"][0]["source_id"] == "2401.00001" and 0.6 <= answer["confidence"] <= 1


def test_vectors_may_wait(papers: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["library", "add", "--no-vectors", papers]) == 0
    assert main(["library", "stats"]) == 0
    assert "run `tutor library embed`" in capsys.readouterr().out
    assert main(["library", "search", "age", "--by", "vectors"]) == 2
    assert "run `tutor library embed`" in capsys.readouterr().err
    assert main(["library", "embed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["embedded"] == 3
    assert main(["library", "embed"]) == 0
    assert "every passage has its vector" in capsys.readouterr().out


def test_another_model_is_refused_until_everything_is_encoded_anew(
    papers: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["library", "add", papers]) == 0
    monkeypatch.setattr(MiniLM, "id", "other@1")
    for argv in (["library", "search", "stars"], ["ask", "stars"], ["library", "embed"]):
        assert main(argv) == 2
        assert "run `tutor library embed --anew`" in capsys.readouterr().err
    assert main(["library", "embed", "--anew"]) == 0
    assert found(capsys, "how old is the sun", "--by", "vectors")[0]["source_id"] == "2401.00001"


def test_a_missing_model_leaves_words(
    papers: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    def absent(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("tutor.library.index.minilm.metadata.files", absent)
    assert main(["library", "add", papers]) == 0
    assert "search goes by words" in capsys.readouterr().err
    assert found(capsys, "gyrochronology")[0]["source_id"] == "2401.00001"
    assert main(["library", "embed"]) == 2


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["search", "stars", "--year", "20"], "--year must be a year or two"),
        (["search", "stars", "--year", "2020-"], "--year must be a year or two"),
        (["search", "stars", "--year", "2024-2020"], "from the earlier to the later"),
        (["search", " "], "the query is empty"),
        (["search", "stars", "--k", "0"], "--k must be at least 1"),
        (["search", "stars", "--diversity", "2"], "diversity must be between 0 and 1"),
        (["embed"], "there is no library"),
        (["add", "--arxiv", "2401.00001", "--limit", "0"], "limit must be between"),
        (["add", "--arxiv-since", "June"], "YYYY-MM-DD"),
    ],
)
def test_bad_input_is_one_sentence(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert main(["library", *argv]) == 2
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1
    assert not (home / "library.sqlite").exists()


def test_an_emptied_library_names_the_mend(
    papers: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert main(["library", "add", "--no-vectors", papers]) == 0
    with Library(home / "library.sqlite") as library, library.transaction() as db:
        db.execute("DELETE FROM documents")
    capsys.readouterr()
    assert main(["library", "search", "stars"]) == 2
    assert "the library is empty: run `tutor library add" in capsys.readouterr().err

"""The benchmark: its measures, its questions, its command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statml.errors import InputError
from tutor.cli import main
from tutor.library import Document, Library
from tutor.library.evaluation import known_items, measures
from tutor.library.evaluation.abstention import Trial, fitted, given, rates, trials
from tutor.library.evaluation.benchmark import (
    Query,
    course_sections,
    questions,
    read_corpus,
    read_queries,
    run,
)
from tutor.library.index.hybrid import LibraryIndex
from tutor.library.index.stored import embed


def test_ndcg_by_hand() -> None:
    """Grades 2, 0, 1 in the first three places of a question with grades 2, 1, 1."""
    gained = 3 / np.log2(2) + 1 / np.log2(4)
    ideal = 3 / np.log2(2) + 1 / np.log2(3) + 1 / np.log2(4)
    assert measures.ndcg(["a", "x", "b"], {"a": 2, "b": 1, "c": 1}) == pytest.approx(gained / ideal)
    assert measures.ndcg(["a", "b", "c"], {"a": 2, "b": 1, "c": 1}) == 1
    assert measures.ndcg(["x"] * 10 + ["a"], {"a": 2}) == 0


def test_ndcg_is_scikit_learn_s() -> None:
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(3)
    for _ in range(20):
        grades = rng.integers(0, 3, 30)
        grades[0] = 2
        order = rng.permutation(30)
        names = {str(i): int(g) for i, g in enumerate(grades)}
        gains = (2.0**grades - 1)[None]
        scores = np.empty((1, 30))
        scores[0, order] = -np.arange(30)
        assert measures.ndcg([str(i) for i in order], names) == pytest.approx(ndcg_score(gains, scores, k=10))


def test_the_interval_of_a_mean_has_its_width() -> None:
    """Of 400 numbers of spread 1 the 95 % interval is 2 x 1.96 / 20 wide, within a tenth."""
    values = np.random.default_rng(0).normal(size=400)
    found = measures.interval(values, np.random.default_rng(1))
    assert found.low < found.mean < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_the_questions_are_about_what_is_there() -> None:
    course = questions("course")
    ids = {document.source_id for document in course_sections()}
    wrong = {name for query in course for name in query.relevant} - ids
    assert wrong == set(), "a heading was renamed: rename it in tutor/library/evaluation/course.jsonl"
    assert len(course) >= 100 and sum(query.kind == "trap" for query in course) >= 10
    assert len(questions("abstracts")) >= 40 and len(questions("unanswerable")) >= 30
    for name in ("course", "abstracts", "unanswerable"):
        asked = questions(name)
        assert len({q.text for q in asked}) == len({q.id for q in asked}) == len(asked)
        assert all(bool(q.relevant) != (name == "unanswerable") for q in asked)


def test_a_run_measures_every_way(library: Library, toy: Any) -> None:
    index = LibraryIndex(library, toy)
    asked = [
        Query("1", "survey number 12", {"p0012": 2}),
        Query("2", "gyrochronology with survey number 6", {"p0006": 2, "p0000": 1, "gone": 1}),
        Query("3", "nothing", {}),
    ]
    report = run(index, asked)
    assert (report.documents, report.queries, report.missing) == (60, 2, ("gone",))
    assert set(report.ways) == {"words", "vectors", "ranks", "hybrid"}
    assert report.ways["words"]["mrr"].mean == 1
    assert report.ways["words"]["recall@10"].mean <= (1 + 2 / 3) / 2
    assert set(report.differences) == {"hybrid - words", "hybrid - vectors", "hybrid - ranks"}
    assert report.to_dict() == run(index, asked).to_dict()
    assert set(run(LibraryIndex(library), asked).ways) == {"words"}
    with pytest.raises(InputError, match="no question has a relevant document"):
        run(index, [Query("3", "nothing", {})])


def test_questions_are_made_of_papers(toy: Any) -> None:
    papers = [
        Document(
            "a", "Ages of stars", "Rotation is slow. It slows down. So gyrochronology gives ages of stars."
        ),
        Document("b", "Dust", "Dust reddens stars. Too short."),
        Document("c", "Quasars", "Quasars vary. We see them. They vary with their accretion rate."),
    ]
    documents, queries = known_items.by_title(papers, 2)
    assert [d.title for d in documents] == [""] * 3 and documents[0].text == papers[0].text
    assert [(q.text, q.relevant) for q in queries] == [("Ages of stars", {"a": 2}), ("Dust", {"b": 2})]
    library = Library(None)
    library.add(documents)
    index = LibraryIndex(library, toy)
    # "ages" stands in one passage, "stars" in two
    assert [q.text for q in known_items.harder(index, queries, 1)] == ["of stars", ""]
    documents, queries = known_items.by_last_sentence(papers, 3)
    assert [d.source_id for d in documents] == ["a", "c"]
    assert "gyrochronology" in queries[0].text and "gyrochronology" not in documents[0].text


def write(path: Path, *entries: Any) -> Path:
    path.write_text("\n".join(e if isinstance(e, str) else json.dumps(e) for e in entries))
    return path


DOCS = [
    {
        "id": "d1",
        "title": "Ages",
        "text": "Rotation gives ages.",
        "year": 2020,
        "categories": ["astro-ph.SR"],
    },
    {"id": "d2", "title": "Dust", "text": "Dust reddens stars."},
]


def test_the_command_takes_one_s_own_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUTOR_EMBEDDER", "minilm")
    docs = write(tmp_path / "docs.jsonl", *DOCS)
    queries = write(
        tmp_path / "queries.jsonl",
        {"id": "q1", "text": "what reddens starlight", "relevant": {"d2": 2}},
        {"id": "q2", "text": "how old are stars by rotation", "relevant": {"d1": 1}},
    )
    argv = ["library", "evaluate", "--corpus", str(docs), "--queries", str(queries)]
    assert main([*argv, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["documents"] == 2 and report["queries"] == 2
    assert report["ways"]["hybrid"]["ndcg@10"]["mean"] == 1
    assert {"mean", "low", "high"} == set(report["ways"]["vectors"]["recall@5"])
    monkeypatch.setenv("TUTOR_EMBEDDER", "none")
    assert main(argv) == 0
    assert "words" in (shown := capsys.readouterr().out) and "hybrid" not in shown
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("docs", "queries", "said"),
    [
        (['{"id": "x"}'], [], "docs.jsonl, line 1 has no title"),
        (["{"], [], "docs.jsonl, line 1 is no JSON"),
        (DOCS, ['{"id": "q", "text": "t"}'], "queries.jsonl, line 1 must hold id, text and relevant"),
        (DOCS, ['{"id": "q", "text": "t", "relevant": {"d1": -1}}'], "grades must be whole numbers"),
        (DOCS, ['{"id": "q", "text": "t", "relevant": {}}'], "no question has a relevant document"),
    ],
)
def test_bad_files_are_one_sentence(
    docs: list[Any],
    queries: list[Any],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path))
    monkeypatch.setenv("TUTOR_EMBEDDER", "none")
    one, two = write(tmp_path / "docs.jsonl", *docs), write(tmp_path / "queries.jsonl", *queries)
    assert main(["library", "evaluate", "--corpus", str(one), "--queries", str(two)]) == 2
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1


def test_options_that_do_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["library", "evaluate", "--corpus", str(tmp_path / "x")]) == 2
    assert "go together" in capsys.readouterr().err
    assert main(["library", "evaluate", "--library", "--queries", "x"]) == 2
    assert "leave out" in capsys.readouterr().err


def test_corpora_and_queries_are_read(tmp_path: Path) -> None:
    (first, _) = read_corpus(write(tmp_path / "d.jsonl", *DOCS))
    assert first.details == {"categories": ["astro-ph.SR"], "year": 2020}
    (query,) = read_queries(write(tmp_path / "q.jsonl", {"id": 7, "text": "t", "relevant": {"d1": 2}}))
    assert query == Query("7", "t", {"d1": 2})


# --- silence ---


def test_trials_withhold_the_sources(toy: Any) -> None:
    library = Library(None)
    library.add(
        [
            Document("a#one", "Rotation", "Rotation of old stars gives their ages.", "markdown"),
            Document("a#two", "Rotation", "Rotation of old stars gives their ages again.", "markdown"),
            Document("b", "Rotation", "Old stars have a slow rotation, and ages of their own."),
        ]
    )
    embed(library, toy)
    asked = [Query("1", "rotation of old stars", {"a#one": 2}), Query("2", "sourdough bread", {})]
    found = list(trials(LibraryIndex(library, toy), asked))
    assert [(t.kind, t.answerable) for t in found] == [
        ("source there", True),
        ("source withheld", False),
        ("unanswerable", False),
    ]
    assert found[0].signs is not None and found[1].signs is not None and found[2].signs is None
    counted = rates(found, threshold=2.0)
    assert counted["source there"] == {"asked": 1, "by words": 1, "with the score": 0}
    answers = given(LibraryIndex(library, toy), asked)
    assert (answers["asked"], answers["by words"], answers["right"]) == (2, 1, 1)


def test_the_fit_finds_what_decides() -> None:
    from tutor.library.confidence import Signs

    rng = np.random.default_rng(5)
    values = rng.uniform(0, 1, (400, 3))
    found = [Trial(str(i), "", bool(v[0] > 0.5), Signs(*v)) for i, v in enumerate(values)]
    weights = fitted(found)["weights"]
    assert isinstance(weights, dict)
    assert weights["words"] > 5 * max(abs(weights["vectors"]), abs(weights["coverage"]))

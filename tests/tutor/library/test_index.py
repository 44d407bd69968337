"""Indexes over the library's file: exact, filtered, fused, and never behind it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statml.errors import InputError
from tutor import language
from tutor.library import BM25Retriever, Document, Library
from tutor.library.chunks import Chunk
from tutor.library.index.fusion import by_ranks, by_scores
from tutor.library.index.hybrid import LibraryIndex, diversify
from tutor.library.index.late import LateInteraction
from tutor.library.index.matrix import Matrix
from tutor.library.index.passages import Filter, Passages
from tutor.library.index.stored import embed, forget, store, vector_stats, verify_vectors
from tutor.library.index.words import WordIndex

NEEDLE = Document("needle", "Needle", "The zirconium lighthouse paradox of blue stragglers.")
HERE = Path(__file__).parent


def ids(hits: list[Any]) -> list[str]:
    return [hit.chunk.source_id for hit in hits]


def brute_force(library: Library, query: np.ndarray, allowed: set[int] | None = None) -> list[int]:
    rows = library.reading().execute("SELECT chunk, vector FROM vectors").fetchall()
    scored = [(-float(np.frombuffer(blob, np.float32) @ query), chunk) for chunk, blob in rows]
    return [chunk for _, chunk in sorted(scored) if allowed is None or chunk in allowed]


# --- what is stored ---


def test_every_passage_gets_its_vector_once(library: Library, toy: Any) -> None:
    stats = vector_stats(library)
    assert (stats.vectors, stats.passages, stats.model, stats.dimension) == (60, 60, "toy@1", 32)
    assert stats.corpus_sha256 == library.stats().corpus_sha256
    before = library.generation
    assert embed(library, toy).embedded == 0 and library.generation == before
    library.add([NEEDLE])
    assert embed(library, toy).embedded == 1 and library.generation == before + 2
    assert verify_vectors(library) == []


def test_progress_is_told_between_commits_and_vectors_stay_with_their_texts(home: Path, toy: Any) -> None:
    library = Library(home / "library.sqlite")
    library.add(Document(f"p{i}", "Paper", "word " * (1 + i * 7 % 13) + f"number{i}.") for i in range(300))
    told: list[int] = []
    embed(library, toy, done=told.append)
    assert told == [128, 128, 44] and library.generation == 2
    matrix, passages = Matrix(library, None), Passages.read(library)
    matrix.refresh(passages)
    due = toy([chunk.meaning for chunk in library.passages(passages.ids.tolist())])
    assert np.allclose(matrix.rows(passages.ids), due, atol=1e-6)


def test_another_model_is_refused_with_the_mend(library: Library, toy: Any) -> None:
    other = type(toy)()
    other.id = "other@2"
    for attempt in (lambda: embed(library, other), lambda: LibraryIndex(library, other)):
        with pytest.raises(InputError, match=r"made by toy@1.*now is other@2.*embed --anew"):
            attempt()
    longer = type(toy)()
    longer.dimension = 64
    with pytest.raises(InputError, match=r"length 32.*64"):
        LibraryIndex(library, longer)
    forget(library)
    assert embed(library, other).embedded == 60 and vector_stats(library).model == "other@2"


def test_vectors_that_are_none_are_refused(library: Library, toy: Any) -> None:
    with pytest.raises(InputError, match="finite"):
        store(library, toy, [1], np.full((1, 32), np.nan, np.float32))
    with pytest.raises(InputError, match="shape"):
        store(library, toy, [1], np.zeros((1, 31), np.float32))


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("UPDATE vectors SET vector = x'00' WHERE chunk = 1", "1 bytes, 128 are due"),
        ("UPDATE vectors SET vector = zeroblob(128) WHERE chunk = 1", "its length is 0, not 1"),
        ("DELETE FROM manifest WHERE name = 'embedder'", "name no model"),
        ("UPDATE manifest SET value = 'x' WHERE name = 'vectors_corpus_sha256'", "another corpus"),
    ],
)
def test_verify_finds_damaged_vectors(library: Library, damage: str, fault: str) -> None:
    library.close()
    assert library.path is not None
    with sqlite3.connect(library.path) as db:
        db.execute(damage)
    assert any(fault in line for line in verify_vectors(library))


def test_a_library_of_format_1_is_brought_up_to_date(tmp_path: Path, toy: Any) -> None:
    path = tmp_path / "library.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript((HERE / "library_format_1.sql").read_text(encoding="utf-8"))
    with Library(path) as library:
        assert library.generation == 1 and library.verify() == []
        assert [chunk.text for chunk in library.chunks()] == ["Stars shine.", "Planets orbit."]
        library.add([NEEDLE])
        embed(library, toy)
        assert ids(LibraryIndex(library, toy).search("lighthouse", 1)) == ["needle"]
    with Library(path) as library:
        assert library.manifest("format") == "2"


# --- the matrix ---


@pytest.mark.parametrize("kept", [True, False])
def test_exact_search_is_brute_force(kept: bool, library: Library, home: Path, toy: Any) -> None:
    matrix, passages = Matrix(library, home / "vectors" if kept else None), Passages.read(library)
    matrix.refresh(passages)
    query = toy(["quasars of the survey"])[0]
    for years in (None, (2003, 2003), (2001, 2009)):
        mask = passages.allowed(Filter(years)) if years else None
        allowed = None if mask is None else set(passages.ids[mask].tolist())
        found, scores = matrix.search(query, 10, mask)
        # equal cosines may change places with the order of a sum
        expected = brute_force(library, query, allowed)[:10]
        assert len(found) == len(expected) and len(set(found.tolist()) & set(expected)) >= len(expected) - 1
        assert np.all(np.diff(scores) <= 0)


def test_the_matrix_follows_additions_replacements_and_deletions(
    library: Library, home: Path, toy: Any
) -> None:
    matrix = Matrix(library, home / "vectors")
    matrix.refresh(Passages.read(library))
    other = Matrix(library, home / "vectors")  # a second process would see the same file
    library.add([NEEDLE, Document("p0001", "Changed", "Completely different words about nothing.")])
    embed(library, toy)
    for one in (matrix, other):
        one.refresh(Passages.read(library))
        assert len(one) == 61
        found, _ = one.search(toy([NEEDLE.text])[0], 1)
        assert library.passages(found.tolist())[0].source_id == "needle"
    with library.transaction() as db:
        db.execute("DELETE FROM documents WHERE source_id != 'needle'")
        db.execute("UPDATE manifest SET value = value + 1 WHERE name = 'generation'")
    matrix.refresh(Passages.read(library))
    assert len(matrix) == 1 and len(matrix.vectors) == 1  # written anew: most rows were dead


def test_a_torn_copy_is_made_anew(library: Library, home: Path, toy: Any) -> None:
    Matrix(library, home / "vectors").refresh(Passages.read(library))
    (data,) = (home / "vectors").glob("*.f32")
    whole = data.read_bytes()
    for torn in (whole[:100], whole + b"left by a crash"):
        data.write_bytes(torn)
        matrix = Matrix(library, home / "vectors")
        matrix.refresh(Passages.read(library))
        assert len(matrix) == 60
        assert np.allclose(np.linalg.norm(matrix.vectors, axis=1), 1, atol=1e-5)
        (data,) = (home / "vectors").glob("*.f32")


# --- words ---


def test_words_added_later_score_as_if_built_in(home: Path, library: Library) -> None:
    """The formula beside bm25s: the whole index built at once is the oracle."""
    index = WordIndex(home / "words")
    index.refresh(library, Passages.read(library))
    library.add([Document(f"new{i}", "Quasars", f"Quasars vary, number {i}.") for i in range(5)])
    index.refresh(library, Passages.read(library))
    whole = WordIndex()
    whole.refresh(library, Passages.read(library))
    assert len(index._newer.ids) == 5 and not whole._newer.ids
    for query in ("quasars vary", "variability of quasars in surveys", "number 3"):
        later, now = index.search(query, 65), whole.search(query, 65)
        # what is built in keeps the rarities of its day until the next build
        assert set(later[0].tolist()) == set(now[0].tolist())
        newer = {int(i): s for i, s in zip(*later) if int(i) in index._newer.ids}
        built = dict(zip(now[0].tolist(), now[1].tolist()))
        assert all(abs(built[i] - s) < 1e-5 * max(1.0, s) for i, s in newer.items())
        assert whole.weight("quasar") == index.weight("quasar")


def test_a_kept_word_index_is_read_back(home: Path, library: Library) -> None:
    first = WordIndex(home / "words")
    first.refresh(library, Passages.read(library))
    second = WordIndex(home / "words")
    second.refresh(library, Passages.read(library))
    for query in ("quasars", "exoplanets survey 17"):
        assert [list(part) for part in first.search(query, 9)] == [
            list(part) for part in second.search(query, 9)
        ]
    (entry,) = (home / "words").glob("built-*/terms.json")
    entry.write_text(entry.read_text().replace("[0.9, 0.4]", "[1.5, 0.75]"))
    other = WordIndex(home / "words")  # built with other constants: made anew
    other.refresh(library, Passages.read(library))
    assert [list(part) for part in first.search("quasars", 9)] == [
        list(part) for part in other.search("quasars", 9)
    ]
    (home / "words" / "current").write_text("nonsense")
    third = WordIndex(home / "words")
    third.refresh(library, Passages.read(library))
    assert list(third.search("quasars", 3)[0]) == list(first.search("quasars", 3)[0])


def test_both_retrievers_by_words_agree(library: Library) -> None:
    listed, indexed = BM25Retriever(library.chunks()), LibraryIndex(library)
    for query in ("gyrochronology survey 12", "reionization"):
        a, b = listed.search(query, 8), indexed.search(query, 8)
        assert [(h.chunk, round(h.score, 5)) for h in a] == [(h.chunk, round(h.score, 5)) for h in b]
        assert listed.weight("quasar") == indexed.weight("quasar")


# --- together ---


def test_fusion_is_the_sum_of_reciprocal_ranks() -> None:
    found, scores = by_ranks([np.array([1, 2, 3]), np.array([3, 4])], (1.0, 1.0))
    assert found.tolist() == [3, 1, 2, 4]
    assert scores[0] == pytest.approx(1 / 63 + 1 / 61)


def test_both_scores_of_every_passage_are_summed(library: Library, toy: Any) -> None:
    """All 60 passages are within the depth, so the definition itself is the oracle."""
    index = LibraryIndex(library, toy)
    passages = library.chunks()
    for query in ("quasars with survey number 32", "asteroseismology of supernovae", "a word nobody wrote"):
        bm25 = {h.chunk.source_id: h.score for h in index.search(query, 60, mode="words")}
        cosine = {h.chunk.source_id: h.score for h in index.search(query, 60, mode="vectors")}
        most = sum(index.weight(term) for term in language.terms(query))
        assert all(score < most for score in bm25.values())
        due = {
            c.source_id: 0.65 * bm25.get(c.source_id, 0) / most + 0.35 * cosine[c.source_id] for c in passages
        }
        hits = index.search(query, 60)
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
        assert {h.chunk.source_id: pytest.approx(h.score, abs=1e-6) for h in hits} == due


def test_a_passage_without_a_vector_takes_its_place_among_words() -> None:
    words, cosines = np.array([0.8, 0.4, 0.0]), np.array([0.0, 0.6, 0.3])
    scores = by_scores(words, cosines, np.array([False, True, True]))
    assert scores == pytest.approx([0.65 * 0.8 + 0.35 * 0.6, 0.65 * 0.4 + 0.35 * 0.6, 0.35 * 0.3])
    assert by_scores(words, cosines, np.zeros(3, bool)) == pytest.approx(0.65 * words)
    assert by_scores(words[:0], words[:0], np.zeros(0, bool)).shape == (0,)


def test_a_passage_not_yet_encoded_is_not_held_back(library: Library, toy: Any) -> None:
    """After a kill half of a library has vectors; the other half must still be found first."""
    index = LibraryIndex(library, toy)
    query = "quasars with survey number 32"
    before = ids(index.search(query, 3))
    assert before[0] == "p0032"
    with library.transaction() as db:
        db.execute(
            "DELETE FROM vectors WHERE chunk IN (SELECT chunks.id FROM chunks JOIN documents"
            " ON documents.id = document WHERE source_id = 'p0032')"
        )
        db.execute("UPDATE manifest SET value = value + 1 WHERE name = 'generation'")
    assert ids(index.search(query, 3))[0] == "p0032"


def test_diversity_pushes_repetitions_down() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(2, 8))
    vectors = np.array([base[0], base[0], base[0], base[1]], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = np.array([4.0, 3.9, 3.8, 3.0])
    assert diversify(scores, vectors, 0.0) == [0, 1, 2, 3]
    assert diversify(scores, vectors, 1.0)[:2] == [0, 3]


def test_filters_hold_in_every_way(library: Library, toy: Any) -> None:
    index = LibraryIndex(library, toy)
    details = {d.source_id: d.details for d in library.documents()}
    for mode in ("hybrid", "vectors", "words", "ranks"):
        for only in (
            Filter((2003, 2005)),
            Filter(categories=("astro-ph.GA",)),
            Filter(categories=("astro-ph",)),
            Filter((2001, 2001), ("gr-qc",)),
        ):
            hits = index.search("quasars and exoplanets of the survey", 60, only=only, mode=mode)  # type: ignore[arg-type]
            assert hits
            for hit in hits:
                found = details[hit.chunk.source_id]
                if only.years:
                    assert only.years[0] <= found["year"] <= only.years[1]
                if only.categories:
                    assert any(c.startswith(only.categories[0]) for c in found["categories"])
    assert index.search("quasars", 5, only=Filter((1900, 1901))) == []
    with pytest.raises(InputError, match="earlier to the later"):
        Filter((2005, 2003))


def test_a_reranker_has_the_last_word(library: Library, toy: Any) -> None:
    def newest(query: str, chunks: Any, scores: np.ndarray) -> list[float]:
        assert len(scores) == len(chunks) == 30
        return [float(chunk.source_id[1:]) for chunk in chunks]

    index = LibraryIndex(library, toy, reranker=newest)
    hits = index.search("quasars", 5)
    assert ids(hits) == sorted(ids(hits), reverse=True)
    # what is below the passages looked at keeps its order
    plain, hits = LibraryIndex(library, toy).search("quasars", 60), index.search("quasars", 60)
    assert ids(hits)[30:] == ids(plain)[30:] and set(ids(hits)) == set(ids(plain))
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
    # the two rankings by themselves are signs of their own, and stay as they are
    for mode in ("words", "vectors"):
        assert ids(index.search("quasars", 9, mode=mode)) == ids(  # type: ignore[arg-type]
            LibraryIndex(library, toy).search("quasars", 9, mode=mode)  # type: ignore[arg-type]
        )


def test_late_interaction_by_hand() -> None:
    class Tokens:
        def tokens(self, texts: list[str]) -> list[np.ndarray]:
            start, a, b = np.eye(3, dtype=np.float32)
            assert texts[0] == "a b"
            return [np.array([start, a, b, start]), np.array([a, a]), np.array([a, b])]

    (one, two) = (Chunk(str(i), "", 0, "", "text", 0, 4) for i in range(2))
    found = LateInteraction(Tokens())("a b", [one, two], np.array([0.5, 0.4]))  # type: ignore[arg-type]
    assert found == pytest.approx([0.5 + 0.25 * 0.5, 0.4 + 0.25 * 1.0])


def test_without_vectors_words_are_searched(home: Path, toy: Any) -> None:
    library = Library(None)
    library.add([NEEDLE])
    for index in (LibraryIndex(library), LibraryIndex(library, toy)):
        assert not index.has_vectors and ids(index.search("lighthouse", 3)) == ["needle"]
        with pytest.raises(InputError, match="run `tutor library embed`"):
            index.search("lighthouse", 3, mode="vectors")
    with pytest.raises(InputError, match="k must be at least 1"):
        LibraryIndex(library).search("x", 0)


def test_an_empty_library_names_the_mend(home: Path, library: Library, toy: Any) -> None:
    index = LibraryIndex(library, toy)
    with library.transaction() as db:
        db.execute("DELETE FROM documents")
        db.execute("UPDATE manifest SET value = value + 1 WHERE name = 'generation'")
    with pytest.raises(InputError, match="the library is empty: run `tutor library add"):
        index.search("quasars", 3)


# --- several processes ---

PROCESS = """
import json, runpy, sys, time
from pathlib import Path
here, home, task, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
Toy = runpy.run_path(str(here / "conftest.py"))["Toy"]
from tutor.library import Library
from tutor.library.index.hybrid import LibraryIndex
from tutor.library.index.stored import embed
library = Library(home / "library.sqlite")
if task == "read":
    index = LibraryIndex(library, Toy(), folder=home, vectors=kind)
    print("open", flush=True)
    for line in sys.stdin:
        hits = index.search(line.strip(), 1)
        print(json.dumps([hit.chunk.source_id for hit in hits]), flush=True)
else:
    class Stuck(Toy):
        batches = 0
        def __call__(self, texts):
            self.batches += 1
            if self.batches == 4:
                print("in the fourth", flush=True)
                time.sleep(600)
            return super().__call__(texts)
    print("open", flush=True)
    embed(library, Stuck(), checkpoint=8)
"""


def process(home: Path, task: str, kind: str = "mapped") -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(HERE), str(home), task, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parents[2],
    )
    assert child.stdout is not None and child.stdout.readline() == "open\n"
    return child


@pytest.mark.parametrize("kind", ["mapped", "chroma"])
def test_a_needle_is_found_by_a_process_that_was_open_before(
    kind: str, library: Library, home: Path, toy: Any
) -> None:
    with process(home, "read", kind) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write("zirconium lighthouse paradox\n")
        child.stdin.flush()
        assert json.loads(child.stdout.readline()) != ["needle"]
        library.add([NEEDLE])
        embed(library, toy)
        index = LibraryIndex(library, toy, folder=home, vectors=kind)
        child.stdin.write("zirconium lighthouse paradox\n")
        child.stdin.flush()
        assert json.loads(child.stdout.readline()) == ["needle"]
        assert ids(index.search("zirconium lighthouse paradox", 1)) == ["needle"]
        child.stdin.close()
    assert child.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_a_kill_while_encoding_leaves_a_usable_library(home: Path, toy: Any) -> None:
    library = Library(home / "library.sqlite")
    library.add([*(d for d in _papers(80)), NEEDLE])
    with process(home, "embed") as child:
        assert child.stdout is not None and child.stdout.readline() == "in the fourth\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    done = vector_stats(library).vectors
    assert done == 3 * 8
    assert library.verify() == [] and verify_vectors(library) == []
    index = LibraryIndex(library, toy, folder=home)
    assert ids(index.search("zirconium lighthouse", 1)) == ["needle"]  # by its words
    assert embed(library, toy).embedded == 81 - done
    assert ids(index.search("zirconium lighthouse", 1, mode="vectors")) == ["needle"]


def test_a_kill_after_the_last_vector_is_mended_by_the_next_run(library: Library, toy: Any) -> None:
    library.add([NEEDLE])
    store(
        library, toy, [61], toy([library.passages([61])[0].meaning])
    )  # all that `embed` does before its end
    assert "another corpus: run `tutor library embed`" in verify_vectors(library)[0]
    assert embed(library, toy).embedded == 0 and verify_vectors(library) == []


def _papers(number: int) -> list[Document]:
    return [Document(f"p{i}", f"Paper {i}", f"A text on survey number {i}.") for i in range(number)]


# --- Chroma ---


def test_chroma_finds_what_exact_search_finds(library: Library, home: Path, toy: Any) -> None:
    exact = LibraryIndex(library, toy)
    chroma = LibraryIndex(library, toy, folder=home, vectors="chroma")
    for query in ("quasars survey 4", "asteroseismology", "supernovae sample"):
        a, b = (index.search(query, 5, mode="vectors") for index in (exact, chroma))
        assert [round(h.score, 4) for h in a] == [round(h.score, 4) for h in b]
    only = Filter((2004, 2004))
    assert ids(exact.search("quasars", 5, only=only)) == ids(chroma.search("quasars", 5, only=only))
    library.add([Document("p0004", "Changed", "Completely other words."), NEEDLE])
    embed(library, toy)
    assert ids(chroma.search(NEEDLE.text, 1, mode="vectors")) == ["needle"]
    assert "p0004" not in ids(chroma.search("Paper 4 on supernovae: survey number 4", 3, mode="vectors"))
    # a second one in the meantime may not write, and is whole all the same
    second = LibraryIndex(library, toy, folder=home, vectors="chroma")
    library.add([Document("late", "Late", "An afterthought on umbrellas.")])
    embed(library, toy)
    assert ids(second.search("umbrellas afterthought", 1, mode="vectors")) == ["late"]

"""The library file: idempotent, transactional, and able to tell when it is damaged."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from statml.errors import DataNotFoundError, InputError
from tutor.library import AddReport, Document, Library, Rejected, cut, read
from tutor.library.default import default_documents
from tutor.library.ingest import read_file

STARS = Document("a", "Stars", "Stars shine. They also age.", details={"authors": ["A. Börn"], "year": 2025})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "library.sqlite"


def test_adding_twice_changes_nothing(path: Path) -> None:
    with Library(path) as library:
        first = library.add([STARS, Document("b", "Planets", "Planets orbit.")])
        again = library.add([STARS])
    assert first == AddReport(2, 0, 0, (), 1)
    assert again == AddReport(0, 0, 1, (), 1)


def test_a_changed_document_replaces_its_passages(path: Path) -> None:
    with Library(path) as library:
        library.add([STARS])
        before = library.stats().corpus_sha256
        report = library.add([Document("a", "Stars", "Stars are round.")])
        assert (report.updated, report.generation) == (1, 2)
        assert [chunk.text for chunk in library.chunks()] == ["Stars are round."]
        assert library.stats().corpus_sha256 != before
        assert library.verify() == []


def test_the_corpus_hash_does_not_depend_on_the_order(tmp_path: Path) -> None:
    documents = [STARS, Document("b", "Planets", "Planets orbit.")]
    hashes = []
    for number, order in enumerate((documents, documents[::-1])):
        with Library(tmp_path / f"{number}.sqlite") as library:
            library.add(order)
            hashes.append(library.stats().corpus_sha256)
    assert hashes[0] == hashes[1]


def test_a_crash_leaves_the_library_as_it_was(path: Path) -> None:
    def crashing() -> Iterator[Document]:
        yield Document("b", "Planets", "Planets orbit.")
        raise RuntimeError("power cut")

    with Library(path) as library:
        library.add([STARS])
        with pytest.raises(RuntimeError):
            library.add(crashing())
    with Library(path) as library:
        assert library.generation == 1
        assert [document.source_id for document in library.documents()] == ["a"]
        assert library.verify() == []


def test_another_reader_sees_the_generation_rise(path: Path) -> None:
    with Library(path) as writer, Library(path) as reader:
        writer.add([STARS])
        assert reader.generation == 1
        writer.add([Document("b", "Planets", "Planets orbit.")])
        assert reader.generation == 2
        assert len(reader.chunks()) == 2


def test_what_was_stored_comes_back(path: Path) -> None:
    with Library(path) as library:
        library.add([STARS])
    with Library(path) as library:
        assert library.document("a") == STARS
        assert library.chunks() == cut(STARS)
        with pytest.raises(InputError, match="no source 'zzz'"):
            library.document("zzz")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("UPDATE documents SET text = 'Stars are square.'", "does not fit its hash"),
        ('UPDATE chunks SET "start" = 3', "does not stand where it says"),
        ("DELETE FROM chunks", "has no passages"),
        ("UPDATE manifest SET value = 'x' WHERE name = 'corpus_sha256'", "hash in the manifest"),
    ],
)
def test_verify_finds_damage(path: Path, damage: str, fault: str) -> None:
    with Library(path) as library:
        library.add([STARS])
    with sqlite3.connect(path) as db:
        db.execute(damage)
    with Library(path) as library:
        assert any(fault in line for line in library.verify())


def test_no_library_names_the_mend(path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="tutor library add --demo"):
        Library(path).stats()
    assert not path.parent.exists()


def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    path = tmp_path / "library.sqlite"
    path.write_text("this is not SQLite, it is a letter home " * 20)
    with pytest.raises(InputError, match="cannot be read as a library"):
        Library(path).stats()


def test_another_format_is_refused(path: Path) -> None:
    with Library(path) as library:
        library.add([STARS])
    with sqlite3.connect(path) as db:
        db.execute("UPDATE manifest SET value = '99' WHERE name = 'format'")
    with pytest.raises(InputError, match="format '99'"):
        Library(path).stats()


def test_nothing_usable_makes_no_file(path: Path) -> None:
    with Library(path) as library:
        report = library.add([Rejected("x", "broken")])
    assert report.rejected == (Rejected("x", "broken"),) and not path.exists()


def test_passages_stand_where_they_say_and_cover_the_text() -> None:
    text = "# Top\n\nFirst words here.\n\n## Deep\n\n" + "A sentence with seven words in it. " * 120
    chunks = cut(Document("m", "Top", text, "markdown"))
    assert all(text[c.start : c.end] == c.text for c in chunks)
    assert [c.section for c in chunks[:2]] == ["Top", "Top > Deep"]
    assert all(len(c.text.split()) <= 200 for c in chunks)
    deep = [c for c in chunks if c.section == "Top > Deep"]
    assert len(deep) > 3
    for left, right in pairwise(deep):
        shared = text[right.start : left.end].split()
        assert 20 <= len(shared) <= 40
    assert deep[-1].end == len(text.rstrip())


def test_a_comment_in_a_code_block_is_no_heading() -> None:
    chunks = cut(Document("m", "T", "# T\n\n```python\n# not a heading\nx = 1\n```\n\nText.", "markdown"))
    assert {chunk.section for chunk in chunks} == {"T"}


def test_one_endless_sentence_is_one_passage() -> None:
    assert len(cut(Document("m", "T", "word " * 1000))) == 1


def test_jsonl_is_read_and_broken_lines_are_reported(tmp_path: Path) -> None:
    good = {"id": "2501.00001", "title": " A\n title ", "abstract": "Text.", "created": "2025-01-02"}
    lines = [
        json.dumps(good),
        "",
        "{broken",
        '{"id": "x", "title": "t"}',
        "[1]",
        '{"id": "z", "title": "t", "abstract": "half \\ud800 character"}',
        json.dumps({"id": "y", "title": "t", "text": "T."}),
    ]
    plain = tmp_path / "papers.jsonl"
    plain.write_text("\n".join(lines), encoding="utf-8")
    zipped = tmp_path / "papers2.jsonl.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, zipped):
        items = list(read([path]))
        documents = [item for item in items if isinstance(item, Document)]
        rejected = [item for item in items if isinstance(item, Rejected)]
        assert [d.source_id for d in documents] == ["2501.00001", "y"]
        assert documents[0].title == "A title"
        assert documents[0].details == {"year": 2025, "url": "https://arxiv.org/abs/2501.00001"}
        assert [r.where.rpartition(" ")[2] for r in rejected] == ["3", "4", "5", "6"]
        assert "has no abstract (or text)" in rejected[1].reason


def test_files_that_cannot_be_read_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl.gz").write_bytes(b"not gzip")
    (tmp_path / "latin.md").write_bytes(b"caf\xe9")
    (tmp_path / "plain.py").write_text("x = 1\n")
    (tmp_path / "note.md").write_text("# Note\n\nA text.")
    (tmp_path / "other.csv").write_text("1,2")
    (tmp_path / ".hidden.md").write_text("# Hidden")
    items = list(read([tmp_path]))
    assert [type(item).__name__ for item in items] == ["Rejected", "Rejected", "Document", "Rejected"]


def test_paths_are_judged_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    with pytest.raises(DataNotFoundError, match="no file or folder"):
        read([tmp_path / "missing.md"])
    with pytest.raises(InputError, match=r"accepted: \.jsonl"):
        read([tmp_path / "a.csv"])


def test_two_files_may_not_share_an_id(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "n.md").write_text(f"# {name}\n\nText {name}.")
    library = Library(None)
    library.add(read_file(tmp_path / "one" / "n.md", source_id="n"))
    report = library.add(read_file(tmp_path / "two" / "n.md", source_id="n"))
    assert "already stands for" in report.rejected[0].reason
    assert library.document("n").title == "one"


def test_an_assignment_gives_its_text_and_none_of_its_code() -> None:
    items = {item.source_id: item for item in default_documents() if isinstance(item, Document)}
    text = items["course/05_bayesian_regression"].text
    assert text.startswith("# Assignment") and "# %%" not in text and "\nimport numpy" not in text


def test_the_default_library_is_sound() -> None:
    library = Library(None)
    report = library.add(default_documents())
    assert report.rejected == () and library.verify() == []
    assert library.stats().kinds["abstract"] == 10

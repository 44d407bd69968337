"""An index while others open it, add and replace: each test lets the other one in at the moment that matters."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tutor.library import Document, Library, default
from tutor.library.index import matrix as matrix_module
from tutor.library.index.chroma import ChromaIndex
from tutor.library.index.hybrid import LibraryIndex
from tutor.library.index.matrix import Matrix
from tutor.library.index.passages import Passages
from tutor.library.index.stored import embed, forget
from tutor.settings import Settings

NEEDLE = Document("needle", "Needle", "The zirconium lighthouse paradox of blue stragglers.")
#: Seconds that a step of somebody else is waited for; only a fault waits longer.
PATIENCE = 60.0

fcntl = pytest.importorskip("fcntl", reason="files are locked by POSIX")


@pytest.mark.parametrize("kept", [True, False], ids=["on disk", "in memory"])
def test_a_vector_may_go_between_its_name_and_its_numbers(
    kept: bool, library: Library, home: Path, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = matrix_module._read

    def replaced_first(*args: Any) -> np.ndarray:
        with Library(library.path) as other:
            other.add([Document("p0004", "Changed", "Completely other words.")])
        return read(*args)

    monkeypatch.setattr(matrix_module, "_read", replaced_first)
    index = LibraryIndex(library, toy, folder=home if kept else None)
    assert len(index._vectors) == 60  # as it was when it was looked at
    index.refresh()
    assert len(index._vectors) == 59


def test_the_passages_found_are_those_that_were_ranked(
    library: Library, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def by_number(query: str, chunks: Any, scores: np.ndarray) -> np.ndarray:
        assert len(chunks) == len(scores) == 30
        seen.extend(chunk.source_id for chunk in chunks)
        return np.arange(30.0)

    index = LibraryIndex(library, toy, reranker=by_number)
    ranked = index._ranked

    def replaced_afterwards(*args: Any) -> Any:
        found = ranked(*args)
        with Library(library.path) as other:
            other.add(Document(f"p{n:04d}", "Changed", "Completely other words.") for n in range(60))
        return found

    monkeypatch.setattr(index, "_ranked", replaced_afterwards)
    hits = index.search("quasars", 5)
    assert len(hits) == 5 and [hit.chunk.source_id for hit in hits] == seen[:-6:-1]
    assert "Changed" not in {hit.chunk.title for hit in hits}


def test_while_the_first_documents_are_added_there_is_the_default_library(home: Path) -> None:
    settings = Settings(home)
    with Library(settings.library_path) as adding:
        with adding.transaction():
            library, is_default = default.open_library(settings)
            assert is_default and library.stats().documents > 10
        adding.add([NEEDLE])
        library, is_default = default.open_library(settings)
        assert not is_default and library.stats().documents == 1


# --- Chroma ---


def in_thread(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def opened(home: Path, toy: Any, failures: list[BaseException]) -> None:
    """Open the index over a library of the home, as a thread of a server does."""
    try:
        with Library(home / "library.sqlite") as library:
            LibraryIndex(library, toy, folder=home, vectors="chroma").search("quasars", 1)
    except BaseException as error:
        failures.append(error)


def test_two_threads_open_a_chroma_database_one_after_the_other(
    library: Library, home: Path, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chromadb = pytest.importorskip("chromadb")
    client, met, together = chromadb.PersistentClient, [], threading.Barrier(2)

    def opening(*args: Any) -> Any:
        with suppress(threading.BrokenBarrierError):
            met.append(together.wait(0.5))  # only a second one that is inside as well ends this well
        return client(*args)

    monkeypatch.setattr(chromadb, "PersistentClient", opening)
    failures: list[BaseException] = []
    threads = [in_thread(lambda: opened(home, toy, failures)) for _ in range(2)]
    for thread in threads:
        thread.join(PATIENCE)
    assert met == [] and failures == []


def test_a_process_waits_while_another_opens_a_chroma_database(
    library: Library, home: Path, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chromadb = pytest.importorskip("chromadb")
    client, asked, failures = chromadb.PersistentClient, threading.Event(), []

    def opening(*args: Any) -> Any:
        asked.set()
        return client(*args)

    monkeypatch.setattr(chromadb, "PersistentClient", opening)
    (home / "chroma").mkdir()
    with (home / "chroma" / "opening.lock").open(
        "w"
    ) as lock:  # a lock of a file is no thread's: as another process
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
        thread = in_thread(lambda: opened(home, toy, failures))
        assert not asked.wait(0.5)
    thread.join(PATIENCE)
    assert asked.is_set() and failures == []


def test_what_another_thread_added_to_chroma_is_found_once(library: Library, home: Path, toy: Any) -> None:
    writer = LibraryIndex(library, toy, folder=home, vectors="chroma")
    reader = LibraryIndex(library, toy, folder=home, vectors="chroma")
    library.add([NEEDLE])
    embed(library, toy)
    for index in (reader, writer, reader):  # the reader's own list is of before the writer's turn
        hits = index.search(NEEDLE.text, 5, mode="vectors")
        ids = [hit.chunk.source_id for hit in hits]
        assert ids[0] == "needle" and len(set(ids)) == 5


def test_vectors_of_two_models_do_not_meet_in_chroma(
    library: Library, home: Path, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(type(toy)):  # type: ignore[misc]
        id = "other@2"

        def __call__(self, texts: Any) -> np.ndarray:
            return -super().__call__(texts)

    refresh, other = Matrix.refresh, Other()

    def encoded_anew_afterwards(matrix: Matrix, passages: Passages) -> None:
        refresh(matrix, passages)
        monkeypatch.undo()
        with Library(library.path) as same:
            forget(same)
            embed(same, other)

    monkeypatch.setattr(Matrix, "refresh", encoded_anew_afterwards)
    LibraryIndex(library, toy, folder=home, vectors="chroma").close()
    index = LibraryIndex(library, other, folder=home, vectors="chroma")
    assert isinstance(index._vectors, ChromaIndex)
    kept = index._vectors._collection.get(include=["embeddings"])
    due = index._vectors.rows(np.array([int(one) for one in kept["ids"]]))
    assert len(due) == 60 and np.allclose(kept["embeddings"], due, atol=1e-6)


def test_an_index_that_is_done_lets_others_write_into_chroma(
    library: Library, home: Path, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default, "open_embedder", lambda settings: toy)
    with default.open_index(Settings(home, vectors="chroma")) as (index, _):
        assert index.has_vectors
        descriptor = os.open(home / "chroma" / "writer.lock", os.O_RDWR)
        with pytest.raises(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # though the name `index` lives on
    os.close(descriptor)
    assert index is not None

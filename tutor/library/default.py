"""What the tutor answers from before anybody has chosen: the demo abstracts, the course, the docs.

It is small, so it is read afresh into memory and is never stale; nothing is
written until a person runs `tutor library add`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path

from statml.errors import InputError
from tutor.library.chunks import Document, Rejected
from tutor.library.index.embedding import Embedder, open_embedder
from tutor.library.index.hybrid import LibraryIndex, Reranker
from tutor.library.ingest import read_file
from tutor.library.store import Library
from tutor.settings import Settings


def default_documents() -> Iterator[Document | Rejected]:
    """Yield the bundled abstracts, the texts of the course's assignments and, in a checkout, the pages of ``docs/``."""
    yield from _abstracts()
    yield from _assignments()
    yield from _docs()


def open_library(settings: Settings) -> tuple[Library, bool]:
    """Open the person's library; without one, build the default one in memory.

    Returns
    -------
    library : Library
    is_default : bool
        True if it was built in memory for this run.
    """
    if settings.library_path.is_file():
        library = Library(settings.library_path)
        if library.generation:
            return library, False
        library.close()  # its first documents are just being added, or that was killed
    library = Library(None)
    library.add(default_documents())
    return library, True


@contextmanager
def open_index(
    settings: Settings, *, diversity: float = 0.0, words_only: bool = False, rerank: bool = False
) -> Iterator[tuple[LibraryIndex, bool]]:
    """The index over the person's library, by words alone where that has no vectors; or over the default one.

    Yields
    ------
    index : LibraryIndex
    is_default : bool
        True if the library was built in memory for this run, without vectors.
    """
    library, is_default = open_library(settings)
    with library:
        folder = None if is_default else settings.home
        embedder = None
        if not (is_default or words_only) and library.manifest("embedder"):
            embedder = open_embedder(settings)
        index = LibraryIndex(
            library,
            embedder,
            folder=folder,
            vectors=settings.vectors,
            reranker=second_look(embedder) if rerank else None,
            diversity=diversity,
        )
        with closing(index):  # a name of it that lives on must not keep others from writing
            yield index, is_default


def second_look(embedder: Embedder | None) -> Reranker:
    """The reranker that needs no weights but the embedder's.

    Raises
    ------
    InputError
        For any other embedder than MiniLM.
    """
    from tutor.library.index.late import LateInteraction
    from tutor.library.index.minilm import MiniLM

    if not isinstance(embedder, MiniLM):
        raise InputError("--rerank compares the words of MiniLM: it needs a library encoded by minilm")
    return LateInteraction(embedder)


def _abstracts() -> Iterator[Document | Rejected]:
    from statml import datasets

    for path in datasets.fetch("arxiv_demo"):
        if path.name.endswith(".jsonl"):
            yield from read_file(path)


def _assignments() -> Iterator[Document | Rejected]:
    folder = Path(str(resources.files("course"))) / "assignments"
    for path in sorted(folder.glob("*/assignment.py")):
        yield from read_file(path, source_id=f"course/{path.parent.name}")


def _docs() -> Iterator[Document | Rejected]:
    root = Path(str(resources.files("tutor"))).parent
    if not (root / "pyproject.toml").is_file():
        return  # an installed copy has no docs folder beside it
    for path in sorted((root / "docs").rglob("*.md")):
        yield from read_file(path, source_id=path.relative_to(root).as_posix())

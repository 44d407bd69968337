"""Readers: files into documents. What cannot be read is reported and skipped, never fatal.

======================  ===============================================================
``*.jsonl[.gz]``        one object a line: ``id``, ``title``, ``abstract`` (or ``text``), and
                        optionally ``authors``, ``categories``, ``year``
``*.json``              Kaggle's arXiv snapshot, of which ``astro-ph*`` is kept
``*.xml``               saved answers of arXiv (OAI-PMH or its API)
``*.bib``               BibTeX; with an abstract where the entry has one
``*.tex``               LaTeX, equations and cite keys kept
``*.md``, ``*.ipynb``   pages; the first heading is the title
``*.pdf``               the text of the pages, with pypdf
``*.py``                a course assignment in the percent format: its Markdown cells
======================  ===============================================================

The full text of papers (``*.tex``, ``*.pdf``) is marked ``local_only``: it may be
read and quoted where it lies, and is in nothing that is shipped or exported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from statml.errors import DataNotFoundError, InputError, MissingExtraError
from tutor.library.chunks import Document, Rejected
from tutor.library.ingest import bibtex, latex, pages, pdf, records

Items = Iterator[Document | Rejected]
Reader = Callable[[Path, str], Items]

_READERS: dict[str, Reader] = {
    ".jsonl": records.read_lines,
    ".jsonl.gz": records.read_lines,
    ".json": records.read_lines,
    ".json.gz": records.read_lines,
    ".xml": records.read_xml,
    ".bib": bibtex.read,
    ".tex": latex.read,
    ".md": pages.read_markdown,
    ".ipynb": pages.read_notebook,
    ".pdf": pdf.read,
    ".py": pages.read_assignment,
}
SUFFIXES = tuple(_READERS)
#: Kinds so common for other things that a file must be named to be read.
_ONLY_NAMED = (".json", ".json.gz", ".xml")


def read(paths: Iterable[Path]) -> Items:
    """Yield the documents of files and folders, in order of name.

    Parameters
    ----------
    paths : iterable of Path
        In a folder, files of other kinds are passed over; hidden ones too, and
        parts of a LaTeX source that another file of the folder inputs.

    Raises
    ------
    DataNotFoundError
        For a path that does not exist (before anything is read).
    InputError
        For a file named outright whose kind has no reader.
    """
    listed = list(paths)
    for path in listed:
        if not path.exists():
            raise DataNotFoundError(f"there is no file or folder {path} to add")
        if path.is_file() and _suffix(path) is None:
            raise InputError(f"{path.name} is of no kind that can be added; accepted: {', '.join(SUFFIXES)}")
    return _read_all(listed)


def _read_all(paths: Iterable[Path]) -> Items:
    for path in paths:
        if path.is_file():
            yield from read_file(path)
            continue
        files = sorted(p for p in path.rglob("*") if p.is_file() and _suffix(p))
        visible = [p for p in files if not any(part.startswith(".") for part in p.relative_to(path).parts)]
        parts = latex.parts([p for p in visible if p.suffix == ".tex"])
        for file in visible:
            if _suffix(file) not in _ONLY_NAMED and file.resolve() not in parts:
                yield from read_file(file)


def read_file(path: Path, source_id: str | None = None) -> Items:
    """Yield the documents of one file; `source_id` names a file that is one document."""
    suffix = _suffix(path)
    if suffix is None:
        yield Rejected(str(path), f"is of no kind that can be added; accepted: {', '.join(SUFFIXES)}")
        return
    try:
        yield from _READERS[suffix](path, source_id or _relative(path))
    except (OSError, EOFError, UnicodeDecodeError, ValueError, RecursionError) as error:
        yield Rejected(str(path), f"cannot be read: {error}")
    except MissingExtraError as error:
        yield Rejected(str(path), str(error))


def _suffix(path: Path) -> str | None:
    return next((s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.endswith(s)), None)


def _relative(path: Path) -> str:
    """A file's id: its path as seen from here, else from the root."""
    full = path.resolve()
    return (full.relative_to(Path.cwd()) if full.is_relative_to(Path.cwd()) else full).as_posix()

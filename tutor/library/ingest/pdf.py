"""The text of a PDF, page by page, with pypdf (the extra ``pdf``): good for reading, poor at equations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from statml.errors import MissingExtraError
from tutor.library.chunks import Document, Rejected


def read(path: Path, source_id: str) -> Iterator[Document | Rejected]:
    """One document, a section for each page; a scan without text is rejected.

    Raises
    ------
    MissingExtraError
        If pypdf is not installed.
    """
    try:
        import pypdf
        from pypdf.errors import PyPdfError
    except ImportError as error:
        raise MissingExtraError("PDF needs pypdf: install statml[pdf]") from error
    try:
        reader = pypdf.PdfReader(path)
        pages = [page.extract_text().strip() for page in reader.pages]
        title = str((reader.metadata.title if reader.metadata else None) or path.stem)
    except (PyPdfError, KeyError, TypeError, AttributeError) as error:
        yield Rejected(str(path), f"is no readable PDF: {error}")
        return
    if not any(pages):
        yield Rejected(str(path), "holds no text (a scan?)")
        return
    # a line of the page that begins with # is no heading of ours
    marked = [
        f"# page {number}\n\n"
        + "\n".join(" " + line if line.startswith("#") else line for line in text.splitlines())
        for number, text in enumerate(pages, start=1)
        if text
    ]
    text = "\n\n".join(marked).encode("utf-8", "replace").decode("utf-8")
    yield Document(source_id, " ".join(title.split()), text, "pdf", str(path), {"local_only": True})

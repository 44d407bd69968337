"""What the tutor answers from: sources, passages, search, and answers with verified quotes.

>>> from tutor.library import BM25Retriever, Document, Library, ask
>>> from tutor.providers.extractive import ExtractiveProvider
>>> library = Library(None)
>>> _ = library.add([Document("n1", "Notes", "A prior over functions is called a Gaussian process.")])
>>> answer = ask("What is a Gaussian process?", BM25Retriever(library.chunks()), ExtractiveProvider())
>>> answer.claims[0].source_id, answer.claims[0].verified
('n1', True)
"""

from tutor.library.answer import Answer, Claim, Unsupported, ask
from tutor.library.chunks import Chunk, Document, Rejected, cut
from tutor.library.default import open_library
from tutor.library.ingest import read
from tutor.library.quotes import Span, find_quote
from tutor.library.search import BM25Retriever, Hit, Retriever
from tutor.library.store import AddReport, Library, Stats

__all__ = [
    "AddReport",
    "Answer",
    "BM25Retriever",
    "Chunk",
    "Claim",
    "Document",
    "Hit",
    "Library",
    "Rejected",
    "Retriever",
    "Span",
    "Stats",
    "Unsupported",
    "ask",
    "cut",
    "find_quote",
    "open_library",
    "read",
]

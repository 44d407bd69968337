"""A tiny embedder whose vectors can be foretold, and libraries made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tutor import language
from tutor.library import Document, Library


class Toy:
    """A vector for each content word, by its hash; a text is the mean of its words."""

    id = "toy@1"
    dimension = 32

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts):
            for term in language.terms(text):
                seed = int.from_bytes(hashlib.sha256(term.encode()).digest()[:4], "big")
                row += np.random.default_rng(seed).normal(size=self.dimension)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


TOPICS = ("gyrochronology", "reionization", "quasars", "exoplanets", "supernovae", "asteroseismology")


def papers(number: int) -> list[Document]:
    """Papers of six subjects, of the years 2000 to 2009 and three categories."""
    return [
        Document(
            f"p{i:04d}",
            f"Paper {i} on {TOPICS[i % 6]}",
            f"We study {TOPICS[i % 6]} with survey number {i}. The {TOPICS[(i * 7) % 6]} of the sample are discussed.",
            details={"year": 2000 + i % 10, "categories": [("astro-ph.SR", "astro-ph.GA", "gr-qc")[i % 3]]},
        )
        for i in range(number)
    ]


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def library(home: Path) -> Library:
    """Sixty papers, encoded."""
    from tutor.library.index.stored import embed

    library = Library(home / "library.sqlite")
    library.add(papers(60))
    embed(library, Toy(), checkpoint=16)
    return library

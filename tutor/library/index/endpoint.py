"""Sentence vectors from a server that speaks OpenAI's Embeddings (``POST /v1/embeddings``)."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from statml.errors import ServiceError
from tutor.library.index.embedding import Vectors, unit
from tutor.settings import is_loopback, without_credentials

#: Texts of one request.
BATCH = 64
#: Tries of one request, with a growing pause after 408, 429 and 5xx.
TRIES = 4


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The texts and the key go to the one server that was named."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class EndpointEmbedder:
    """An `Embedder` over HTTP; the dimension is found by asking, `dimensions` is never sent unless given.

    Parameters
    ----------
    base_url : str
        Up to and including ``/v1``.
    model : str
        The model's name on that server.
    dimensions : int, optional
        Ask for shorter vectors; only for servers and models that know how.
    api_key_env : str
        Variable that holds the key; a server on this machine needs none.
    offline : bool
        Refuse any host but this machine.
    timeout : float
        Seconds to wait for one reply.
    pause : float
        Seconds before the first repetition; doubled each time.

    Raises
    ------
    ServiceError
        Offline and the host is not this machine, or the key is missing.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        dimensions: int | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        offline: bool = False,
        timeout: float = 60.0,
        pause: float = 0.5,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._shown = without_credentials(base_url)
        local = is_loopback(base_url)
        if offline and not local:
            raise ServiceError(
                f"{self._shown} is not on this machine and TUTOR_OFFLINE forbids it; "
                "unset TUTOR_OFFLINE or use TUTOR_EMBEDDER=minilm"
            )
        self._key = (os.environ if environ is None else environ).get(api_key_env, "").strip()
        if not self._key and not local:
            raise ServiceError(
                f"no key for {self._shown}: put it into the environment variable {api_key_env} "
                "(or name another variable in TUTOR_API_KEY_ENV)"
            )
        self._url = base_url.rstrip("/") + "/embeddings"
        self._model = model
        self._dimensions = dimensions
        self._timeout = timeout
        self._pause = pause
        self._opener = urllib.request.build_opener(_NoRedirects)

    @property
    def id(self) -> str:
        asked = f"#{self._dimensions}" if self._dimensions else ""
        return f"{self._model}{asked}@{self._shown}"

    @cached_property
    def dimension(self) -> int:
        return self._request(["dimension"]).shape[1]

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Ask for the vectors of `texts`, `BATCH` at a time.

        Raises
        ------
        ServiceError
            Unreachable, refused, or an answer that is no list of vectors of one length.
        """
        parts = [self._request(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        if any(part.shape[1] != self.dimension for part in parts):
            raise ServiceError(f"{self._shown} returned vectors of different lengths")
        return np.vstack(parts) if parts else np.zeros((0, self.dimension), dtype=np.float32)

    def _request(self, texts: Sequence[str]) -> Vectors:
        body: dict[str, Any] = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        if self._dimensions:
            body["dimensions"] = self._dimensions
        answer = self._posted(json.dumps(body).encode())
        try:
            entries = sorted(json.loads(answer)["data"], key=lambda entry: entry["index"])
            vectors = np.array([entry["embedding"] for entry in entries], dtype=np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceError(
                f"{self._shown} did not answer with embeddings; is it an OpenAI-compatible server?"
            ) from error
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise ServiceError(f"{self._shown} did not return one finite vector for each text")
        return unit(vectors)

    def _posted(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        for attempt in range(TRIES):
            request = urllib.request.Request(self._url, body, headers)
            try:
                with self._opener.open(request, timeout=self._timeout) as reply:
                    return bytes(reply.read())
            except urllib.error.HTTPError as error:
                problem = f"answered {error.code}"
                if error.code not in (408, 429) and error.code < 500:
                    break
            except (OSError, ValueError) as error:
                problem = f"cannot be reached ({getattr(error, 'reason', error)})"
            if attempt + 1 < TRIES:
                time.sleep(self._pause * 2**attempt)
        raise ServiceError(
            f"{self._shown}/embeddings {problem}; is it running, and is {self._model!r} an embedding model there?"
        )

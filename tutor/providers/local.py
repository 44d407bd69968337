"""A model on this machine: the provider `local`, which asks a server of `tutor.providers.local_process`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from statml.errors import MissingExtraError
from tutor.providers import local_process, models
from tutor.providers.base import Message, Reply, Schema
from tutor.providers.openai_compatible import OpenAICompatibleProvider


class LocalProvider:
    """Ask a model served on this machine.

    Providers of one process that ask the same weights share one server.

    Parameters
    ----------
    model : str
        A name of `tutor.providers.models.MODELS`, or the beginning of one.
    home : Path
        Where fetched weights lie.
    threads : int, optional
        Default: half of the cores, at least one; more threads than free cores
        make llama.cpp many times slower.
    timeout : float
        Seconds to wait for a reply; less than `local_process.PATIENCE` counts as that.

    Raises
    ------
    DataNotFoundError, MissingExtraError
        On creation: the weights or xllamacpp are not there.
    """

    name = "local"
    # set here too: `close` is called even for one that could not be made
    _server: local_process.Server | None = None

    def __init__(self, model: str, home: Path, *, threads: int | None = None, timeout: float = 60.0) -> None:
        self.model = models.known(model).name
        weights = models.located(model, home)
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtraError("the provider local needs xllamacpp: pip install 'statml[local]'")
        self.threads = threads or max(1, (os.cpu_count() or 2) // 2)
        self._server = local_process.shared(self.model, weights, self.threads, timeout)

    def chat(self, messages: Sequence[Message], *, schema: Schema | None = None, **options: Any) -> Reply:
        """Ask; see `Provider.chat`. The first call waits for the model to load.

        Raises
        ------
        ServiceError
            As `OpenAICompatibleProvider.chat`; also where the weights are not the
            pinned ones, or the server did not start or ended while it worked.
        """
        client = self.client()
        with self.server.alive():
            return client.chat(messages, schema=schema, **options)

    def stream(
        self, messages: Sequence[Message], *, schema: Schema | None = None, **options: Any
    ) -> Generator[str, None, Reply]:
        """As `OpenAICompatibleProvider.stream`."""
        client = self.client()
        with self.server.alive():
            return (yield from client.stream(messages, schema=schema, **options))

    def client(self) -> OpenAICompatibleProvider:
        """The provider that asks the local server, which is started if it does not run."""
        return self.server.client()

    @property
    def server(self) -> local_process.Server:
        """The server, which may not run."""
        if self._server is None:
            raise ValueError("the provider was closed")
        return self._server

    def close(self) -> None:
        """End the server, if no other provider asks it."""
        server, self._server = self._server, None
        if server is not None:
            server.leave()

    def __del__(self) -> None:
        self.close()

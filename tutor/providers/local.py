"""A model on this machine: weights from `tutor.providers.models`, served by xllamacpp on loopback.

The server is started at the first question and ends with the provider. Half of
the cores are used: more threads than free cores make llama.cpp many times slower.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import select
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from statml.errors import MissingExtraError, ServiceError
from tutor.providers import models
from tutor.providers.base import Message, Reply, Schema
from tutor.providers.openai_compatible import OpenAICompatibleProvider

#: Seconds a model may take to load.
LOADING = 180.0


class LocalProvider:
    """Ask a model served on this machine.

    Parameters
    ----------
    model : str
        A name of `tutor.providers.models.MODELS`.
    home : Path
        Where fetched weights lie.
    threads : int, optional
        Default: half of the cores, at least one.
    timeout : float
        Seconds to wait for a reply.

    Raises
    ------
    DataNotFoundError, MissingExtraError
        On creation: the weights or xllamacpp are not there.
    """

    name = "local"
    # set here too: `close` is called even for one that could not be made
    _process: subprocess.Popen[str] | None = None
    _client: OpenAICompatibleProvider | None = None

    def __init__(self, model: str, home: Path, *, threads: int | None = None, timeout: float = 60.0) -> None:
        self.model = model
        self._weights = models.located(model, home)
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtraError("the provider local needs xllamacpp: pip install xllamacpp")
        self._threads = threads or max(1, (os.cpu_count() or 2) // 2)
        self._timeout = timeout

    def chat(self, messages: Sequence[Message], *, schema: Schema | None = None, **options: Any) -> Reply:
        """Ask; see `Provider.chat`. The first call waits for the model to load."""
        return self._started().chat(messages, schema=schema, **options)

    def stream(
        self, messages: Sequence[Message], *, schema: Schema | None = None, **options: Any
    ) -> Generator[str, None, Reply]:
        """As `OpenAICompatibleProvider.stream`."""
        return (yield from self._started().stream(messages, schema=schema, **options))

    def close(self) -> None:
        """End the server."""
        process, self._process, self._client = self._process, None, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def __del__(self) -> None:
        self.close()

    def _started(self) -> OpenAICompatibleProvider:
        if self._client is not None and self._process is not None and self._process.poll() is None:
            return self._client
        self.close()
        key = secrets.token_hex(16)
        context = min(models.known(self.model).context, 8192)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tutor.providers.local_server"),
                *(str(self._weights), str(self._threads), str(context)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TUTOR_LOCAL_KEY": key},
        )
        deadline = time.monotonic() + LOADING
        url = self._address(self._process, deadline)
        _wait_until_loaded(url, key, deadline)
        self._client = OpenAICompatibleProvider(
            f"{url}/v1",
            self.model,
            api_key_env="TUTOR_LOCAL_KEY",
            offline=True,
            timeout=self._timeout,
            environ={"TUTOR_LOCAL_KEY": key},
        )
        return self._client

    def _address(self, process: subprocess.Popen[str], deadline: float) -> str:
        assert process.stdout is not None
        while time.monotonic() < deadline:
            ready, _, _ = select.select([process.stdout], [], [], 0.5)
            line = process.stdout.readline() if ready else ""
            if line.startswith("address "):
                return line.split()[1]
            if process.poll() is not None:
                break
        self.close()
        raise ServiceError(
            f"the local server did not start with {self._weights.name}; `tutor model remove {self.model}` "
            f"and `tutor model install {self.model}` fetch the weights anew"
        )


def _wait_until_loaded(url: str, key: str, deadline: float) -> None:
    # llama.cpp answers 503 while it loads; no proxy may stand between
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"})
    while time.monotonic() < deadline:
        try:
            opener.open(request, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise ServiceError(f"the local model was not loaded within {LOADING:g} s")

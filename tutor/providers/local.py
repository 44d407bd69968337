"""A model on this machine: weights from `tutor.providers.models`, served by xllamacpp on loopback.

The server is started at the first question, on a port the system chooses, and
ends with the provider; one that died is started anew at the next question. Half
of the cores are used: more threads than free cores make llama.cpp many times
slower.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from statml.errors import MissingExtraError, ServiceError
from tutor.providers import models
from tutor.providers.base import Message, Reply, Schema
from tutor.providers.faults import UnusableReplyError
from tutor.providers.openai_compatible import OpenAICompatibleProvider

#: Seconds a model may take to load.
LOADING = 180.0
#: Least seconds a reply is waited for: a slow machine is no broken server, and asking twice makes it slower.
PATIENCE = 600.0


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
        Seconds to wait for a reply; less than `PATIENCE` counts as `PATIENCE`.

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
        self.model = models.known(model).name
        self._weights = models.located(model, home)
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtraError("the provider local needs xllamacpp: pip install 'statml[local]'")
        self._threads = threads or max(1, (os.cpu_count() or 2) // 2)
        self._timeout = max(timeout, PATIENCE)

    def chat(self, messages: Sequence[Message], *, schema: Schema | None = None, **options: Any) -> Reply:
        """Ask; see `Provider.chat`. The first call waits for the model to load.

        Raises
        ------
        ServiceError
            As `OpenAICompatibleProvider.chat`; also where the weights are not the
            pinned ones, or the server did not start or ended while it worked.
        """
        client = self.client()
        with self._alive():
            return client.chat(messages, schema=schema, **options)

    def stream(
        self, messages: Sequence[Message], *, schema: Schema | None = None, **options: Any
    ) -> Generator[str, None, Reply]:
        """As `OpenAICompatibleProvider.stream`."""
        client = self.client()
        with self._alive():
            return (yield from client.stream(messages, schema=schema, **options))

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

    def client(self) -> OpenAICompatibleProvider:
        """The provider that asks the local server, which is started if it does not run."""
        if self._client is not None and self._process is not None and self._process.poll() is None:
            return self._client
        self.close()
        models.verify(self.model, self._weights)
        key = secrets.token_hex(16)
        context = min(models.known(self.model).context, 8192)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tutor.providers.local_server"),
                *(str(self._weights), self.model, str(self._threads), str(context)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TUTOR_LOCAL_KEY": key},
            # Ctrl-C stops an answer, not the server
            start_new_session=True,
        )
        deadline = time.monotonic() + LOADING
        try:
            url = self._address(self._process, deadline)
            self._wait_until_loaded(self._process, url, key, deadline)
        except BaseException:
            self.close()
            raise
        self._client = OpenAICompatibleProvider(
            f"{url}/v1",
            self.model,
            api_key_env="TUTOR_LOCAL_KEY",
            offline=True,
            timeout=self._timeout,
            retries=0,
            environ={"TUTOR_LOCAL_KEY": key},
        )
        return self._client

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Say of a failure that the server died, where that is its cause."""
        try:
            yield
        except UnusableReplyError:
            raise
        except ServiceError:
            process = self._process
            if process is None:
                raise
            with suppress(subprocess.TimeoutExpired):
                process.wait(2.0)  # the connection breaks a moment before the process is gone
            if process.poll() is None:
                raise
            raise ServiceError(
                f"the local server with {self.model} ended while it worked ({_cause(process.returncode)}); "
                "ask again, which starts it anew"
            ) from None

    def _address(self, process: subprocess.Popen[str], deadline: float) -> str:
        assert process.stdout is not None
        while time.monotonic() < deadline:
            ready, _, _ = select.select([process.stdout], [], [], 0.5)
            line = process.stdout.readline() if ready else ""
            if line.startswith("address "):
                return line.split()[1]
            if process.poll() is not None:
                break
        raise self._not_started(process)

    def _wait_until_loaded(self, process: subprocess.Popen[str], url: str, key: str, deadline: float) -> None:
        # llama.cpp answers 503 while it loads; no proxy may stand between
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"})
        while time.monotonic() < deadline and process.poll() is None:
            try:
                opener.open(request, timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise self._not_started(process)

    def _not_started(self, process: subprocess.Popen[str]) -> ServiceError:
        code = process.poll()
        why = f"was not ready within {LOADING:g} s" if code is None else f"ended ({_cause(code)})"
        return ServiceError(
            f"the local server did not start with {self._weights.name}: it {why}; is there memory for "
            f"{models.known(self.model).megabytes} MB of weights, and does `python -c 'import xllamacpp'` work?"
        )


def _cause(code: int) -> str:
    if code == -signal.SIGKILL:
        return "it was killed, perhaps for want of memory"
    return f"signal {-code}" if code < 0 else f"exit code {code}"

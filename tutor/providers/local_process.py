"""The process that serves weights on loopback: started at the first question, ended with the last provider.

It listens on a port the system chooses and takes a key drawn for the run. One
that died is started anew at the next question.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from statml.errors import ServiceError
from tutor.providers import models
from tutor.providers.faults import UnusableReplyError
from tutor.providers.openai_compatible import OpenAICompatibleProvider

#: Seconds a model may take to load.
LOADING = 180.0
#: Least seconds a reply is waited for: a slow machine is no broken server, and asking twice makes it slower.
PATIENCE = 600.0
#: Longest conversation, in tokens; a longer one takes more memory.
MOST_CONTEXT = 8192
#: What the process is told of the environment: no key of another service.
_ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV"),
    *("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
)

_shared: dict[tuple[Path, int], Server] = {}
#: Taken again by one thread: a provider may be collected while another is made.
_lock = threading.RLock()


def shared(model: str, weights: Path, threads: int, timeout: float) -> Server:
    """The server of these weights in this process, new or already there; `Server.leave` gives it back.

    Two servers would take twice the memory and all of the cores.
    """
    with _lock:
        server = _shared.setdefault((weights, threads), Server(model, weights, threads, timeout))
        server.users += 1
        return server


class Server:
    """A model's weights on a port of this machine.

    Parameters
    ----------
    model : str
    weights : Path
    threads : int
    timeout : float
        Seconds to wait for a reply; at least `PATIENCE`.
    """

    def __init__(self, model: str, weights: Path, threads: int, timeout: float) -> None:
        self.users = 0
        self.process: subprocess.Popen[str] | None = None
        self._model, self._weights, self._threads = model, weights, threads
        self._timeout = max(timeout, PATIENCE)
        self._client: OpenAICompatibleProvider | None = None
        self._starting = threading.Lock()

    def client(self) -> OpenAICompatibleProvider:
        """The provider that asks this server, which is started if it does not run.

        Raises
        ------
        ServiceError
            The weights are not the pinned ones, or it does not start.
        """
        with self._starting:
            if self._client is None or self.process is None or self.process.poll() is not None:
                self.stop()
                models.verify(self._model, self._weights)
                try:
                    self._client = self._start()
                except BaseException:
                    self.stop()
                    raise
            return self._client

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Say of a failure inside that the server died, where that is its cause."""
        process = self.process
        try:
            yield
        except UnusableReplyError:
            raise
        except ServiceError:
            if process is None:
                raise
            with suppress(subprocess.TimeoutExpired):
                process.wait(2.0)  # the connection breaks a moment before the process is gone
            if process.poll() is None:
                raise
            raise ServiceError(
                f"the local server with {self._model} ended while it worked ({_cause(process.returncode)}); "
                "ask again, which starts it anew"
            ) from None

    def leave(self) -> None:
        """Say that one provider less asks it; without any it is ended."""
        with _lock:
            self.users -= 1
            if self.users > 0:
                return
            _shared.pop((self._weights, self._threads), None)
        self.stop()

    def stop(self) -> None:
        """End the process."""
        process, self.process, self._client = self.process, None, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _start(self) -> OpenAICompatibleProvider:
        key = secrets.token_hex(16)
        context = min(models.known(self._model).context, MOST_CONTEXT)
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tutor.providers.local_server"),
                *(str(self._weights), self._model, str(self._threads), str(context)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
            | {"TUTOR_LOCAL_KEY": key},
            # Ctrl-C stops an answer, not the server
            start_new_session=True,
        )
        deadline = time.monotonic() + LOADING
        url = self._address(self.process, deadline)
        self._wait_until_loaded(self.process, url, key, deadline)
        return OpenAICompatibleProvider(
            f"{url}/v1",
            self._model,
            api_key_env="TUTOR_LOCAL_KEY",
            offline=True,
            timeout=self._timeout,
            retries=0,
            environ={"TUTOR_LOCAL_KEY": key},
        )

    def _address(self, process: subprocess.Popen[str], deadline: float) -> str:
        assert process.stdout is not None
        while time.monotonic() < deadline:
            ready, _, _ = select.select([process.stdout], [], [], min(0.5, LOADING))
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
            f"{models.known(self._model).megabytes} MB of weights, and does `python -c 'import xllamacpp'` work?"
        )


def _cause(code: int) -> str:
    if code == -signal.SIGKILL:
        return "it was killed, perhaps for want of memory"
    return f"signal {-code}" if code < 0 else f"exit code {code}"

"""Find a sandbox that really isolates on this machine, by trying to break out of it.

A backend that starts is not yet a sandbox. Each candidate runs a probe that
tries to read a canary file and the instructor's folder, to reach a listening
port of this machine, to write outside /tmp and to be root; one success and the
backend is refused.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from course.assignment import instructor_folder
from course.schema import Limits
from course.submission import Cell, SubmissionError, SubmissionText
from statml.errors import DataNotFoundError, ServiceError
from tutor.sandbox.bubblewrap import Bubblewrap
from tutor.sandbox.interface import Sandbox
from tutor.sandbox.namespaces import Namespaces
from tutor.sandbox.session import SandboxedSubmission

NO_SANDBOX = "no sandbox: install bubblewrap (apt install bubblewrap) or allow user namespaces"
_LIMITS = Limits(seconds=20, memory_mb=512, processes=16, output_mb=16)
_ESCAPES = (
    "read a file of the host",
    "reach the network",
    "write outside /tmp",
    "act as root",
    "see processes",
)

_PROBE = """
import os, socket
import numpy as np

def probe(paths, port, home):
    readable = connected = written = 0
    for path in paths:
        try:
            os.listdir(path) if os.path.isdir(path) else open(path).close()
            readable = 1
        except OSError:
            pass
    for address in (("127.0.0.1", port), ("192.0.2.1", 80)):
        try:
            socket.create_connection(address, timeout=0.5).close()
            connected = 1
        except OSError:
            pass
    for folder in ("/", "/usr/lib", "/sandbox", "/dev", "/proc", home):
        try:
            with open(os.path.join(folder, "escape"), "w") as file:
                file.write("x")
            written = 1
        except OSError:
            pass
    others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) > 50]
    return np.array([readable, connected, written, os.getuid() == 0, len(others) > 0], dtype=int)
"""


@cache
def detect() -> Sandbox:
    """The best sandbox that passes its self-test here.

    Raises
    ------
    ServiceError
        None does; the sentence names the mend and why each was refused.
    """
    refusals = []
    for backend in (Bubblewrap(), Namespaces()):
        refusal = backend.missing() or refusal_of(backend)
        if refusal is None:
            return backend
        refusals.append(f"{backend.name}: {refusal}")
    raise ServiceError(f"{NO_SANDBOX} ({'; '.join(refusals)})")


def refusal_of(backend: Sandbox) -> str | None:
    """Why `backend` must not be used here, or None if it held against the probe."""
    cell = Cell(0, "code", _PROBE)
    text = SubmissionText(Path("probe"), hashlib.sha256(_PROBE.encode()).hexdigest(), (cell,))
    with tempfile.TemporaryDirectory(prefix="canary-") as folder, socket.socket() as listener:
        os.chmod(folder, 0o755)
        canary = Path(folder) / "canary"
        canary.write_text("not for the sandbox")
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        home = str(Path.home()) if Path.home() != Path("/tmp") else "/"  # /tmp inside is another one
        paths = [str(canary), folder, "/etc/passwd", "/etc/shadow", *_kept_back()]
        try:
            with SandboxedSubmission(text, backend, _LIMITS) as submission:
                found = submission.call("probe", paths, listener.getsockname()[1], home)
        except (SubmissionError, ServiceError) as error:
            return " ".join(str(error).split())[:300]
    if not isinstance(found, np.ndarray) or found.shape != (len(_ESCAPES),):
        return "its self-test gave no answer"
    escapes = [name for name, value in zip(_ESCAPES, found) if value]
    return f"code inside can {' and '.join(escapes)}" if escapes else None


def _kept_back() -> list[str]:
    try:
        return [str(instructor_folder())]
    except DataNotFoundError:
        return []

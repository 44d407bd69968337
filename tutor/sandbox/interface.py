"""What a sandbox is: a way to start the trusted worker where nothing can be reached.

A backend only builds the command line; starting, watching and ending the
process is the same for all of them (`tutor.sandbox.process`).
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from abc import ABC, abstractmethod

from course.schema import Limits
from tutor.sandbox.limits import rlimits

# Private range far above real accounts and above the ranges of /etc/subuid.
_UID_FIRST, _UID_COUNT = 1_879_048_192, 1 << 24


class Sandbox(ABC):
    """A backend.

    Attributes
    ----------
    name : str
        What it is called in reports.
    """

    name: str

    @abstractmethod
    def missing(self) -> str | None:
        """Why this backend cannot be tried here (a program is not installed), or None."""

    @abstractmethod
    def command(self, limits: Limits, request_fd: int, reply_fd: int) -> list[str]:
        """The command line that starts the worker.

        Parameters
        ----------
        limits : Limits
        request_fd, reply_fd : int
            Inherited descriptors the worker talks on.
        """


def worker_settings(limits: Limits, request_fd: int, reply_fd: int) -> str:
    """The worker's configuration; as root it is told an unprivileged user to become, new each time."""
    uid = _UID_FIRST + secrets.randbelow(_UID_COUNT) if os.getuid() == 0 else None
    return json.dumps(
        {"request_fd": request_fd, "reply_fd": reply_fd, "uid": uid, "rlimits": rlimits(limits)}
    )


def python_command(module: str) -> list[str]:
    """Start ``inside.<module>``: no site, no user packages, no byte code written."""
    interpreter = os.path.realpath(sys.executable)
    start = f"import sys; sys.path.insert(0, '/sandbox/run'); from inside.{module} import main; main()"
    return [interpreter, "-s", "-S", "-P", "-B", "-c", start]

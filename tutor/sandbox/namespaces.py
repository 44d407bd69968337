"""The backend that needs no bubblewrap: util-linux ``unshare`` and a root we mount ourselves.

``unshare`` makes the namespaces; `tutor.sandbox.inside.enclose` mounts a root
of its own in them, leaves the old one, and starts the worker.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from course.schema import Limits
from statml.errors import ServiceError
from tutor.sandbox.interface import Sandbox, python_command, worker_settings
from tutor.sandbox.layout import Layout, layout
from tutor.sandbox.limits import MEGABYTE

_NOBODY = "65534"
# Folders every Linux has; covered in our namespace only, nothing is written to them.
_MOUNT_POINTS = ("/mnt", "/media", "/srv", "/opt", "/var/tmp")


class Namespaces(Sandbox):
    """Runs the worker under ``unshare`` with its own mount namespace."""

    name = "namespaces"

    def missing(self) -> str | None:
        """See `Sandbox.missing`."""
        lacking = [program for program in ("unshare", "setpriv") if not shutil.which(program)]
        return f"{lacking[0]} (util-linux) is not installed" if lacking else None

    def command(self, limits: Limits, request_fd: int, reply_fd: int) -> list[str]:
        """See `Sandbox.command`."""
        inside = layout()
        settings = {
            "root": _mount_point(inside),
            "binds": inside.binds,
            "symlinks": inside.symlinks,
            "hidden": inside.hidden,
            "environment": inside.environment,
            "tmp_bytes": limits.output_mb * MEGABYTE,
        }
        # a grader that is killed takes the sandbox with it
        unshare = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL", "--"]
        unshare += [shutil.which("unshare") or "unshare", "--mount", "--pid", "--fork", "--net", "--ipc"]
        unshare += ["--uts", "--kill-child=KILL"]
        if os.getuid() != 0:
            # capabilities in a user namespace of our own, to mount with; the worker drops them
            unshare += ["--user", "--map-user", _NOBODY, "--map-group", _NOBODY, "--keep-caps"]
        # before the new root is entered, the code of the host starts it
        host = Path(__file__).resolve().parent
        enclose = [
            word.replace("/sandbox/run", str(host)) if word.startswith("import sys") else word
            for word in python_command("enclose")
        ]
        worker = [*python_command("worker"), worker_settings(limits, request_fd, reply_fd)]
        return [*unshare, "--", *enclose, json.dumps(settings), *worker]


def _mount_point(inside: Layout) -> str:
    for folder in _MOUNT_POINTS:
        hides = any(Path(source).is_relative_to(folder) for source, _ in inside.binds)
        if os.path.isdir(folder) and not os.path.islink(folder) and not hides:
            return folder
    raise ServiceError(f"the namespaces sandbox needs one of the folders {', '.join(_MOUNT_POINTS)}")

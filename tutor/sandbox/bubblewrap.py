"""The bubblewrap backend.

As root, bubblewrap mounts with root's rights (so that an interpreter under a
private home can be bound) and the worker then becomes an unprivileged user; as
anyone else, a user namespace does it. Either way the student's code ends up
with no capability, which the worker checks before it loads a line.
"""

from __future__ import annotations

import os
import shutil

from course.schema import Limits
from tutor.sandbox.interface import Sandbox, python_command, worker_settings
from tutor.sandbox.layout import layout
from tutor.sandbox.limits import MEGABYTE

_NOBODY = "65534"


class Bubblewrap(Sandbox):
    """Runs the worker under ``bwrap``."""

    name = "bubblewrap"

    def missing(self) -> str | None:
        """See `Sandbox.missing`."""
        return None if shutil.which("bwrap") else "bwrap is not installed"

    def command(self, limits: Limits, request_fd: int, reply_fd: int) -> list[str]:
        """See `Sandbox.command`."""
        inside = layout()
        command = [shutil.which("bwrap") or "bwrap", *_namespaces()]
        for folder in inside.parents:
            command += ["--perms", "0755", "--dir", folder]
        for source, target in inside.binds:
            command += ["--ro-bind", source, target]
        for folder in inside.hidden:
            command += ["--perms", "0755", "--tmpfs", folder, "--remount-ro", folder]
        for target, link in inside.symlinks:
            command += ["--symlink", target, link]
        size = str(limits.output_mb * MEGABYTE)
        command += ["--proc", "/proc", "--dev", "/dev"]
        for folder in ("/tmp", "/dev/shm"):
            command += ["--perms", "1777", "--size", size, "--tmpfs", folder]
        command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--clearenv"]
        for name, value in inside.environment.items():
            command += ["--setenv", name, value]
        settings = worker_settings(limits, request_fd, reply_fd)
        return [*command, "--", *python_command("worker"), settings]


def _namespaces() -> list[str]:
    shared = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    shared += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if os.getuid() == 0:
        # just enough to become another user and to empty the bounding set
        keep = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
        return [*shared, *(word for name in keep for word in ("--cap-add", name))]
    return [*shared, "--unshare-user", "--disable-userns", "--uid", _NOBODY, "--gid", _NOBODY]

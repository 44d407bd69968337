"""Build a root of its own inside fresh namespaces, then start the worker in it.

Runs as process 1 under ``unshare`` (the backend used where bubblewrap is not
installed): mounts, ``pivot_root``, drops the old root, forks the worker and
reaps whatever it leaves. When it ends, the kernel ends every process inside.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import struct
import sys

from .confine import drop_bounding_set, drop_capabilities

_libc = ctypes.CDLL(None, use_errno=True)

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_MOUNT_SETATTR = 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_DEVICES = ("null", "zero", "full", "random", "urandom")


def main() -> None:
    """``argv[1]`` is the configuration as JSON, the rest the worker's command line."""
    config = json.loads(sys.argv[1])
    _enter(config)
    worker = os.fork()
    if worker == 0:
        os.chdir("/tmp")
        os.execve(sys.argv[2], sys.argv[2:], config["environment"])
    drop_bounding_set()
    drop_capabilities()
    # the pipes are the worker's: held here too, they would hide its end
    os.closerange(0, 256)
    while True:
        pid, status = os.wait()
        if pid == worker:
            os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _enter(config: dict) -> None:
    root = config["root"]
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    os.umask(0o022)
    for source, target in config["binds"]:
        _bind(source, root + target, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV)
    for folder in config["hidden"]:
        _mount("tmpfs", root + folder, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=4k")
        _set_attributes(root + folder, _ATTR_RDONLY, recursive=False)
    for target, link in config["symlinks"]:
        os.symlink(target, root + link)
    os.makedirs(root + "/dev")
    for device in _DEVICES:
        _bind(f"/dev/{device}", f"{root}/dev/{device}", _ATTR_NOSUID)
    for name, descriptor in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{descriptor}", f"{root}/dev/{name}")
    for folder in ("/tmp", "/dev/shm"):
        os.makedirs(root + folder, exist_ok=True)
        options = f"mode=1777,size={config['tmp_bytes']},nr_inodes=20000"
        _mount("tmpfs", root + folder, "tmpfs", _MS_NOSUID | _MS_NODEV, options)
    os.makedirs(root + "/proc")
    _mount("proc", root + "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    os.chdir(root)
    # pivot_root(".", ".") stacks the old root on the new one, where it is detached
    _checked(_libc.syscall(_PIVOT_ROOT[platform.machine()], b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", _MNT_DETACH), "umount of the old root")
    os.chdir("/")
    _set_attributes("/", _ATTR_RDONLY, recursive=False)


def _bind(source: str, target: str, attributes: int) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(source, target, None, _MS_BIND | _MS_REC)
    _set_attributes(target, attributes, recursive=True)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    result = _libc.mount(
        source and os.fsencode(source),
        os.fsencode(target),
        kind and kind.encode(),
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    _checked(result, f"mount of {target}")


def _set_attributes(target: str, attributes: int, *, recursive: bool) -> None:
    # mount_setattr adds to the flags a mount already has; a bind remount would have to
    # repeat them all, and may not drop those a user namespace inherited.
    wanted = struct.pack("<4Q", attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    result = _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), flags, wanted, len(wanted))
    _checked(result, f"making {target} read-only")


def _checked(result: int, what: str) -> None:
    if result != 0:
        print(f"{what} failed: {os.strerror(ctypes.get_errno())}", file=sys.stderr, flush=True)
        os._exit(1)

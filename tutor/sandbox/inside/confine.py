"""Give up every privilege before a student's first line runs, and check that it is gone.

Called by the trusted worker inside the sandbox: resource limits, an
unprivileged user (process limits do not bind root), no capabilities, no new
privileges, and a system-call filter that closes what limits cannot see
(namespaces of one's own, memory files outside any process, tracing).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_CAP_VERSION_3 = 0x20080522

# (x86_64, aarch64) numbers. New namespaces would bring capabilities back, memory
# files and SysV segments belong to no process the memory watchdog could measure.
_DENIED = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
_CLONE = (56, 220)
_CLONE3 = (435, 435)
_CLONE_NEW_ANY = 0x7E020080  # CLONE_NEWNS | CGROUP | UTS | IPC | USER | PID | NET | TIME
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_EPERM, _ENOSYS = 1, 38
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_KILL_PROCESS = 0x80000000


class NotConfined(Exception):
    """A privilege could not be given up."""


def confine(config: dict[str, Any]) -> None:
    """Apply the limits, drop user and capabilities, install the filter, verify.

    Parameters
    ----------
    config : dict
        ``rlimits`` (name to value) and ``uid`` (number to change to, or None where
        the sandbox already runs as an unprivileged user).
    """
    for name, value in config["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (int(value), int(value)))
    drop_bounding_set()
    uid = config["uid"]
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    drop_capabilities()
    # A change of user makes /proc/self unreadable, which some libraries read.
    _prctl(_PR_SET_DUMPABLE, 1)
    install_filter()
    verify()


def drop_bounding_set() -> None:
    """Empty the bounding set where we may; without new privileges it is a second lock."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break


def drop_capabilities() -> None:
    """Clear ambient, effective, permitted and inheritable capabilities for good."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("<Ii", _CAP_VERSION_3, 0)
    if _libc.capset(header, struct.pack("<6I", *[0] * 6)) != 0:
        raise NotConfined("capabilities could not be dropped")


def install_filter() -> None:
    """Install the seccomp filter; every process started from here inherits it."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise NotConfined(f"no system-call filter is known for {machine}")
    program = _program(*_ARCHITECTURES[machine])
    code = ctypes.create_string_buffer(program, len(program))

    class FilterProgram(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    loaded = FilterProgram(len(program) // 8, ctypes.addressof(code))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(loaded))


def _program(column: int, architecture: int) -> bytes:
    load, jump_equal, jump_at_least, jump_any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06

    def op(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
        return struct.pack("<HBBI", code, when_true, when_false, value)

    lines = [op(load, 4), op(jump_equal, architecture, 1, 0), op(give, _KILL_PROCESS), op(load, 0)]
    # x32 numbers would walk around the list on x86_64
    lines += [op(jump_at_least, 0x40000000, 0, 1), op(give, _ERRNO | _EPERM)]
    for numbers in _DENIED.values():
        lines += [op(jump_equal, numbers[column], 0, 1), op(give, _ERRNO | _EPERM)]
    # clone3 hides its flags behind a pointer; ENOSYS makes the C library use clone
    lines += [op(jump_equal, _CLONE3[column], 0, 1), op(give, _ERRNO | _ENOSYS)]
    lines += [op(jump_equal, _CLONE[column], 0, 3), op(load, 16)]
    lines += [op(jump_any_bit, _CLONE_NEW_ANY, 0, 1), op(give, _ERRNO | _EPERM), op(give, _ALLOW)]
    return b"".join(lines)


def verify() -> None:
    """Check what the kernel says of this process.

    Raises
    ------
    NotConfined
        It still is root, holds a capability, or lacks the filter.
    """
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        fields = dict(line.split(":", 1) for line in status if ":" in line)
    if "0" in fields["Uid"].split() or "0" in fields["Gid"].split():
        raise NotConfined("the sandbox still runs as root")
    if any(int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")):
        raise NotConfined("the sandbox still holds capabilities")
    if fields["NoNewPrivs"].strip() != "1" or fields["Seccomp"].strip() != "2":
        raise NotConfined("the system-call filter is not installed")


def _prctl(option: int, second: int, third: int = 0) -> None:
    arguments = [ctypes.c_ulong(value) for value in (second, third, 0, 0)]
    if _libc.prctl(option, *arguments) != 0:
        raise NotConfined(f"prctl {option} failed: {os.strerror(ctypes.get_errno())}")

"""One sandboxed process tree: started, talked to, watched and ended as a whole.

The watchdog runs as long as the tree lives, not only during calls, because a
student's code may leave threads and children behind. It sums the resident
memory of every descendant; when the sum is above the limit it asks for the
proportional share (pages shared by several processes counted once) before it
ends the tree.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import threading
import time
from typing import Literal

from course.schema import Limits
from tutor.sandbox.inside.frames import PREFIX, FrameError, read_prefix
from tutor.sandbox.interface import Sandbox
from tutor.sandbox.limits import MEGABYTE

KEPT_OUTPUT = 64 * 1024
_WATCH_SECONDS = 0.05
_GONE_SECONDS = 10.0
_PAGE = os.sysconf("SC_PAGE_SIZE")

End = Literal["timeout", "memory", "crashed"]


class TreeEnded(Exception):
    """The tree is gone, or had to be ended; `reason` says why."""

    def __init__(self, reason: End, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Tree:
    """A running worker and everything it starts."""

    def __init__(self, sandbox: Sandbox, limits: Limits) -> None:
        self._limits = limits
        self._ended_for_memory = False
        self._output = bytearray()
        request_read, self._request = os.pipe()
        self._reply, reply_write = os.pipe()
        out_read, out_write = os.pipe()
        try:
            command = sandbox.command(limits, request_read, reply_write)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=out_write,
                pass_fds=(request_read, reply_write),
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                start_new_session=True,
                cwd="/",
            )
        except BaseException:
            for descriptor in (self._request, self._reply, out_read):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (request_read, reply_write, out_write):
                os.close(descriptor)
        os.set_blocking(self._request, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._request, fcntl.F_SETPIPE_SZ, MEGABYTE)
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._drain, args=(out_read,), daemon=True),
            threading.Thread(target=self._watch, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def output(self) -> str:
        """The first 64 KB of what the code printed."""
        return bytes(self._output).decode("utf-8", "replace")

    def send(self, raw: bytes, deadline: float) -> None:
        """Write a frame; a child that does not read cannot block us past `deadline`."""
        if self._readable(0):
            raise self.end("crashed", "the code wrote to the grader's channel between calls")
        view = memoryview(raw)
        while view:
            if not select.select([], [self._request], [], max(0.0, deadline - time.monotonic()))[1]:
                raise self.end("timeout", "the process did not take the arguments in time")
            try:
                view = view[os.write(self._request, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._gone() from None

    def receive(self, deadline: float) -> tuple[bytes, bytes]:
        """Read one frame: header and body."""
        prefix = self._exactly(PREFIX.size, deadline)
        try:
            header, body = read_prefix(prefix, self._limits.output_mb * MEGABYTE)
        except FrameError as error:
            raise self.end("crashed", f"what came back is not an answer: {error}") from error
        return self._exactly(header, deadline), self._exactly(body, deadline)

    def end(self, reason: End, detail: str) -> TreeEnded:
        """End every process of the tree, wait until none is left, and return the error to raise."""
        self.close()
        return TreeEnded("memory" if self._ended_for_memory else reason, detail)

    def close(self) -> None:
        """End every process of the tree; may be called twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        _end(self._process)
        for descriptor in (self._request, self._reply):
            os.close(descriptor)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=_GONE_SECONDS)

    def _exactly(self, size: int, deadline: float) -> bytes:
        chunks = bytearray()
        while len(chunks) < size:
            if not self._readable(max(0.0, deadline - time.monotonic())):
                raise self.end("timeout", "no answer in time")
            chunk = os.read(self._reply, min(size - len(chunks), MEGABYTE))
            if not chunk:
                raise self._gone()
            chunks += chunk
        return bytes(chunks)

    def _readable(self, seconds: float) -> bool:
        return bool(select.select([self._reply], [], [], seconds)[0])

    def _gone(self) -> TreeEnded:
        try:
            code = self._process.wait(timeout=_GONE_SECONDS)
        except subprocess.TimeoutExpired:
            return self.end("crashed", "the code closed the grader's channel")
        ended_by = code - 128 if code > 128 else -code
        if ended_by == signal.SIGXCPU:
            return self.end("timeout", "the processor time is used up")
        told = f"was ended by signal {ended_by}" if ended_by > 0 else f"ended with exit code {code}"
        return self.end("crashed", f"the process {told} before it answered")

    def _drain(self, descriptor: int) -> None:
        while True:
            chunk = os.read(descriptor, 65536)
            if not chunk:
                break
            self._output += chunk[: max(0, KEPT_OUTPUT - len(self._output))]
        os.close(descriptor)

    def _watch(self) -> None:
        limit = self._limits.memory_mb * MEGABYTE
        while not self._closed.wait(_WATCH_SECONDS):
            pids = descendants(self._process.pid)
            if sum(map(_resident, pids)) > limit and sum(map(_proportional, pids)) > limit:
                self._ended_for_memory = True
                _end(self._process)
                return


def descendants(pid: int) -> list[int]:
    """Processes below `pid`, at any depth; those of a PID namespace stay below the one that made it."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for child in _children(parent):
            found.append(child)
            waiting.append(child)
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                children += map(int, file.read().split())
    return children


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, IndexError):
        pass
    return _resident(pid)


def _end(process: subprocess.Popen[bytes]) -> None:
    below = descendants(process.pid)
    # the namespace's first process goes first: with it the kernel ends all others at once
    for pid in [*below, process.pid]:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_GONE_SECONDS)
    deadline = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < deadline and any(_alive(pid) for pid in below):
        time.sleep(0.005)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        return False

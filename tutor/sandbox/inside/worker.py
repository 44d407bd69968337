"""The process a student's code lives in: confines itself, loads the cells, answers calls.

Requests come in and replies go out on two private descriptors; the student's
own stdout and stderr are other pipes. The code may still find and write to the
reply pipe, since it shares the process: that gains it nothing but a recorded
crash, because the expected values are not here.
"""

from __future__ import annotations

import fcntl
import json
import linecache
import os
import sys
import traceback
import types
from typing import Any

import numpy as np

from .confine import NotConfined, confine
from .frames import KINDS, PREFIX, FrameError, pack, read_prefix, unpack

EXIT_NOT_CONFINED = 97
_MAX_REQUEST = 1 << 32
_MAX_MESSAGE = 2000


def main() -> None:
    """Run until the request pipe closes; ``argv[1]`` is the configuration as JSON."""
    config = json.loads(sys.argv[1])
    try:
        confine(config)
    except (NotConfined, OSError, ValueError) as error:
        print(f"not confined: {error}", file=sys.stderr, flush=True)
        os._exit(EXIT_NOT_CONFINED)
    serve(_private(config["request_fd"]), _private(config["reply_fd"]))


def serve(request_fd: int, reply_fd: int) -> None:
    """Answer requests one after the other."""
    _write(reply_fd, pack({"id": 0, "ok": True}))
    module = types.ModuleType("submission")
    module.__dict__["display"] = print  # notebooks call it
    sys.modules["submission"] = module
    sys.argv = ["submission"]
    while True:
        frame = _read(request_fd)
        if frame is None:
            os._exit(0)
        fields, value = frame
        if fields["op"] == "load":
            answer: dict[str, Any] = {"ok": True}
            result: Any = [_run_cell(module, index, source) for index, source in value]
        else:
            answer, result = _call(module, fields["function"], value)
        reply = {"id": fields["id"], **answer}
        try:
            raw = pack(reply, result)
        except (FrameError, MemoryError) as error:
            raw = pack({"id": fields["id"], "ok": False, "status": "error", "message": str(error)})
        _write(reply_fd, raw)


def _run_cell(module: types.ModuleType, index: int, source: str) -> str:
    # An empty text means the cell ran; a failing cell does not end the notebook,
    # so a broken plot costs nothing but its own cell.
    name = f"cell {index}"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        exec(compile(source, name, "exec"), module.__dict__)
    except BaseException as error:
        return _told(error)
    return ""


def _call(module: types.ModuleType, function: str, value: Any) -> tuple[dict[str, Any], Any]:
    target = module.__dict__.get(function)
    if not callable(target):
        return _failure("error", f"the submission defines no function {function!r}"), None
    args, kwargs = value
    try:
        return {"ok": True}, _arrays(target(*args, **kwargs))
    except MemoryError:
        return _failure("memory", f"{function} ran out of memory"), None
    except FrameError as error:
        return _failure("error", f"{function}: {error}"), None
    except BaseException as error:  # also SystemExit: a student's sys.exit is a failure like any other
        return _failure("error", f"{function} raised {_told(error)}"), None


def _failure(status: str, message: str) -> dict[str, Any]:
    return {"ok": False, "status": status, "message": message[:_MAX_MESSAGE]}


def _told(error: BaseException) -> str:
    try:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if isinstance(error, SyntaxError):
            return text[:_MAX_MESSAGE].encode("utf-8", "replace").decode()
        frames = [step for step in traceback.extract_tb(error.__traceback__) if step.filename[:5] == "cell "]
        where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    except BaseException:  # an exception whose own text raises
        return "an error that cannot be printed"
    return (text[: _MAX_MESSAGE - 60] + where).encode("utf-8", "replace").decode()


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _array(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_array(item) for item in value)
    return _array(value)


def _array(value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise FrameError("a returned value is not an array") from error
    if array.dtype.kind not in KINDS:
        raise FrameError(f"a returned value has type {type(value).__name__}; arrays and numbers are accepted")
    return array


def _private(descriptor: int) -> int:
    # A number of its own, closed in every program the student's code may start.
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100)
    os.close(descriptor)
    return moved


def _read(descriptor: int) -> tuple[dict[str, Any], Any] | None:
    prefix = _exactly(descriptor, PREFIX.size)
    if prefix is None:
        return None
    header, body = read_prefix(prefix, _MAX_REQUEST)
    raw_header, raw_body = _exactly(descriptor, header), _exactly(descriptor, body)
    if raw_header is None or raw_body is None:
        return None
    return unpack(raw_header, raw_body)


def _exactly(descriptor: int, size: int) -> bytes | None:
    chunks = bytearray()
    while len(chunks) < size:
        chunk = os.read(descriptor, min(size - len(chunks), 1 << 20))
        if not chunk:
            return None
        chunks += chunk
    return bytes(chunks)


def _write(descriptor: int, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[os.write(descriptor, view) :]

"""A submission whose functions run in a sandbox: `course.submission.Submission` over pipes.

One process serves all calls of a submission and is started again when it was
lost. A function that has been lost twice is not called a third time, and a
submission that has lost four call limits of time is not called at all: an
endless loop then costs a bounded time, however many tests there are.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from types import TracebackType
from typing import Any

from course.schema import Limits
from course.submission import (
    Returned,
    SubmissionCrashed,
    SubmissionError,
    SubmissionMemoryError,
    SubmissionText,
    SubmissionTimeout,
    as_arrays,
)
from statml.errors import InputTypeError, ServiceError
from tutor.sandbox.inside.frames import FrameError, pack, unpack
from tutor.sandbox.interface import Sandbox
from tutor.sandbox.process import Tree, TreeEnded

_START_SECONDS = 60.0
_LOSSES_PER_FUNCTION = 2
_LOST_LIMITS = 4
_MAX_MESSAGE = 2000
_ERRORS: dict[str, type[SubmissionError]] = {
    "error": SubmissionError,
    "timeout": SubmissionTimeout,
    "memory": SubmissionMemoryError,
    "crashed": SubmissionCrashed,
}


class SandboxedSubmission:
    """Calls a submission's functions in a sandbox.

    Parameters
    ----------
    text : SubmissionText
    sandbox : Sandbox
    limits : Limits
        What one call may use; loading the cells counts as one call.

    Attributes
    ----------
    cell_errors : list of str
        One sentence for each cell that did not run; the others' functions can be called.
    output : str
        The beginning of what the code printed.

    Examples
    --------
    >>> with SandboxedSubmission(text, detect(), Limits()) as submission:  # doctest: +SKIP
    ...     mean, cov = submission.call("posterior", X, y)
    """

    def __init__(self, text: SubmissionText, sandbox: Sandbox, limits: Limits) -> None:
        self.text = text
        self.cell_errors: list[str] = []
        self.output = ""
        self._sandbox = sandbox
        self._limits = limits
        self._tree: Tree | None = None
        self._calls = 0
        self._lost: Counter[str] = Counter()
        self._loss: dict[str, type[SubmissionError]] = {}
        self._lost_seconds = 0.0
        self._load_error: SubmissionError | None = None

    def call(self, function: str, *args: Any, **kwargs: Any) -> Returned:
        """Call `function`; see `course.submission.Submission.call`.

        Raises
        ------
        SubmissionError
            The function is missing, failed, or used more than its limits.
        InputTypeError
            An argument is not an array, number or text, nested in lists, tuples or dicts.
        ServiceError
            The sandbox itself did not start.
        """
        self._refuse_lost(function)
        tree = self._started()
        try:
            request = pack({"id": self._calls + 1, "op": "call", "function": function}, [args, kwargs])
        except FrameError as error:
            raise InputTypeError(f"an argument of {function}: {error}") from error
        try:
            _, value = self._exchange(tree, request, function)
            return as_arrays(value)
        except SubmissionError as error:
            if not isinstance(error, SubmissionTimeout | SubmissionMemoryError | SubmissionCrashed):
                raise
            # after a lost call the process is gone or not to be trusted; the next call gets a fresh one
            self._stop()
            self._lost[function] += 1
            self._loss[function] = type(error)
            raise

    def close(self) -> None:
        """End the process and everything it started."""
        self._stop()

    def __enter__(self) -> SandboxedSubmission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _refuse_lost(self, function: str) -> None:
        if self._load_error is not None:
            raise self._load_error
        if self._lost[function] >= _LOSSES_PER_FUNCTION:
            # Recorded as what it was lost to: a crash stays a crash.
            raise self._loss[function](
                f"{function} was not called again: it was lost {self._lost[function]} times"
            )
        if self._lost_seconds >= _LOST_LIMITS * self._limits.seconds:
            raise SubmissionTimeout(
                f"{function} was not called: the submission already lost {self._lost_seconds:.0f} s"
            )

    def _started(self) -> Tree:
        if self._tree is None:
            tree = Tree(self._sandbox, self._limits)
            try:
                tree.receive(time.monotonic() + _START_SECONDS)
            except TreeEnded as error:
                raise ServiceError(
                    f"the {self._sandbox.name} sandbox did not start: {tree.output.strip() or error}"
                ) from error
            except BaseException:
                tree.close()
                raise
            self._tree = tree
            self._load(tree)
        return self._tree

    def _load(self, tree: Tree) -> None:
        cells = [
            # the text of one cell alone, its magics commented out
            [cell.index, replace(self.text, cells=(cell,)).code]
            for cell in self.text.cells
            if cell.kind == "code"
        ]
        request = pack({"id": self._calls + 1, "op": "load"}, cells)
        try:
            _, value = self._exchange(tree, request, "running the notebook")
        except SubmissionError as error:
            self._stop()
            self._load_error = error
            raise
        messages = value if isinstance(value, list) else []
        self.cell_errors = [str(message)[:_MAX_MESSAGE] for message in messages if message]

    def _exchange(self, tree: Tree, request: bytes, what: str) -> tuple[dict[str, Any], Any]:
        start = time.monotonic()
        deadline = start + self._limits.seconds
        self._calls += 1
        try:
            tree.send(request, deadline)
            fields, value = unpack(*tree.receive(deadline))
            if fields.get("id") != self._calls:
                raise FrameError("it belongs to another call")
        except TreeEnded as error:
            self._lost_seconds += time.monotonic() - start
            raise self._explained(error, what) from error
        except FrameError as error:
            raise SubmissionCrashed(f"{what}: what came back is not an answer: {error}") from error
        if fields.get("ok") is not True:
            kind = _ERRORS.get(str(fields.get("status")), SubmissionCrashed)
            raise kind(_printable(fields.get("message", "")))
        return fields, value

    def _explained(self, error: TreeEnded, what: str) -> SubmissionError:
        if error.reason == "timeout":
            return SubmissionTimeout(f"{what} ran past its limit of {self._limits.seconds:g} s")
        if error.reason == "memory":
            return SubmissionMemoryError(
                f"{what} used more than {self._limits.memory_mb} MB with all its processes"
            )
        return SubmissionCrashed(f"{what}: {error}")

    def _stop(self) -> None:
        if self._tree is not None:
            self._tree.close()
            self.output = (self.output + self._tree.output)[:65536]
            self._tree = None


def _printable(message: object) -> str:
    return str(message)[:_MAX_MESSAGE].encode("utf-8", "replace").decode()

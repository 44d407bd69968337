"""A student's submission: its cells, its written answers, and the handle tests call it through.

Tests never import student code. They hold a `Submission` and write
``submission.call("posterior", X, y)``: arrays go in, arrays come out, and where
the call runs is the handle's business. `InProcessSubmission` serves a student
who checks her own work; the tutor's sandbox offers another that survives
crashes, endless loops and memory hogs.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from statml.errors import DataNotFoundError, InputError, MissingExtraError

# A written answer is the markdown cell that opens with this marker.
ANSWER_MARKER = re.compile(r"<!--\s*answer:\s*([a-z][a-z0-9_]*)\s*-->")
MAX_BYTES = 5_000_000


@dataclass(frozen=True)
class Cell:
    """One cell of a notebook; `index` counts from 0 over all cells."""

    index: int
    kind: Literal["code", "markdown"]
    source: str


@dataclass(frozen=True)
class SubmissionText:
    """The text of a submission, whatever format it came in."""

    path: Path
    sha256: str
    cells: tuple[Cell, ...]

    @property
    def code(self) -> str:
        """All code cells as one module; notebook magics are commented out."""
        return "\n\n".join(_without_magics(cell.source) for cell in self.cells if cell.kind == "code")

    @property
    def answers(self) -> dict[str, Cell]:
        """Written answers: question id to its markdown cell (the last one wins)."""
        found = {}
        for cell in self.cells:
            marker = ANSWER_MARKER.search(cell.source) if cell.kind == "markdown" else None
            if marker:
                found[marker.group(1)] = cell
        return found


def _without_magics(source: str) -> str:
    return "\n".join(
        "# " + line if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()
    )


def read_submission(path: str | Path) -> SubmissionText:
    """Read a notebook (``.ipynb``) or a percent-format script (``.py``).

    Raises
    ------
    InputError
        The file is too large, is neither format, or cannot be parsed.
    DataNotFoundError
        There is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise DataNotFoundError(f"submission {path} does not exist; give a .ipynb or .py file")
    if path.suffix not in {".ipynb", ".py"}:
        raise InputError(
            f"submission {path.name} has the ending {path.suffix!r}; accepted are .ipynb and .py"
        )
    raw = path.read_bytes()
    if len(raw) > MAX_BYTES:
        raise InputError(f"submission {path.name} has {len(raw)} bytes; at most {MAX_BYTES} are accepted")
    try:
        import jupytext
    except ImportError as error:
        raise MissingExtraError("reading submissions needs jupytext: pip install 'statml[course]'") from error
    try:
        notebook = jupytext.reads(
            raw.decode("utf-8"), fmt="ipynb" if path.suffix == ".ipynb" else "py:percent"
        )
    except Exception as error:  # a hostile file may fail anywhere inside the parser
        raise InputError(
            f"submission {path.name} cannot be read as a notebook: {type(error).__name__}"
        ) from error
    cells = tuple(
        Cell(index, "code" if cell.cell_type == "code" else "markdown", str(cell.source))
        for index, cell in enumerate(notebook.cells)
    )
    return SubmissionText(path, hashlib.sha256(raw).hexdigest(), cells)


Array = np.ndarray
Returned = Array | tuple[Array, ...] | dict[str, Array]


class Submission(Protocol):
    """What a test may do with a submission."""

    @property
    def text(self) -> SubmissionText:
        """The submission's cells."""
        ...

    def call(self, function: str, *args: Any, **kwargs: Any) -> Returned:
        """Call a function of the submission with arrays, numbers or strings.

        Raises
        ------
        SubmissionError
            The function is missing, failed, or used more than its limits.
        """
        ...


class SubmissionError(Exception):
    """The student's code could not give an answer; `status` is the test status to record."""

    status: Literal["error", "timeout", "memory", "crashed", "not_executed"] = "error"


class SubmissionTimeout(SubmissionError):
    """The call ran past its wall-clock limit."""

    status = "timeout"


class SubmissionMemoryError(SubmissionError):
    """The call (with all its processes) used more memory than allowed."""

    status = "memory"


class SubmissionCrashed(SubmissionError):
    """The process died, or answered with something that is not an answer."""

    status = "crashed"


class InProcessSubmission:
    """Runs the student's own code in the student's own process: no protection, for self-checks only."""

    def __init__(self, text: SubmissionText) -> None:
        self.text = text
        self._namespace: dict[str, Any] | None = None

    def call(self, function: str, *args: Any, **kwargs: Any) -> Returned:
        """Call `function`; see `Submission.call`."""
        try:
            if self._namespace is None:
                namespace: dict[str, Any] = {"__name__": "submission"}
                exec(compile(self.text.code, str(self.text.path), "exec"), namespace)
                self._namespace = namespace
            if not callable(self._namespace.get(function)):
                raise SubmissionError(f"the submission defines no function {function!r}")
            return as_arrays(self._namespace[function](*args, **kwargs))
        except SubmissionError:
            raise
        except NotImplementedError as error:
            raise SubmissionError(f"{function} is still to be written") from error
        except (Exception, SystemExit) as error:  # a stray sys.exit() must not end the check
            raise SubmissionError(f"{function} raised {type(error).__name__}: {error}") from error


def as_arrays(value: Any) -> Returned:
    """Turn what a function returned into arrays: one, a tuple of them, or a dict of them.

    Raises
    ------
    SubmissionError
        It holds something that is not a numeric, boolean or text array.
    """
    if isinstance(value, dict):
        return {str(key): _array(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_array(item) for item in value)
    return _array(value)


def _array(value: Any) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise SubmissionError("a returned value is not an array") from error
    if array.dtype.kind not in "biufcU":
        raise SubmissionError(
            f"a returned value has type {type(value).__name__}; arrays and numbers are accepted"
        )
    return array

"""A submission from source text, in each backend that works on this machine."""

import hashlib
import time
from pathlib import Path

import pytest

from course.schema import Limits
from course.submission import Cell, SubmissionText
from statml.errors import ServiceError
from tutor.sandbox.bubblewrap import Bubblewrap
from tutor.sandbox.detect import detect, refusal_of
from tutor.sandbox.namespaces import Namespaces
from tutor.sandbox.session import SandboxedSubmission

LIMITS = Limits(seconds=5, memory_mb=300, processes=16, output_mb=8)


def text_of(*cells):
    joined = "\n".join(cells)
    return SubmissionText(
        Path("student.py"),
        hashlib.sha256(joined.encode()).hexdigest(),
        tuple(Cell(index, "code", cell) for index, cell in enumerate(cells)),
    )


@pytest.fixture
def wait_for():
    """Wait until something is true; only a fault takes a minute."""

    def wait(condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)

    return wait


def working(backend):
    refusal = backend.missing() or refusal_of(backend)
    if refusal:
        pytest.skip(f"{backend.name}: {refusal}")
    return backend


@pytest.fixture(scope="session", params=[Bubblewrap, Namespaces], ids=["bubblewrap", "namespaces"])
def backend(request):
    return working(request.param())


@pytest.fixture(scope="session")
def any_backend():
    """What detect() would give: for facts of the worker, which is the same in every backend."""
    try:
        return detect()
    except ServiceError as error:
        pytest.skip(str(error))


def opener(sandbox):
    opened = []

    def open_submission(*cells, limits=LIMITS, **changes):
        submission = SandboxedSubmission(text_of(*cells), sandbox, limits.model_copy(update=changes))
        opened.append(submission)
        return submission

    yield open_submission
    for submission in opened:
        submission.close()


@pytest.fixture
def submit(backend):
    yield from opener(backend)


@pytest.fixture
def submit_once(any_backend):
    yield from opener(any_backend)

"""The handle: values there and back, cells, limits, and what is lost."""

from pathlib import Path

import numpy as np
import pytest

from course.submission import SubmissionCrashed, SubmissionError, SubmissionTimeout
from statml.errors import InputTypeError
from tutor.sandbox import session
from tutor.sandbox.process import Tree, descendants

pytestmark = pytest.mark.sandbox


def test_values_keep_shape_and_type(submit_once):
    submission = submit_once("def echo(value): return value")
    for value in (
        np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
        np.array(["Teff", "δ"]),
        np.array([1 + 2j]),
        np.zeros((0, 3)),
        np.array(5, dtype=">i4"),
        np.array([True]),
    ):
        back = submission.call("echo", value)
        assert back.shape == value.shape
        assert back.dtype == value.dtype.newbyteorder("<")
        np.testing.assert_array_equal(back, value)
    pair = submission.call("echo", (np.ones(2), 3))
    assert isinstance(pair, tuple) and pair[1] == 3
    assert submission.call("echo", {"a": np.ones(2)})["a"].tolist() == [1, 1]
    assert np.isnan(submission.call("echo", float("nan")))
    assert submission.call("echo", value=2.5) == 2.5


def test_answer_can_be_written_to(submit_once):
    submission = submit_once("import numpy as np\ndef f(): return np.zeros(3)")
    answer = submission.call("f")
    answer[0] = 1


def test_an_argument_that_cannot_travel_is_the_callers_fault(submit_once):
    with pytest.raises(InputTypeError, match="type Generator cannot be sent"):
        submit_once("def f(x): return x").call("f", np.random.default_rng(0))


def test_missing_function_and_failing_function_are_told_with_their_line(submit_once):
    submission = submit_once("x = 1", "def f():\n    return 1 / 0\n")
    with pytest.raises(SubmissionError, match="defines no function 'g'"):
        submission.call("g")
    with pytest.raises(SubmissionError, match=r"ZeroDivisionError: division by zero \(cell 1, line 2\)"):
        submission.call("f")


def test_a_broken_cell_costs_only_itself(submit_once):
    submission = submit_once(
        "%matplotlib inline", "plot(undefined)", "def f(): return 1", "import sys; sys.exit(3)", "def :"
    )
    assert submission.call("f") == 1
    assert [error.split(":")[0] for error in submission.cell_errors] == [
        "NameError",
        "SystemExit",
        "SyntaxError",
    ]


def test_main_guard_does_not_run(submit_once):
    submission = submit_once("ran = 0\nif __name__ == '__main__':\n    ran = 1\n", "def f(): return ran")
    assert submission.call("f") == 0


@pytest.fixture
def started(monkeypatch):
    """The processes started so far; seconds would depend on the machine."""
    trees = []
    monkeypatch.setattr(session, "Tree", lambda *args: trees.append(Tree(*args)) or trees[-1])
    return trees


def test_a_notebook_that_never_ends_is_loaded_once(submit_once, started):
    submission = submit_once("while True: pass", "def f(): return 1", seconds=2)
    for _ in range(5):
        with pytest.raises(SubmissionTimeout, match="running the notebook ran past its limit of 2 s"):
            submission.call("f")
    assert len(started) == 1


def test_a_function_is_lost_twice_not_a_dozen_times(submit_once, started):
    submission = submit_once("def f():\n    while True: pass", "def g(): return 1", seconds=2)
    for _ in range(12):
        with pytest.raises(SubmissionTimeout):
            submission.call("f")
    assert len(started) == 2
    assert submission.call("g") == 1


def test_state_is_fresh_after_a_loss(submit_once):
    submission = submit_once(
        "n = 0\ndef f():\n    global n\n    n += 1\n    return n\ndef die():\n    import os; os._exit(1)"
    )
    assert submission.call("f") == 1
    assert submission.call("f") == 2
    with pytest.raises(SubmissionError, match="exit code 1"):
        submission.call("die")
    assert submission.call("f") == 1


def test_large_arguments_travel(submit_once):
    submission = submit_once("def f(x): return x.sum()", memory_mb=1024)
    assert submission.call("f", np.ones((2000, 2000))) == 4e6


def state(pid):
    """How the system calls what a process does; T is stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_a_process_that_does_not_read_cannot_hold_the_grader(submit_once, wait_for):
    source = "import os, signal, threading\ndef stop(): threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGSTOP)).start(); return 1"
    submission = submit_once(source, "def f(x): return 1", seconds=3)
    assert submission.call("stop") == 1
    wait_for(lambda: "T" in map(state, descendants(submission._tree._process.pid)))
    with pytest.raises(SubmissionTimeout):
        submission.call("f", np.ones(4_000_000))


def test_an_error_that_is_no_text_can_still_be_stored(submit_once):
    submission = submit_once("raise ValueError('a\\udcff')", "def f(): raise ValueError('b\\udcff')")
    with pytest.raises(SubmissionError) as caught:
        submission.call("f")
    str(caught.value).encode("utf-8")
    assert submission.cell_errors[0].encode("utf-8")


@pytest.mark.sandbox
def test_a_function_that_crashed_twice_stays_crashed(submit_once):
    submission = submit_once("import os\ndef gone():\n    os._exit(3)\n", seconds=10, memory_mb=512)
    for _ in range(2):
        with pytest.raises(SubmissionCrashed):
            submission.call("gone")
    with pytest.raises(SubmissionCrashed, match="not called again: it was lost 2 times"):
        submission.call("gone")

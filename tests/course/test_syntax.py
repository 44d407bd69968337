"""Code is read by one thread at a time, and to the letter as `ast.parse` reads it."""

from __future__ import annotations

import ast
import gc
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from course import syntax
from course.syntax import parse

CODE = Path(syntax.__file__).read_text(encoding="utf-8").replace("from __future__ import annotations", "") * 5


@pytest.fixture
def interrupted() -> Iterator[None]:
    """Every collection of garbage lets another thread go on, and there are many."""
    before = gc.get_threshold()

    def pause(phase: str, info: dict) -> None:
        time.sleep(0)

    gc.callbacks.append(pause)
    gc.set_threshold(50, 2, 2)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(pause)


def test_threads_do_not_count_for_each_other(interrupted: None) -> None:
    wanted, failures = ast.dump(ast.parse(CODE)), []

    def read() -> None:
        try:
            for _ in range(10):
                assert ast.dump(parse(CODE)) == wanted
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("code", ["def f(:", "x\0", "(" * 500 + ")" * 500], ids=["half", "zero", "deep"])
def test_what_is_no_code_is_said_and_the_next_text_is_read(code: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):  # zero bytes are the one or the other, by version
        parse(code)
    assert len(parse("a = 1\nb = 2").body) == 2


def test_what_python_warns_of_is_not_shown() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse("x = '\\d'")

"""Expected failures are one line and an exit code; bugs keep their traceback."""

from __future__ import annotations

import argparse

import pytest

from statml import console
from statml.cli import main
from statml.errors import DataNotFoundError, InputError


def parser_for(run):
    parser = argparse.ArgumentParser(prog="test")
    parser.set_defaults(run=run)
    return parser


@pytest.mark.parametrize(
    "error", [InputError("x is 3; accepted is 4"), DataNotFoundError("no file a.csv; put it in b")]
)
def test_an_expected_error_is_one_line_and_exit_code_two(error, capsys):
    def run(args):
        raise error

    assert console.run(parser_for(run), []) == console.EXIT_USAGE
    assert capsys.readouterr().err == f"test: {error.args[0]}\n"


def test_ctrl_c_keeps_what_was_done_and_exits_130(capsys):
    def run(args):
        raise KeyboardInterrupt

    assert console.run(parser_for(run), []) == console.EXIT_INTERRUPTED
    assert "kept" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback():
    def run(args):
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        console.run(parser_for(run), [])


def test_without_a_verb_the_help_is_shown(capsys):
    assert main([]) == console.EXIT_USAGE
    assert "usage: statml" in capsys.readouterr().out

"""The words of the prompts: versioned text files, so that a change of words is a change of version."""

from __future__ import annotations

from importlib import resources


def prompt(name: str) -> str:
    """The prompt of a version, from ``tutor/pedagogy/prompts/NAME.txt``."""
    file = resources.files("tutor.pedagogy").joinpath("prompts", f"{name}.txt")
    return file.read_text(encoding="utf-8")

"""The real assignment, and small classes made from cells."""

import json

import pytest

from course.assignment import instructor_folder
from tutor.grading.material import load_material


@pytest.fixture(scope="session")
def material():
    return load_material("05")


@pytest.fixture
def samples():
    return instructor_folder() / "samples" / "05_bayesian_regression"


@pytest.fixture
def hand_in(tmp_path):
    """Write a notebook of one student: code cells, answers by question."""
    folder = tmp_path / "class"

    def write(student, code="x = 1", **answers):
        cells = [
            {"cell_type": "code", "source": code, "metadata": {}, "outputs": [], "execution_count": None}
        ]
        for question, words in answers.items():
            source = f"<!-- answer: {question} -->\n\n{words}"
            cells.append({"cell_type": "markdown", "source": source, "metadata": {}})
        notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
        (folder / student).mkdir(parents=True)
        (folder / student / "submission.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
        return folder

    return write

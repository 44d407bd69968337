"""The assignment every test here is about, loaded once."""

import pytest

import course


@pytest.fixture(scope="session")
def assignment():
    return course.load("05")

"""Every example in a docstring runs and shows what it says."""

import doctest
import importlib
import pkgutil

import pytest

import course
import statml
import tutor

MODULES = sorted(
    module.name
    for package in (statml, tutor, course)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.rpartition(".")[2].startswith("_")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_examples_exist():
    """The walk finds the packages, and they do hold examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    counted = {
        name: sum(len(t.examples) for t in finder.find(importlib.import_module(name))) for name in MODULES
    }
    assert counted["statml.uncertainty.covariance"] > 0
    assert counted["statml.regression.linear"] > 0
    assert sum(counted.values()) > 40

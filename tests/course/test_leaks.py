"""No student's copy holds anything of the instructor's: wheel, source distribution, bundle."""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from course.assignment import ASSIGNMENTS, instructor_folder
from course.bundle import build_student_bundle
from course.leaks import distinctive_lines, find_leaks
from statml.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lines():
    found = distinctive_lines(instructor_folder(), ASSIGNMENTS)
    assert {"solution.py", "tests_hidden.py", "rubric.yaml"} == set(found.values())
    return found


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Wheel and sdist, built from a copy of the checkout without network, and unpacked."""
    work = tmp_path_factory.mktemp("build")
    left_out = shutil.ignore_patterns(
        ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache"
    )
    shutil.copytree(ROOT, work / "source", ignore=left_out)
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            "--wheel",
            "--sdist",
            "--outdir",
            str(work / "dist"),
        ],
        cwd=work / "source",
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    [wheel] = (work / "dist").glob("*.whl")
    [sdist] = (work / "dist").glob("*.tar.gz")
    zipfile.ZipFile(wheel).extractall(work / "wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(work / "sdist", filter="data")
    return work


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    out = tmp_path_factory.mktemp("bundles") / "students"
    build_student_bundle(out)
    return out


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_distribution_holds_the_students_half_only(distributions, lines, kind):
    folder = distributions / kind
    names = {path.name for path in folder.rglob("05_bayesian_regression/*") if path.is_file()}
    assert names == {"assignment.py", "card.toml", "tests_public.py"}
    assert list(folder.rglob("syllabus.toml"))
    assert find_leaks(folder, lines) == []


def test_bundle_holds_the_students_half_only(bundle, lines):
    assert sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()) == [
        "05_bayesian_regression/assignment.ipynb",
        "05_bayesian_regression/assignment.py",
        "05_bayesian_regression/card.toml",
        "05_bayesian_regression/tests_public.py",
        "CONTENTS.md",
    ]
    assert find_leaks(bundle, lines) == []


def test_bundle_is_the_same_every_time(bundle, tmp_path):
    again = build_student_bundle(tmp_path / "again", ["05"])
    for path in again:
        assert path.read_bytes() == (bundle / path.relative_to(tmp_path / "again")).read_bytes()


def test_bundle_is_not_written_over_files(tmp_path):
    (tmp_path / "mine.txt").write_text("work")
    with pytest.raises(InputError, match="not an empty folder"):
        build_student_bundle(tmp_path)
    with pytest.raises(InputError, match="there is 05"):
        build_student_bundle(tmp_path / "new", ["99"])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_search_finds_what_is_planted(tmp_path, lines):
    """One line of each instructor's file, in a script, re-wrapped in Markdown, and in a notebook."""
    by_file = {file: line for line, file in lines.items()}
    (tmp_path / "a.py").write_text(f"def f():\n        {by_file['solution.py']}\n")
    (tmp_path / "b.md").write_text(by_file["rubric.yaml"].replace(" ", "\n  ", 3))
    cells = [{"cell_type": "code", "source": ["x = 1\n", by_file["tests_hidden.py"]]}]
    (tmp_path / "c.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "instructor").mkdir()
    (tmp_path / "instructor" / "note.bin").write_bytes(b"\x00")
    found = find_leaks(tmp_path, lines)
    assert {fault.split()[0] for fault in found} == {"a.py", "b.md", "c.ipynb", "instructor/note.bin"}


def test_reference_answers_are_among_what_is_searched_for(assignment, lines):
    searched = " ".join(lines)
    for criterion in assignment.rubric().criteria:
        for answer in criterion.reference_answers:
            assert answer in searched

"""What a newcomer gets: an installed copy that works, imports that are quick, floors that hold."""

from __future__ import annotations

import ast
import functools
import graphlib
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from statml import datasets

ROOT = Path(__file__).parents[1]
TOP = ("statml", "tutor", "course")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


# --- installing ---

# Dependencies come from the running environment, appended last so that only what is not installed in the
# fresh environment is found there; -I keeps the working directory and PYTHONPATH out.
LOAD_EVERYTHING = """
import json, sys
sys.path.append(sys.argv[1])
import statml
from statml import datasets
rows = {name: len(datasets.load(name)) for name in datasets.list_datasets() if datasets.card(name).bundled}
print(json.dumps({"statml": statml.__file__, "names": datasets.list_datasets(), "rows": rows,
                  "folder": str(datasets.card("gaia_xp").folder)}))
"""


def run(*command: object, cwd: Path) -> str:
    result = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what a build reads, so that building leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in (*TOP, "datasets"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    offline = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "-q")
    run(sys.executable, "-m", "pip", "wheel", *offline, "-w", out, source, cwd=out)
    (built,) = out.glob("statml-*.whl")
    return built


def install_and_load(tmp_path: Path, *what: object) -> dict:
    """Install `what` into a fresh environment and load every bundled data set there."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "-q")
    # The build backend of an editable install runs in the fresh environment, which has no setuptools of its own.
    site = sysconfig.get_path("purelib")
    command = [*pip, "--no-build-isolation", "--no-deps", "--no-index", *what]
    result = subprocess.run(
        [str(c) for c in command],
        cwd=tmp_path,
        env={"PYTHONPATH": site, "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(run(python, "-I", "-c", LOAD_EVERYTHING, site, cwd=tmp_path))


def check_loaded(found: dict) -> None:
    assert found["names"] == datasets.list_datasets()
    bundled = [name for name in datasets.list_datasets() if datasets.card(name).bundled]
    assert found["rows"] == {name: len(datasets.load(name)) for name in bundled}


def test_an_installed_wheel_loads_every_card(wheel: Path, tmp_path: Path) -> None:
    found = install_and_load(tmp_path, wheel)
    assert Path(found["statml"]).is_relative_to(tmp_path)
    assert Path(found["folder"]).parent == Path(found["statml"]).parent / "_data"
    check_loaded(found)


def test_an_editable_install_loads_every_card(source: Path, tmp_path: Path) -> None:
    found = install_and_load(tmp_path, "-e", source)
    assert Path(found["statml"]).is_relative_to(source)
    assert Path(found["folder"]) == source / "datasets" / "gaia_xp"
    check_loaded(found)


def test_the_wheel_holds_our_packages_and_every_typed_marker(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        *TOP,
        f"statml-{PROJECT['project']['version']}.dist-info",
    }
    assert {f"{top}/py.typed" for top in TOP} <= set(names)
    modules = {p.relative_to(ROOT).as_posix() for top in TOP for p in sources(top)}
    assert modules <= set(names)


# --- what pyproject.toml and constraints.txt promise ---


def sources(top: str) -> Iterator[Path]:
    """Yield the modules of a package; assignments are data, sent to students one by one."""
    for path in sorted((ROOT / top).rglob("*.py")):
        if "assignments" not in path.relative_to(ROOT).parts[:-1]:
            yield path


def test_the_list_of_packages_is_the_tree() -> None:
    tree = {
        ".".join(p.parent.relative_to(ROOT).parts)
        for top in TOP
        for p in sources(top)
        if p.stem == "__init__"
    }
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert sorted(listed) == sorted(tree | {"statml._data"})


def test_every_module_lies_in_a_package() -> None:
    for top in TOP:
        for path in sources(top):
            assert (path.parent / "__init__.py").is_file(), path


def test_constraints_pin_every_dependency_without_local_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line.strip() and not line.startswith("#")]
    assert "torch==2.13.0" in pins
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.]+", line)] == []
    pinned = {canonical(line.split("==")[0]) for line in pins}
    assert len(pinned) == len(pins)
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *(entry for group in extras.values() for entry in group)]
    names = {canonical(re.split(r"[<>=!~\[; ]", entry)[0]) for entry in wanted} - {"statml"}
    assert names <= pinned


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- imports ---


def test_importing_statml_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import statml; took = time.perf_counter() - start;"
        "print(took, *[m for m in ('torch', 'pymc', 'chromadb', 'numba', 'openai') if m in sys.modules])"
    )
    runs = [run(sys.executable, "-c", code, cwd=ROOT).split() for _ in range(5)]
    assert all(len(words) == 1 for words in runs), runs
    assert min(float(words[0]) for words in runs) < 0.3


@functools.cache
def imports(path: Path, *, only_at_import: bool = False) -> tuple[str, ...]:
    """Return the modules of this project that `path` imports.

    `only_at_import` leaves out what runs later (inside functions) or never (under TYPE_CHECKING).
    """
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        if only_at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if only_at_import and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).with_suffix("").parts[: -node.level]
                base = ".".join([*package, *([node.module] if node.module else [])])
            found.extend(f"{base}.{a.name}" if is_module(f"{base}.{a.name}") else base for a in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return tuple(name for name in found if name.split(".")[0] in TOP)


def is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize(("top", "forbidden"), [("statml", {"tutor", "course"}), ("course", {"tutor"})])
def test_floors(top: str, forbidden: set[str]) -> None:
    for path in sources(top):
        upward = [name for name in imports(path) if name.split(".")[0] in forbidden]
        assert not upward, f"{path.relative_to(ROOT)} imports {upward}"


def test_methods_do_not_import_research_nor_research_its_neighbours() -> None:
    for path in sources("statml"):
        own = module_name(path).split(".")
        for name in imports(path):
            parts = name.split(".")
            if parts[:2] == ["statml", "research"] and own[-1] != "cli":
                same_system = own[:2] == parts[:2] and parts[2:3] in ([], own[2:3])
                assert same_system, f"{path.relative_to(ROOT)} imports {name}"


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        module_name(path): {name for name in imports(path, only_at_import=True) if name != module_name(path)}
        for top in TOP
        for path in sources(top)
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("circle of imports: " + " -> ".join(error.args[1]))


def test_no_module_is_called_by_what_it_is_not() -> None:
    banned = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
    assert not [path for top in TOP for path in sources(top) if path.stem in banned]

"""``statml SYSTEM VERB``: the same four verbs for every research system, and errors of one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from statml import cli, console, headline
from statml.errors import InputError

TABLES = pytest.mark.skipif(
    "STATML_DATA" not in os.environ, reason="needs $STATML_DATA/abundances/corr_mead25.txt and its neighbours"
)


def run(capsys, *words):
    code = cli.main(list(words))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_systems_are_known_by_their_files():
    assert "abundances" in cli.systems()


def test_help_imports_no_system():
    code = "import sys; from statml.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(*[m for m in sys.modules if m.startswith('statml.research.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "abundances" in done.stdout
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("system", cli.systems())
@pytest.mark.parametrize("verb", ["figure", "results", "simulate", "fit"])
def test_every_verb_has_help_and_json(system, verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([system, verb, "--help"])
    assert stopped.value.code == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize("system", cli.systems())
def test_a_system_without_a_verb_shows_its_help(system, capsys):
    code, out, _ = run(capsys, system)
    assert code == console.EXIT_USAGE and f"usage: statml {system}" in out


def test_a_figure_is_saved(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("STATML_DATA", raising=False)
    monkeypatch.setattr("statml.datasets.files._cache_folder", lambda: tmp_path / "cache")
    path = tmp_path / "matrix.png"
    code, out, _ = run(capsys, "abundances", "figure", "--out", str(path), "--dpi", "40", "--json")
    assert code == 0 and json.loads(out) == {"saved": str(path)}
    assert path.read_bytes().startswith(b"\x89PNG")


def test_results_without_tables_say_what_is_missing(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("STATML_DATA", str(tmp_path))
    monkeypatch.setattr("statml.datasets.files._cache_folder", lambda: tmp_path / "cache")
    code, out, _ = run(capsys, "abundances", "results", "--json")
    rows = json.loads(out)
    assert code == 0
    assert list(rows[0]) == ["quantity", "published", "ours", "uncertainty", "tier", "command", "note"]
    computed = {row["quantity"]: row for row in rows if row["ours"] is not None}
    assert computed["rho(O, Fe), released kernel"]["ours"] == pytest.approx(0.5095, abs=1e-4)
    missing = [row for row in rows if row["ours"] is None]
    assert len(missing) == 2 and all("corr_mead25.txt" in row["note"] for row in missing)


@TABLES
@pytest.mark.data
def test_results_with_tables(capsys):
    code, out, _ = run(capsys, "abundances", "results")
    assert code == 0 and "not computed" not in out
    assert "r(mead25), cosine, 231 pairs" in out and "not reproduced" in out


@TABLES
@pytest.mark.data
def test_a_fit_prints_the_posterior_and_its_verdict(capsys):
    code, out, _ = run(capsys, "abundances", "fit", "Eu", "--json")
    found = json.loads(out)
    assert code == 0 and found["tier"] == "real"
    assert set(found["parameters"]) == {"delay", "width", "kick", "events"}
    assert found["verdicts"]["width"].endswith("not constrained by this model")


def test_a_simulation_beside_the_theory(capsys, tmp_path):
    path = tmp_path / "maps.npz"
    words = ["--elements", "O,N", "--box", "4", "--grid", "64", "--realisations", "2", "--beam", "100"]
    code, out, err = run(capsys, "abundances", "simulate", *words, "--out", str(path), "--json")
    assert code == 0, err
    (row,) = json.loads(out)["correlations"]
    assert abs(row["simulated"] - row["theory"]) < 0.3 and path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["figure", "--out", "a.txt"], "names that end in .png"),
        (["figure", "--out", "nowhere/a.png"], "a folder that does not exist"),
        (["simulate", "--elements", "O,Q"], "symbols has 'Q'"),
        (["simulate", "--grid", "8"], "too coarse"),
        (["simulate", "--out", "maps.csv"], ".npz"),
        (["simulate", "--out", "nowhere/maps.npz"], "a folder that does not exist"),
    ],
)
def test_bad_input_is_one_line(words, sentence, capsys):
    code, out, err = run(capsys, "abundances", *words)
    assert code == console.EXIT_USAGE and out == ""
    assert err.startswith("statml: ") and err.count("\n") == 1 and sentence in err


def test_a_row_says_why_it_has_no_number():
    with pytest.raises(InputError, match="says why"):
        headline.Row("a", 1.0, None, None, "real", "statml")
    with pytest.raises(InputError, match="tier is 'fake'"):
        headline.Row("a", 1.0, 1.0, None, "fake", "statml")
    text = headline.table([headline.Row("a", None, None, None, "real", "c", "not reproduced: no text")])
    assert text.splitlines()[1].split() == ["a", "-", "-", "real", "not", "reproduced:", "no", "text"]

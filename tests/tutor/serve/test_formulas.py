"""Formulas beside the text: read where they can be, left as TeX where not, never anything else."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tutor.serve import formulas
from tutor.serve.dressing import dressed
from tutor.serve.formulas import DEEPEST, LONGEST, LONGEST_TEXT, MOST_ELEMENTS, parts, tree


def flat(node: list) -> list[list]:
    return [node, *(n for child in node[2:] if isinstance(child, list) for n in flat(child))]


def said(node: list) -> str:
    return "".join(said(c) if isinstance(c, list) else c for c in node[2:])


def test_a_formula_becomes_a_tree_and_the_words_stay() -> None:
    before, mass, after = parts(r"a halo of $M_{200} = 10^{12}\,{\rm M_\odot}$ within")
    assert (before, after) == ("a halo of ", " within")
    assert mass["tex"] == r"M_{200} = 10^{12}\,{\rm M_\odot}" and not mass["block"]
    assert said(mass["math"]) == "M200=1012M⊙"
    (alone,) = parts(r"$$\hat y = \frac{1}{2}$$")
    assert alone["block"] and [n[0] for n in flat(alone["math"])] == ["mrow", "mover", "mi", "mo", "mo", "mfrac", "mrow", "mn", "mrow", "mn"]  # fmt: skip


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\boldsymbol{\mu}", "𝝁"), (r"\mathbf{x}^\top", "𝐱⊤"), (r"T_{\rm eff}", "Teff"), (r"5\degr", "5∘"),
        (r"\lambda\,1549\,\AA", "λ1549Å"), (r"a \pm b", "a±b"), (r"x \sim y", "x∼y"), (r"\text{5\%}", "5%"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "a=bc=d"),
    ],
    ids=range(9),
)  # fmt: skip
def test_what_astronomers_write_is_read(tex: str, text: str) -> None:
    found = tree(tex)
    assert found is not None and said(found) == text


def test_words_in_an_index_are_one_word_and_functions_stand_apart() -> None:
    assert ["mi", {"mathvariant": "normal"}, "eff"] in flat(tree(r"T_{\rm eff}"))
    assert [n[0] for n in tree(r"2 \log x \exp(y)")[2:]] == ["mn", "mspace", "mi", "mspace", "mi", "mspace", "mi", "mo", "mi", "mo"]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "it costs $5 or $6",
        "$ x $",
        r"\$x\$",
        "no formula",
        "$$",
        "$x",
        "",
        None,
        3,
        "$" * 99,
        r"$\unknown{x}$",
    ],
    ids=range(11),
)
def test_what_is_no_formula_stays_text(text: object) -> None:
    assert parts(text) is None


def test_prose_between_the_ends_of_two_formulas_is_no_formula() -> None:
    told = parts(r"for $5 the first one of them gives $x^2$, and so on")
    assert [p if isinstance(p, str) else p["tex"] for p in told] == [
        "for $5 the first one of them gives ", "x^2", ", and so on",
    ]  # fmt: skip


HOSTILE = [
    r"\href{javascript:window.pwned=1}{x}",
    r"\style{position:fixed;inset:0}{x}",
    r"\class{card}{x}",
    r"\cssId{question}{x}",
    r"\url{https://example.org}",
    r"\includegraphics{https://example.org/pixel}",
    r"\hspace{9999em}x",
    r"\rule{100em}{100em}",
    r"\def\a{xx}\def\b{\a\a}\b",
    r"\newcommand{\a}{xx}\a",
    r"\renewcommand\a[1]{#1#1}\a",
    r"\DeclareMathOperator{\a}{x}\a",
    "{" * 200 + "x" + "}" * 200,
    r"\sqrt" * 100 + "x",
    r"{x^" * 90 + "x" + "}" * 90,
    "x" * (LONGEST + 1),
    "x+" * (LONGEST // 2 - 1) + "x",
    "a\u202eb",
]


@pytest.mark.parametrize("tex", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_formulas_stay_as_their_tex(tex: str) -> None:
    assert tree(tex) is None and parts(f"see ${tex}$") is None


def test_markup_in_a_formula_is_text() -> None:
    found = tree(r"\text{<script>window.pwned=1</script>}")
    assert found == ["mrow", {}, ["mtext", {}, "<script>window.pwned=1</script>"]]


def test_whatever_leaves_is_on_the_list() -> None:
    commands = [
        r"\color{red}",
        r"\textcolor{red}",
        r"\mathbb",
        r"\boxed",
        r"\phantom",
        r"\overbrace",
        r"\big(",
        r"\dfrac",
    ]
    for command in commands:
        found = tree(f"{command}{{x}}{{y}}")
        for node in flat(found) if found else []:
            assert node[0] in formulas._KEPT, node
            assert set(node[1]) <= {*formulas._VALUES, "mathvariant", "class"}, node


def test_a_megabyte_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(formulas, "tree", lambda *tex: asked.append(tex))
    for text in ("$" + "x" * 10**6 + "$", "$x$" * 10**6, "$" * 10**6, "x" * LONGEST_TEXT + "$y$"):
        assert parts(text) is None
    assert parts("$x$ and $y$ " * 1000) is None and len(asked) < 5000  # within the longest text
    assert max(len(tex) for tex, _ in asked) <= LONGEST
    assert MOST_ELEMENTS <= 400 and DEEPEST < 30


def test_the_event_is_added_to_and_never_changed() -> None:
    event = {"event": "claim", "text": "an $x$", "quote": "an  $x$", "number": 1}
    shown = dressed(event)
    assert {k: v for k, v in shown.items() if k != "shown"} == event and "shown" not in event
    assert set(shown["shown"]) == {"text", "quote"} and json.loads(json.dumps(shown)) == shown
    asked = {"kind": "student", "text": "what is $x$?"}
    assert dressed(asked) is asked  # what a student types stays as she typed it


def test_marks_of_markdown_sources_are_shown_and_their_words_kept() -> None:
    text = "* an **ensemble** of $M$, `fit(x*y*z)` and [chapter 5](05.md), *is* 2*3*4"
    event = {"event": "claim", "text": text, "quote": text, "source_id": "docs/chapters/16.md"}
    shown = dressed(event)["shown"]["quote"]
    marks = [(p["as"], p["text"]) for p in shown if isinstance(p, dict) and "as" in p]
    assert marks == [("strong", "ensemble"), ("code", "fit(x*y*z)"), ("em", "is")]
    assert " and chapter 5, " in "".join(p for p in shown if isinstance(p, str)) and shown[-1] == " 2*3*4"
    assert "shown" not in dressed({**event, "source_id": "2306.11232", "quote": "a **b**", "text": "a **b**"})
    picture = {**event, "text": "![a figure](../f.png)", "quote": "x"}
    assert dressed(picture)["shown"] == {"text": ["a figure"]}
    source = {"event": "source", "title": "Trees", "section": "Trees > Pruning", "source_id": "a"}
    assert dressed(source)["shown"] == {"section": ["Pruning"]}


def unread(text: str) -> Iterator[tuple[str, bool]]:
    """Every formula of a text, and whether it stays as its TeX."""
    place = 0
    while match := formulas._FORMULA.search(text, place):
        tex = (match["block"] or match["inline"]).strip()
        prose = formulas._PROSE.search(tex) is not None
        place = match.end() - prose
        if not prose:
            yield tex, tree(tex, match["block"] is not None) is None


def test_the_formulas_of_our_own_pages_are_read() -> None:
    told = []
    for page in (Path(__file__).parents[3] / "docs" / "chapters").glob("*.md"):
        words = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        told += unread(words)
    left = [tex for tex, kept in told if kept]
    assert len(told) > 500 and len(left) <= len(told) // 100, left


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif("STATML_DATA" not in os.environ, reason="needs $STATML_DATA")
def test_the_formulas_of_real_abstracts_are_read() -> None:
    told: list[tuple[str, bool]] = []
    with gzip.open(Path(os.environ["STATML_DATA"]) / "tutor" / "astro_ph_2025_2026.jsonl.gz", "rt") as file:
        for line in file:
            told += unread(json.loads(line)["abstract"])
    left = sum(kept for _, kept in told)
    print(f"{left} of {len(told)} formulas in real abstracts stay as their TeX")
    assert len(told) > 50_000 and left < len(told) / 200

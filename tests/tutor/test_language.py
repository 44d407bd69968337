"""Sentences, content words and names."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutor import language


@given(st.text(max_size=300))
def test_sentences_are_verbatim_in_order_and_lose_nothing(text: str) -> None:
    spans = list(language.sentences(text))
    assert all(a < b for a, b in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    outside = "".join(
        text[a:b]
        for a, b in zip([0, *(b for _, b in spans)], [*(a for a, _ in spans), len(text)], strict=True)
    )
    assert not outside.strip()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("See Fig. 3 of Ting et al. 2025 for it. Then stop.", 2),
        ("A value of 0.4 and 1.0. Next.", 2),
        ("We use e.g. Gaia. It works!", 2),
        ("First paragraph\n\nsecond paragraph", 2),
        ("one line\nwrapped on", 1),
        ("", 0),
    ],
)
def test_where_a_sentence_ends(text: str, count: int) -> None:
    assert len(list(language.sentences(text))) == count


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What is the best pizza in Columbus?", ["columbus"]),
        ("Which ages does [C/N] give?", ["[c/n]"]),
        ("Why is Kurucz-a1 faster than ATLAS-12?", ["kurucz", "a1", "atlas", "12"]),
        ("How do stars spin down? Because of winds.", []),
        ("What happened in 2011?", ["2011"]),
    ],
)
def test_names(question: str, names: list[str]) -> None:
    assert language.names(question) == names


def test_spelling_accents_and_endings_meet() -> None:
    assert language.terms("modelling colours") == language.terms("modeling color")
    assert language.terms("Müller") == language.terms("Muller")
    assert language.terms("The posterior’s widths") == language.terms("posterior width")

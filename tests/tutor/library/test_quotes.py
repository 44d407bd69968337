"""A quote verifies if and only if its letters stand in the passage."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from statml import datasets
from tutor.library.quotes import find_quote, normalise

ABSTRACTS = [
    json.loads(line)["abstract"]
    for path in datasets.fetch("arxiv_demo")
    if path.suffix == ".jsonl"
    for line in Path(path).read_text(encoding="utf-8").splitlines()
]
TEX = r"Assuming 1$\sigma$ errors of $0.11 \times 10^{12} M_\odot$ (about 10\%) -- the “halo” isn't résolved."
TEXTS = [*ABSTRACTS, TEX]
# from every corner of Unicode and TeX, not only from real abstracts
ANY_TEXT = st.text(
    st.one_of(st.characters(), st.sampled_from(list("\\{}$^_~-'\" ²½ﬁ\u00a0\u200b"))), max_size=60
)


@st.composite
def part(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> tuple[str, int, int]:
    text = draw(texts.filter(lambda t: bool(t.strip())))
    start = draw(st.integers(0, len(text) - 1))
    end = draw(st.integers(start + 1, len(text)))
    return text, start, end


@given(part(st.one_of(st.sampled_from(TEXTS), ANY_TEXT)))
@settings(max_examples=400, deadline=None)
def test_any_substring_verifies_where_it_stands(case: tuple[str, int, int]) -> None:
    text, start, end = case
    quote = text[start:end]
    assume(quote.strip())
    span = find_quote(quote, text)
    assert span is not None
    assert normalise(text[span.start : span.end]).strip() == normalise(quote).strip() or (
        text[span.start : span.end] == quote
    )


@st.composite
def misspelt(draw: st.DrawFn) -> tuple[str, str]:
    """A run of six words of an abstract with one letter of one of them replaced."""
    text = draw(st.sampled_from(ABSTRACTS))
    spans = [m for m in range(len(text)) if text[m].isalpha() and text[m].isascii()]
    at = draw(st.sampled_from(spans))
    other = draw(st.sampled_from(string.ascii_letters).filter(lambda c: c != text[at]))
    start = max(text.rfind(" ", 0, max(0, at - 30)), 0)
    end = text.find(" ", min(len(text) - 1, at + 30))
    end = len(text) if end < 0 else end
    return text[start:at] + other + text[at + 1 : end], text


@given(misspelt())
@settings(max_examples=400, deadline=None)
def test_one_other_letter_does_not_verify(case: tuple[str, str]) -> None:
    quote, text = case
    assume(quote not in text)  # never seen with runs this long; a text could repeat itself
    assert find_quote(quote, text) is None


@given(st.sampled_from(ABSTRACTS), st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=200, deadline=None)
def test_a_word_left_out_or_doubled_does_not_verify(text: str, begin: int, drop: int) -> None:
    words = text.split()
    begin %= len(words) - 8
    run = words[begin : begin + 8]
    at = 1 + drop % 6
    shorter, longer = run[:at] + run[at + 1 :], [*run[:at], run[at], *run[at:]]
    for changed in (shorter, longer):
        quote = " ".join(changed)
        assume(quote not in " ".join(words))
        assert find_quote(quote, text) is None


@given(part(st.sampled_from(TEXTS)), st.sampled_from(["\n", "  ", "\u00a0", "\u2009 "]))
@settings(max_examples=200, deadline=None)
@example((TEX, 0, len(TEX)), "\n")
def test_other_white_space_still_verifies(case: tuple[str, int, int], blank: str) -> None:
    text, start, end = case
    quote = text[start:end]
    # a cut through a TeX command is only a substring, not a quotation
    assume(quote.strip() and "\\" not in quote)
    assume("\\" not in text[max(0, start - 12) : start])
    assert find_quote(quote.replace(" ", blank), text) is not None


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("1σ errors of 0.11 × 10^12 M⊙", r"1$\sigma$ errors of $0.11 \times 10^{12} M_\odot$"),
        ("0.11 × 10¹² M_⊙ (about 10%)", r"$0.11 \times 10^{12} M_\odot$ (about 10\%)"),
        ('— the "halo" isn’t résolved.', "-- the “halo” isn't résolved."),
        ("re\u0301solved", "résolved"),
        ("resolved", None),
        ("isn't re", None),
        ("errors of $0.11 \\times 10^{13}", None),
        ("0.11 × 1012 M⊙", None),
        ("The “halo” isn't", None),
        ("   ", None),
        ("", None),
        ("$", "$"),
    ],
)
def test_typography_may_differ_and_nothing_else(quote: str, found: str | None) -> None:
    span = find_quote(quote, TEX)
    assert (span and TEX[span.start : span.end]) == found


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("consistent with the model", "It is inconsistent with the model."),
        ("1.2 dex below", "by 11.2 dex below"),
        ("0.8 dex or so", "> -0.8 dex or so"),
        ("about 5", "about 5.3 stars"),
        ("linear in the", "it is non-linear in the"),
        ("is a binary", "is a binary-free star"),
        ("a short resume", "a short resume\u0301 of it"),
    ],
)
def test_a_quote_that_cuts_a_word_is_marked(quote: str, text: str) -> None:
    span = find_quote(quote, text)
    assert span is not None and not span.whole_words


def test_of_two_places_the_whole_words_win() -> None:
    text = "inconsistent with it, or consistent with it"
    span = find_quote("consistent with it", text)
    assert span is not None and span.whole_words and span.start == text.rindex("consistent")


def test_long_texts_are_quick() -> None:
    text = "a " * 50_000 + "the end of it"
    assert find_quote("the  end of it", text) is not None

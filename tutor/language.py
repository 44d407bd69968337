"""The little English the tutor needs without a model: sentences, content words, names.

Everything here is deterministic and offline. Content words are Snowball stems
of the words that carry a question's meaning; names are the words that single
something out (M87, Columbus, [C/N]), which a passage must contain before it can
be said to be about them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from statml.errors import MissingExtraError

# Function words, and the words with which questions are asked rather than answered.
_STOP = frozenset(
    re.findall(
        r"[a-z]+",
        """
    a about above abstract according after again all also am an and answer any are article as ask at
    author authors be because been before being between both but by call called can cannot could define
    describe detail did discuss do does doing done down during each either else ever every explain few
    for from further get give given gives go goes got had happen has have having he her here hers him
    his how however i idea if in into is it its itself just kind know let lets like list made main make
    makes many may me mean means meant might more most much must my name near need needs no nor not now
    of off often on once one only onto or other our out over own paper papers per please question quite
    rather really same say says shall she should show shown shows since so some state stated states
    still studies study such tell than that the their them then there these they thing things this those
    through thus to too try type under until up upon us use used uses using very via was way ways we
    were what whatever when where whether which while who whom whose why will with within without work
    works would yes yet you your
    """,
    )
)

_WORD = re.compile(r"\[[A-Za-z]+/[A-Za-z]+\]|[^\W_]+(?:['’][^\W_]+)?(?:-[^\W_]+)*")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|et al|cf|vs|etc|fig|figs|eq|eqs|sec|sect|ref|refs|no|approx|resp|dr|prof|st)|\b[A-Z])\.$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s|$)|\n\s*\n")


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    try:
        import Stemmer
    except ImportError as error:
        raise MissingExtraError("the tutor needs PyStemmer: install statml[tutor]") from error
    return Stemmer.Stemmer("english")


def _folded(text: str) -> str:
    """Lower case without accents and with plain dashes, so that Müller is found as muller."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    return re.sub("[\u2010-\u2015\u2212]", "-", plain).lower()


def words(text: str) -> list[str]:
    """Split into lower-case words; a hyphenated word yields itself and its parts.

    Examples
    --------
    >>> words("The age-velocity relation of [C/N]")
    ['the', 'age-velocity', 'age', 'velocity', 'relation', 'of', '[c/n]']
    """
    found: list[str] = []
    for match in _WORD.findall(_folded(text)):
        word = match.replace("’", "'").removesuffix("'s")
        found.append(word)
        if "-" in word:
            found.extend(part for part in word.split("-") if len(part) > 1)
    return found


def terms(text: str) -> list[str]:
    """Stems of the content words of `text`, in order, with repetitions.

    Examples
    --------
    >>> terms("What are the ages of stars?")
    ['age', 'star']
    """
    return [term for term in map(_term, words(text)) if term]


@lru_cache(maxsize=200_000)
def _term(word: str) -> str:
    """The stem of a content word, the empty text for any other; spellings of the field are joined."""
    if word in _STOP or (len(word) == 1 and not word.isdigit()):
        return ""
    stem = str(_stemmer().stemWord(word))
    return stem.replace("colour", "color").replace("modell", "model").replace("behaviour", "behavior")


def question_terms(question: str) -> list[str]:
    """Content terms of a question, each once; a hyphenated word counts by its parts only."""
    seen: dict[str, None] = {}
    for term in terms(question):
        # the compound itself is kept only when its parts say nothing (C-3, X-1)
        if "-" in term and all(len(part) > 1 for part in term.split("-")):
            continue
        seen.setdefault(term)
    return list(seen)


def names(question: str) -> list[str]:
    """Terms of the words that single something out: digits inside, capitals inside, or capitalised mid-sentence.

    Examples
    --------
    >>> names("What is the mass of the black hole in M87?")
    ['m87']
    """
    found: dict[str, None] = {}
    for start, end in sentences(question):
        sentence = question[start:end]
        for position, match in enumerate(_WORD.finditer(sentence)):
            word = match.group()
            capital_inside = any(c.isupper() for c in word[1:])
            capitalised = word[0].isupper() and position > 0 and word != "I"
            numbered = any(c.isdigit() for c in word)
            if capital_inside or capitalised or numbered:
                for term in question_terms(word):
                    found.setdefault(term)
    return list(found)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield ``(start, end)`` of each sentence of `text`; ``text[start:end]`` is the sentence verbatim.

    Examples
    --------
    >>> text = "Stars age (e.g. the Sun). Do they? Yes."
    >>> [text[a:b] for a, b in sentences(text)]
    ['Stars age (e.g. the Sun).', 'Do they?', 'Yes.']
    """
    start = 0
    for match in _SENTENCE_END.finditer(text):
        paragraph = match.group().isspace()
        if not paragraph and not _ends_sentence(text, start, match):
            continue
        yield from _trimmed(text, start, match.start() if paragraph else match.end())
        start = match.end()
    yield from _trimmed(text, start, len(text))


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    following = text[match.end() :].lstrip()[:1]
    if following and following.islower():
        return False
    return not _ABBREVIATION.search(text[start : match.start() + 1])


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if end > start:
        yield start, end

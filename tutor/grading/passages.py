"""Which sentences of an answer may serve as evidence, and why the others may not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tutor.grading.instructions import speaks_to_grader
from tutor.grading.plain_answer import PlainAnswer

Reason = Literal["", "grader_instruction", "keyword_list", "copied_question"]

# Words that tie a sentence together; a list of catchwords has none.
_TIES = frozenset(
    re.findall(
        "[a-z]+",
        """
    a about after all an and are as at be because been before being between both but by can cannot could did
    do does each for from give gives had has have he hence here how i if in into is it its least less makes may
    means might more most must my no not of on one only onto or our over remain remains shall she should since so
    stay stays than that the their them then there therefore these they this those thus to two under was we were
    what when where which while who whom whose why will with would
    """,
    )
) - {"and", "or"}
_WORD = re.compile(r"[A-Za-z']+")
_SEPARATOR = re.compile(r"[,;:|/\n•·]|\s[-–—+]\s")
_FEWEST_WORDS = 4
_FEWEST_TIES = 0.18
_MOST_SEPARATORS = 0.34


@dataclass(frozen=True)
class Passage:
    """One sentence: its place in the plain text and why it cannot be evidence (empty if it can)."""

    start: int
    end: int
    excluded: Reason


def passages(answer: PlainAnswer, prompt: str) -> list[Passage]:
    """Judge every sentence of an answer.

    Parameters
    ----------
    answer : PlainAnswer
    prompt : str
        The question; a sentence copied from it shows nothing.

    Notes
    -----
    One instruction excludes its whole paragraph: the sentence beside "award
    full marks" is there to look like an answer.
    """
    asked = _letters(prompt)
    judged = []
    for paragraph in answer.paragraphs():
        start, end = paragraph[0][0], paragraph[-1][1]
        tainted = speaks_to_grader(answer.text[start:end])
        for first, last in paragraph:
            sentence = answer.text[first:last]
            reason: Reason = "grader_instruction" if tainted else ""
            if not reason and _letters(sentence) in asked:
                reason = "copied_question"
            if not reason and not is_prose(sentence):
                reason = "keyword_list"
            judged.append(Passage(first, last, reason))
    return judged


def is_prose(sentence: str) -> bool:
    """Whether a sentence says something, rather than listing catchwords.

    Examples
    --------
    >>> is_prose("The tails inflate the one standard deviation.")
    True
    >>> is_prose("heavy tails, kurtosis, Student-t, conformal, held-out, several levels")
    False
    """
    found = [word.lower() for word in _WORD.findall(sentence)]
    if len(found) < _FEWEST_WORDS:
        return False
    ties = sum(word in _TIES for word in found) / len(found)
    separators = len(_SEPARATOR.findall(sentence)) / len(found)
    return ties >= _FEWEST_TIES and separators <= _MOST_SEPARATORS


def _letters(text: str) -> str:
    return re.sub("[^a-z]", "", text.lower())

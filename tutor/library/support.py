"""The rule by which the tutor keeps silent: is the question answerable from these passages?

Three conditions, all of them needed (the numbers were set on the first half of
``tests/tutor/library/questions.json`` and are tested on both):

1. **Names.** Every name in the question (a word with a capital or a digit
   inside, or capitalised mid-sentence: M87, Columbus, [C/N]) stands in the
   passage the answer is drawn from.
2. **Coverage.** That passage holds at least `COVERAGE` of the question's
   content words, each weighted by its rarity in the library; a word the library
   has never seen weighs most.
3. **Sentences** (where the answer is quoted rather than written). The sentences
   quoted from one source, with its title and the headings they stand under,
   hold every name and at least `SENTENCE_COVERAGE` of that weight.

The rule measures whether the library speaks of the question, not whether it
answers it: it tells astronomy from pizza, and a small library's subjects from
others. A library that covers all of astronomy speaks of nearly every
astronomical question, and there the rule alone keeps silent too seldom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tutor import language
from tutor.library.search import Hit

COVERAGE = 0.6
SENTENCE_COVERAGE = 0.6


@dataclass(frozen=True)
class Support:
    """How well something supports a question.

    Attributes
    ----------
    coverage : float
        Share of the question's weight that is found, 0 to 1.
    missing : tuple of str
        Content words (stems) not found.
    missing_names : tuple of str
        Names not found.
    """

    coverage: float
    missing: tuple[str, ...]
    missing_names: tuple[str, ...]

    def sufficient(self, threshold: float) -> bool:
        """Whether nothing named is missing and the coverage reaches `threshold`."""
        return not self.missing_names and self.coverage >= threshold


def support(question: str, texts: Iterable[str], weight: Callable[[str], float]) -> Support:
    """Measure how much of `question` the `texts` hold together.

    Parameters
    ----------
    question : str
    texts : iterable of str
        Taken as one text.
    weight : callable
        Rarity of a term in the library.

    Examples
    --------
    >>> support("What is the mass of M87?", ["The mass of the Milky Way"], lambda term: 1.0)
    Support(coverage=0.5, missing=('m87',), missing_names=('m87',))
    """
    asked = language.question_terms(question)
    held = {term for text in texts for term in language.terms(text)}
    total = sum(weight(term) for term in asked)
    missing = tuple(term for term in asked if term not in held)
    found = sum(weight(term) for term in asked if term in held)
    return Support(
        coverage=found / total if total > 0 else 0.0,
        missing=missing,
        missing_names=tuple(name for name in language.names(question) if name not in held),
    )


def supporting(
    question: str, hits: Sequence[Hit], weight: Callable[[str], float]
) -> tuple[list[Hit], Support]:
    """Keep the passages fit to answer from, and the support of the best.

    Returns
    -------
    fit : list of Hit
        Those that fulfil conditions 1 and 2, in their order.
    best : Support
        Of the best passage, fit or not; nothing at all if there was no hit.
    """
    judged = [(hit, support(question, [hit.chunk.searchable], weight)) for hit in hits]
    fit = [hit for hit, found in judged if found.sufficient(COVERAGE)]
    best = max(
        (found for _, found in judged),
        key=lambda found: (not found.missing_names, found.coverage),
        default=support(question, [], weight),
    )
    return fit, best

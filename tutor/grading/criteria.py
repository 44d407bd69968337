"""Drafts for the rubric's criteria, by rule: deterministic, offline, and never more than a draft.

`RubricGrader` looks for the points a criterion's answer has to make, in
sentences that may serve as evidence, and proposes the level that their share
reaches. It does not understand the answer. That is why its distribution over
points is wide, every draft is flagged ``uncalibrated`` and a human decides.
A grader that asks a language model is another `CriterionGrader`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from course.schema import Criterion, CriterionResult, Evidence, PointsDistribution
from course.submission import Cell
from tutor.grading.instructions import speaks_to_grader
from tutor.grading.passages import Passage, passages
from tutor.grading.plain_answer import PlainAnswer, read_plainly

# Each level away from the proposed one is taken to be half as likely: a convention,
# until human grades of the same question say better.
_STEP = 0.5
_LONGEST_QUOTE = 400


class CriterionGrader(Protocol):
    """Whatever proposes points for one criterion of one answer."""

    @property
    def version(self) -> str:
        """Changes whenever the same answer could get another draft."""
        ...

    def grade(self, criterion: Criterion, prompt: str, answer: Cell | None) -> CriterionResult:
        """Draft one criterion.

        Parameters
        ----------
        criterion : Criterion
        prompt : str
            The question as the student read it.
        answer : Cell or None
            The cell with the written answer; None if there is none.
        """
        ...


@dataclass(frozen=True)
class _Found:
    evidence: Evidence
    description: str


class RubricGrader:
    """Drafts by the rubric's own patterns."""

    version = "rubric-patterns-1"

    def grade(self, criterion: Criterion, prompt: str, answer: Cell | None) -> CriterionResult:
        """See `CriterionGrader.grade`."""
        if criterion.human_only:
            return self._result(criterion, None, (), ["human_only"], "This part is graded by a human alone.")
        if answer is None:
            return self._result(criterion, 0, (), ["no_answer"], "There is no answer to this question.")
        plain = read_plainly(answer.source)
        judged = passages(plain, prompt)
        usable = [passage for passage in judged if not passage.excluded]
        flags = _flags(plain, judged)
        if not plain.text:
            return self._result(
                criterion, 0, (), [*flags, "no_answer"], "There is no answer to this question."
            )
        lists = [passage for passage in judged if passage.excluded == "keyword_list"]
        found = []
        for point in criterion.must_mention:
            hit = _first(point.any_of, point.description, plain, usable, answer.index)
            if hit:
                found.append(hit)
            elif _first(point.any_of, "", plain, lists, answer.index):
                flags.append("keyword_list")  # catchwords that would have counted in a sentence
        wrong = [
            item
            for item in criterion.misconceptions
            if _first(item.any_of, item.id, plain, usable, answer.index)
        ]
        level = _level(criterion, len(found), len(wrong))
        flags += [f"misconception:{item.id}" for item in wrong]
        told = _told(criterion, found, [item.feedback for item in wrong], level)
        evidence = tuple(dict.fromkeys(hit.evidence for hit in found)) if level else ()
        return self._result(criterion, level, evidence, flags, told)

    def _result(
        self,
        criterion: Criterion,
        level: int | None,
        evidence: tuple[Evidence, ...],
        flags: list[str],
        feedback: str,
    ) -> CriterionResult:
        points = tuple(step.points for step in criterion.levels)
        nothing = "no_answer" in flags
        return CriterionResult(
            criterion=criterion.id,
            question=criterion.question,
            points=points[level or 0],
            max_points=criterion.max_points,
            evidence=evidence,
            distribution=PointsDistribution(
                points=points, probability=_belief(len(points), level, certain=nothing)
            ),
            source="heuristic",
            flags=(*dict.fromkeys(flags), "uncalibrated"),
            feedback=feedback,
            versions={"grader": self.version},
        )


def _belief(size: int, level: int | None, *, certain: bool) -> tuple[float, ...]:
    if level is None:
        return (1.0 / size,) * size
    if certain:
        return tuple(float(step == level) for step in range(size))
    weights = [_STEP ** abs(step - level) for step in range(size)]
    return tuple(weight / sum(weights) for weight in weights)


def _level(criterion: Criterion, found: int, wrong: int) -> int:
    highest = len(criterion.levels) - 1
    if not criterion.must_mention:
        return 0
    reached = highest * found // len(criterion.must_mention)
    return max(0, reached - wrong)


def _first(
    patterns: tuple[str, ...], description: str, plain: PlainAnswer, usable: list[Passage], cell: int
) -> _Found | None:
    for passage in usable:
        sentence = plain.text[passage.start : passage.end]
        for pattern in patterns:
            match = re.search(pattern, sentence, re.IGNORECASE)
            if match and match.end() > match.start():
                evidence = _evidence(plain, passage, match, cell)
                if evidence is not None:
                    return _Found(evidence, description)
    return None


def _evidence(plain: PlainAnswer, passage: Passage, match: re.Match[str], cell: int) -> Evidence | None:
    whole = plain.span(passage.start, passage.end)
    phrase = plain.span(passage.start + match.start(), passage.start + match.end())
    for start, end in (whole, phrase):
        fits = end - start <= _LONGEST_QUOTE and not plain.hides_something(start, end)
        if fits and not speaks_to_grader(plain.source[start:end]):
            return Evidence(cell=cell, start=start, end=end, quote=plain.source[start:end])
    return None


def _flags(plain: PlainAnswer, judged: list[Passage]) -> list[str]:
    flags = []
    for kind in dict.fromkeys(item.kind for item in plain.hidden):
        texts = dict.fromkeys(item.text for item in plain.hidden if item.kind == kind)
        flags.append(f"hidden_text:{kind} taken out: {shortened(' | '.join(texts))}")
    spoken = [item.text for item in plain.hidden if speaks_to_grader(item.text)]
    tainted = [plain.text[p.start : p.end] for p in judged if p.excluded == "grader_instruction"]
    if tainted or spoken:
        flags.append(f"grader_instruction:{shortened(' '.join([*tainted, *spoken]))}")
    if any(passage.excluded == "copied_question" for passage in judged):
        flags.append("copied_question")
    if plain.cut:
        flags.append("answer_cut:it is longer than is read")
    return flags


def _told(criterion: Criterion, found: list[_Found], misconceptions: list[str], level: int) -> str:
    # Only what the student did say is named: what is missing would give the answer away.
    count = f"{len(found)} of {len(criterion.must_mention)} expected points found"
    named = f": {'; '.join(hit.description for hit in found)}" if found and level else ""
    return " ".join([f"{count}{named}.", *misconceptions])


def shortened(text: str, length: int = 160) -> str:
    """`text` on one line, at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"

"""The one place where the shape of a card, a rubric and a result is written down.

Everything that is stored or exchanged about an assignment is one of these
models: `Card` (what a student may have), `Rubric` (what an instructor keeps)
and `Result` (what grading a submission gives, test by test and criterion by
criterion, each with its evidence and a distribution over points). A change of
meaning raises `SCHEMA_VERSION`; files of another version are refused.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SCHEMA_VERSION = 1

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Points = Annotated[float, Field(ge=0)]


class _Model(BaseModel):
    # A misspelt field in a rubric must not be dropped in silence.
    model_config = ConfigDict(extra="forbid", frozen=True)


class FunctionTask(_Model):
    """A function the student writes: arrays in, arrays out."""

    name: Identifier
    signature: str
    returns: str


class WrittenTask(_Model):
    """A question answered in words, in the markdown cell marked with its id."""

    id: Identifier
    prompt: str
    points: Points


class Limits(_Model):
    """What one call of the student's code may use."""

    seconds: float = Field(default=30.0, gt=0)
    memory_mb: int = Field(default=2048, ge=64)
    processes: int = Field(default=32, ge=1)
    output_mb: int = Field(default=64, ge=1)


class Card(_Model):
    """``card.toml``: what an assignment is, for everyone."""

    schema_version: Literal[1]
    number: Annotated[str, Field(pattern=r"^\d{2}$")]
    slug: Identifier
    title: str
    chapter: int
    summary: str
    datasets: tuple[str, ...] = ()
    functions: tuple[FunctionTask, ...]
    written: tuple[WrittenTask, ...] = ()
    public_points: Points
    hidden_points: Points
    ai_use_points: Points = 0.0
    limits: Limits = Limits()

    @property
    def max_points(self) -> float:
        """Points of the whole assignment."""
        written = sum(task.points for task in self.written)
        return self.public_points + self.hidden_points + written + self.ai_use_points


class Level(_Model):
    """One step of a criterion: what an answer at this step does, and its points."""

    points: Points
    description: str


class MustMention(_Model):
    """A point the answer has to make; any one of the phrases shows it.

    Phrases are regular expressions, searched without regard to case in the
    answer with its white space collapsed to single blanks.
    """

    id: Identifier
    description: str
    any_of: tuple[str, ...] = Field(min_length=1)


class Misconception(_Model):
    """A wrong idea worth naming, how it shows (as in `MustMention`), and what to tell the student."""

    id: Identifier
    any_of: tuple[str, ...] = Field(min_length=1)
    feedback: str


class Criterion(_Model):
    """One thing a written answer is judged on, independent of the others."""

    id: Identifier
    question: Identifier
    title: str
    levels: tuple[Level, ...] = Field(min_length=2)
    must_mention: tuple[MustMention, ...] = ()
    misconceptions: tuple[Misconception, ...] = ()
    reference_answers: tuple[str, ...] = ()
    human_only: bool = False

    @field_validator("levels")
    @classmethod
    def _levels_rise_from_zero(cls, levels: tuple[Level, ...]) -> tuple[Level, ...]:
        points = [level.points for level in levels]
        if points[0] != 0 or any(low >= high for low, high in pairwise(points)):
            raise ValueError(f"levels must start at 0 points and rise; they are {points}")
        return levels

    @property
    def max_points(self) -> float:
        """Points of the highest level."""
        return self.levels[-1].points


class Rubric(_Model):
    """``rubric.yaml``: how the written answers are judged; never leaves the instructor's folder."""

    schema_version: Literal[1]
    assignment: Annotated[str, Field(pattern=r"^\d{2}$")]
    version: str
    criteria: tuple[Criterion, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Rubric:
        ids = [criterion.id for criterion in self.criteria]
        if len(set(ids)) != len(ids):
            raise ValueError(f"criterion ids must be unique; they are {ids}")
        return self


class AiUseEntry(_Model):
    """One use of a language model as the student documents it; graded on completeness, never on amount."""

    tool: str
    version: str
    date: str
    purpose: str
    prompts: tuple[str, ...]
    what_accepted: str
    what_rejected: str
    how_verified: str
    effect_on_answer: str
    confidence: Annotated[float, Field(ge=0, le=1)]


class Evidence(_Model):
    """A verbatim span of the submission: ``cells[cell].source[start:end] == quote``."""

    cell: int = Field(ge=0)
    start: int = Field(ge=0)
    end: int = Field(gt=0)
    quote: str

    @model_validator(mode="after")
    def _span_fits_quote(self) -> Evidence:
        if self.end - self.start != len(self.quote):
            raise ValueError(
                f"span {self.start}:{self.end} does not have the quote's length {len(self.quote)}"
            )
        return self


class PointsDistribution(_Model):
    """The grader's belief over the points of one criterion."""

    points: tuple[float, ...]
    probability: tuple[float, ...]

    @model_validator(mode="after")
    def _is_a_distribution(self) -> PointsDistribution:
        if len(self.points) != len(self.probability) or not self.points:
            raise ValueError("points and probability must have the same, non-zero length")
        if min(self.probability) < 0 or abs(sum(self.probability) - 1) > 1e-9:
            raise ValueError(f"probabilities must be non-negative and sum to 1; they are {self.probability}")
        return self

    def interval(self, level: float = 0.68) -> tuple[float, float]:
        """Central interval of the points that holds at least `level` of the probability."""
        tail = (1 - level) / 2
        cumulative, low, high = 0.0, self.points[-1], self.points[-1]
        found_low = False
        for points, probability in sorted(zip(self.points, self.probability)):
            cumulative += probability
            if not found_low and cumulative > tail:
                low, found_low = points, True
            if cumulative >= 1 - tail - 1e-12:
                high = points
                break
        return low, high


TestStatus = Literal["passed", "failed", "error", "timeout", "memory", "crashed", "not_executed"]
Source = Literal["test", "heuristic", "model", "human"]


class TestResult(_Model):
    """One test of the student's code."""

    __test__ = False  # not a test of ours

    name: str
    title: str
    visibility: Literal["public", "hidden"]
    status: TestStatus
    points: Points
    max_points: Points
    message: str = ""
    seconds: float = Field(default=0.0, ge=0)


class CriterionResult(_Model):
    """One rubric criterion judged on one submission; a draft until a human approves it."""

    criterion: Identifier
    question: Identifier
    points: Points
    max_points: Points
    evidence: tuple[Evidence, ...] = ()
    distribution: PointsDistribution
    source: Source
    status: Literal["draft", "approved"] = "draft"
    needs_human: bool = True
    flags: tuple[str, ...] = ()
    feedback: str = ""
    versions: dict[str, str] = {}

    @model_validator(mode="after")
    def _points_need_evidence(self) -> CriterionResult:
        if self.points > self.max_points:
            raise ValueError(f"points {self.points} exceed the criterion's {self.max_points}")
        if self.points > 0 and self.source != "human" and not self.evidence:
            raise ValueError("points without evidence are only a human's to give")
        return self


class Result(_Model):
    """Everything grading one submission gave."""

    schema_version: Literal[1] = 1
    assignment: str
    student: str
    submission_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    executed: bool
    tests: tuple[TestResult, ...]
    criteria: tuple[CriterionResult, ...]
    flags: tuple[str, ...] = ()
    versions: dict[str, str] = {}

    @property
    def test_points(self) -> float:
        """Points earned by tests; final as soon as they have run."""
        return sum(test.points for test in self.tests)

    @property
    def draft_points(self) -> float:
        """Points proposed for the written answers; a human decides."""
        return sum(criterion.points for criterion in self.criteria)

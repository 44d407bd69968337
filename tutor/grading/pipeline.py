"""Grade a class: tests in the sandbox, drafts for the written answers, files an instructor can use.

Every result is stored as soon as it is there, under a key that covers all it
depends on. A run that was stopped, by Ctrl-C or by losing its power, continues
with the first student who has no result; a run over an unchanged class
computes nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from course.ai_use import read_ai_use
from course.schema import AiUseEntry, Card, Result
from course.submission import SubmissionText, read_submission
from statml.errors import InputError, StatmlError
from tutor.grading.audit import Audit
from tutor.grading.collect import HandedIn, collect
from tutor.grading.criteria import CriterionGrader, RubricGrader, shortened
from tutor.grading.execution import execute, not_readable
from tutor.grading.feedback import feedback_page
from tutor.grading.material import Material, load_material, program_versions, result_key
from tutor.grading.outputs import FEEDBACK, feedback_path, write_results, write_whole
from tutor.grading.pseudonym import course_key, pseudonym
from tutor.grading.static_flags import static_flags
from tutor.records import Records
from tutor.sandbox import Sandbox

RECORDS_FILE = "records.sqlite"
_LOCK_FILE = ".lock"

Progress = Callable[[int, int, str], None]


@dataclass
class ClassReport:
    """What a run gave.

    Attributes
    ----------
    card : Card
    out : Path
        Where the files are.
    executed : bool
        Whether tests were run.
    results : dict
        Student's name to `course.schema.Result`.
    computed, reused : int
        Results computed in this run, and found from earlier ones.
    """

    card: Card
    out: Path
    executed: bool
    results: dict[str, Result] = field(default_factory=dict)
    computed: int = 0
    reused: int = 0

    @property
    def unreadable(self) -> list[str]:
        """Students whose submission could not be read."""
        return [
            student
            for student, result in self.results.items()
            if any(flag.startswith("unreadable:") for flag in result.flags)
        ]


def grade_class(
    submissions: str | Path,
    assignment: str,
    out: str | Path,
    *,
    sandbox: Sandbox | None,
    secret: bytes | None = None,
    grader: CriterionGrader | None = None,
    progress: Progress | None = None,
) -> ClassReport:
    """Grade a class into a folder.

    Parameters
    ----------
    submissions : path-like
        Holds ``<student>/<file>`` or ``<student>.ipynb`` (also ``.py``).
    assignment : str
        Its number, ``"05"``.
    out : path-like
        Gets ``gradebook.csv``, ``results.json``, ``feedback/<student>.html``,
        ``audit.jsonl``, ``records.sqlite`` and ``pseudonym.key``.
    sandbox : Sandbox or None
        From `tutor.sandbox.detect`; None marks every test as not executed.
    secret : bytes, optional
        Key of the pseudonyms; without it one is made in `out`.
    grader : CriterionGrader, optional
        Drafts the criteria; `RubricGrader` if not given.
    progress : callable, optional
        Called with (finished, total, student) before each student and at the end.

    Returns
    -------
    ClassReport

    Raises
    ------
    DataNotFoundError
        No such folder, or no instructor's material.
    InputError
        Nothing to grade, an unknown assignment, or an unusable `out`.
    ServiceError
        The sandbox stopped working, or the records are from a newer version.
    """
    material = load_material(assignment)
    folder, out = Path(submissions), Path(out)
    class_list = collect(folder)
    with _opened(out, folder):
        key = secret if secret is not None else course_key(out)
        with Records(out / RECORDS_FILE) as records:
            run = _Run(material, out, sandbox, key, grader or RubricGrader(), records)
            return run.grade(class_list, progress or (lambda *_: None))


class _Run:
    """One run over a class."""

    def __init__(
        self,
        material: Material,
        out: Path,
        sandbox: Sandbox | None,
        key: bytes,
        grader: CriterionGrader,
        records: Records,
    ) -> None:
        self.material, self.out, self.sandbox = material, out, sandbox
        self.key, self.grader, self.records = key, grader, records
        self.versions = material.versions(grader.version)
        self.report = ClassReport(material.card, out, sandbox is not None)
        self.number = records.start_run("grade", material.card.number, self.versions | program_versions())
        self.audit = Audit(out, records, self.number)

    def grade(self, class_list: list[HandedIn], progress: Progress) -> ClassReport:
        sandbox = self.sandbox.name if self.sandbox else None
        self.audit.log(
            "run_started",
            assignment=self.material.card.number,
            students=len(class_list),
            sandbox=sandbox,
            versions=self.versions | program_versions(),
        )
        try:
            for position, handed_in in enumerate(class_list):
                progress(position, len(class_list), handed_in.student)
                self._student(handed_in)
        except BaseException as error:
            self.audit.log("run_stopped", reason=type(error).__name__, finished=len(self.report.results))
            # what is finished is of use even if the rest has to wait
            self._write()
            raise
        self._write()
        self.records.finish_run(self.number)
        self.audit.log("run_finished", computed=self.report.computed, reused=self.report.reused)
        progress(len(class_list), len(class_list), "")
        return self.report

    def _student(self, handed_in: HandedIn) -> None:
        text, sha256, problem = _read(handed_in)
        name = pseudonym(self.key, handed_in.student)
        executed = self.sandbox is not None and text is not None
        key = result_key(name, sha256, executed, self.versions | {"problem": problem})
        if self.records.has_result(key):
            result = self.records.use_result(self.number, key)
            self.report.reused += 1
            self.audit.log("result_reused", student=name, key=key)
        else:
            result, ai_use = self._new_result(name, text, sha256, problem)
            self.records.save_result(self.number, key, result, ai_use)
            self.report.computed += 1
            self.audit.log("result_stored", student=name, key=key, **_decision(result))
        self.report.results[handed_in.student] = result
        page = feedback_page(handed_in.student, result, self.material.card, self.material.rubric, text)
        write_whole(feedback_path(self.out, handed_in.student, name), page)

    def _new_result(
        self, name: str, text: SubmissionText | None, sha256: str, problem: str
    ) -> tuple[Result, tuple[AiUseEntry, ...]]:
        if text is None:
            return self._unreadable(name, sha256, problem), ()
        try:
            return self._graded(name, text), read_ai_use(text).entries
        except StatmlError:
            raise
        except Exception as error:
            # One hostile or odd file must not cost the class its run; the audit log keeps what happened.
            self.audit.log("grading_failed", student=name, traceback=traceback.format_exc())
            return self._unreadable(name, sha256, f"grading it failed with {type(error).__name__}"), ()

    def _graded(self, name: str, text: SubmissionText) -> Result:
        flags = static_flags(text, self.material.card)
        execution = execute(text, self.material, self.sandbox)
        prompts, answers = self.material.prompts, text.answers
        return Result(
            assignment=self.material.card.number,
            student=name,
            submission_sha256=text.sha256,
            executed=self.sandbox is not None,
            tests=execution.tests,
            criteria=tuple(
                self.grader.grade(
                    criterion, prompts.get(criterion.question, ""), answers.get(criterion.question)
                )
                for criterion in self.material.rubric.criteria
            ),
            flags=tuple(dict.fromkeys([*flags, *execution.flags])),
            versions=self.versions,
        )

    def _unreadable(self, name: str, sha256: str, problem: str) -> Result:
        return Result(
            assignment=self.material.card.number,
            student=name,
            submission_sha256=sha256,
            executed=False,
            tests=not_readable(self.material, problem),
            criteria=tuple(self.grader.grade(item, "", None) for item in self.material.rubric.criteria),
            flags=(f"unreadable:{shortened(problem)}",),
            versions=self.versions,
        )

    def _write(self) -> None:
        write_results(self.out, self.report.results, self.material.card)


def _read(handed_in: HandedIn) -> tuple[SubmissionText | None, str, str]:
    if handed_in.path is None:
        return None, hashlib.sha256(b"").hexdigest(), handed_in.problem
    try:
        text = read_submission(handed_in.path)
        for cell in text.cells:
            cell.source.encode("utf-8")  # half a surrogate pair can be neither stored nor shown
        return text, text.sha256, ""
    except (StatmlError, OSError, ValueError, RecursionError) as error:
        problem = "it holds what are no characters" if isinstance(error, UnicodeError) else str(error)
        return None, _digest(handed_in.path), problem


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return hashlib.sha256(b"").hexdigest()


def _decision(result: Result) -> dict[str, object]:
    return {
        "submission_sha256": result.submission_sha256,
        "executed": result.executed,
        "tests": {test.name: test.status for test in result.tests},
        "test_points": result.test_points,
        "drafts": {item.criterion: item.points for item in result.criteria},
        "flags": [flag.partition(":")[0] for flag in result.flags],
    }


@contextmanager
def _opened(out: Path, submissions: Path) -> Iterator[None]:
    """Make the folder of results and keep other runs out of it."""
    if out.resolve() == submissions.resolve() or submissions.resolve() in out.resolve().parents:
        raise InputError(
            f"--out is {out}, which lies in the folder of submissions; choose a folder outside it"
        )
    try:
        (out / FEEDBACK).mkdir(parents=True, exist_ok=True)
        lock = open(out / _LOCK_FILE, "w")  # noqa: SIM115 (held for the whole run)
    except OSError as error:
        raise InputError(
            f"--out is {out}, where nothing can be written: {os.strerror(error.errno or 0)}"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"--out is {out}, where another run is writing; wait for it") from error
        yield

"""What can be said of a submission without running it: facts for a human, never a penalty."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from course.ai_use import read_ai_use
from course.schema import Card
from course.submission import SubmissionText
from course.syntax import parse
from tutor.grading.criteria import shortened
from tutor.grading.instructions import speaks_to_grader

_SYSTEM = {
    "ctypes",
    "os",
    "socket",
    "subprocess",
    "multiprocessing",
    "threading",
    "signal",
    "shutil",
    "requests",
}
_OURS = {"statml", "course", "tutor", "instructor"}
_RUNS_TEXT = {"eval", "exec", "compile", "__import__"}


def static_flags(text: SubmissionText, card: Card) -> list[str]:
    """Flags of a submission: ``name`` or ``name:what was seen``."""
    flags: list[str] = []
    try:
        tree: ast.Module | None = parse(text.code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        tree = None
        flags.append(f"syntax_error:{shortened(str(error))}")
    if tree is not None:
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        flags += [f"missing_function:{task.name}" for task in card.functions if task.name not in defined]
        flags += [f"imports:{name}" for name in sorted(set(_imports(tree)) & (_SYSTEM | _OURS))]
        flags += [f"calls:{name}" for name in sorted(set(_calls(tree)) & _RUNS_TEXT)]
    flags += [f"missing_answer:{task.id}" for task in card.written if task.id not in text.answers]
    if card.ai_use_points:
        flags += [f"ai_use:{sentence}" for sentence in read_ai_use(text).missing]
    answers = {cell.index for cell in text.answers.values()}
    for cell in text.cells:
        # the answers are read, with more care, by the graders of the criteria
        questions = cell.kind == "markdown" and cell.index not in answers and _own_text(cell.source, card)
        if (cell.kind == "code" or questions) and speaks_to_grader(cell.source[:20_000]):
            flags.append(f"grader_instruction:cell {cell.index}: {shortened(cell.source)}")
    ai_cell = text.answers.get("ai_use")
    if ai_cell is not None and speaks_to_grader(ai_cell.source[:20_000]):
        flags.append(f"grader_instruction:cell {ai_cell.index} (AI use)")
    return flags


def _own_text(source: str, card: Card) -> bool:
    # The assignment's own cells speak of points and grading; only the student's are of interest.
    from course import assignment

    starter = assignment.load(card.number).text
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    return not all(line in starter for line in lines)


def _imports(tree: ast.Module) -> Iterator[str]:
    # `if __name__ == "__main__":` does not run when graded, and may use what it likes
    graded = [node for node in tree.body if not _is_main_guard(node)]
    for node in (inner for outer in graded for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def _is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def _calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id

"""Grade a class: tests in a sandbox, drafts with verbatim evidence, a person who decides.

The way of a submission: `collect` -> `pseudonym` -> `static_flags` ->
`execution` -> `criteria` -> `records` -> `outputs` and `feedback`;
`pipeline.grade_class` walks it.
"""

from __future__ import annotations

from tutor.grading.pipeline import ClassReport, grade_class

__all__ = ["ClassReport", "grade_class"]

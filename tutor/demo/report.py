"""Write the demonstration down: one self-contained page and the grade book."""

from __future__ import annotations

import base64
import io
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import statml
from tutor.demo.questions import Asked
from tutor.demo.stars import StarsReport, calibration_figure, prediction_figure
from tutor.grading.outputs import GRADEBOOK, write_whole
from tutor.grading.pipeline import ClassReport

REPORT = "report.html"


@dataclass(frozen=True)
class Demonstration:
    """All that was computed; `no_sandbox` says why code was not executed, if it was not."""

    stars: StarsReport
    asked: list[Asked]
    graded: ClassReport
    no_sandbox: str | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {
            "data": "Gaia DR3 XP spectra with APOGEE labels (real)",
            "models": self.stars.rows,
            "sigma_68": self.stars.sigma(0.68),
            "questions": [
                {
                    "question": asked.answer.question,
                    "abstained": asked.answer.abstained,
                    "sources": [claim.source_id for claim in asked.answer.claims],
                }
                for asked in self.asked
            ],
            "executed": self.graded.executed,
            "no_sandbox": self.no_sandbox,
            "class": {
                student: {"tests": result.test_points, "draft": result.draft_points}
                for student, result in self.graded.results.items()
            },
            "seconds": self.seconds,
        }


def write_report(demonstration: Demonstration, out: Path) -> Path:
    """Write ``report.html`` and ``gradebook.csv`` into `out`; returns the page's path."""
    from jinja2 import Environment, StrictUndefined

    # Everything on the page that a student or a source wrote is escaped.
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(
        resources.files("tutor.demo").joinpath("report.html").read_text("utf-8")
    )
    stars = demonstration.stars
    page = template.render(
        demonstration=demonstration,
        stars=stars,
        sigma_68=stars.sigma(0.68),
        sigma_95=stars.sigma(0.95),
        prediction=_picture(prediction_figure(stars)),
        calibration=_picture(calibration_figure(stars)),
        tests_max=demonstration.graded.card.public_points + demonstration.graded.card.hidden_points,
        feedback=_feedback_links(demonstration.graded, out),
        version=statml.__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    shutil.copyfile(demonstration.graded.out / GRADEBOOK, out / GRADEBOOK)
    write_whole(out / REPORT, page)
    return out / REPORT


def _picture(figure: Figure) -> str:
    """A PNG as a data URI, so that the page is one file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _feedback_links(graded: ClassReport, out: Path) -> dict[str, str]:
    pages = {page.stem: page for page in (graded.out / "feedback").glob("*.html")}
    return {
        student: pages[student].relative_to(out).as_posix() for student in graded.results if student in pages
    }

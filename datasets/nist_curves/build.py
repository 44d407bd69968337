"""Make points.csv and certified.toml from NIST's 27 files of nonlinear least squares.

NIST's files (public domain) travel in the source distribution of the PyPI package
lmfit, folder NIST_STRD:

    pip download --no-deps --no-binary :all: lmfit==1.3.4 && tar xzf lmfit-1.3.4.tar.gz
    python datasets/nist_curves/build.py lmfit-1.3.4/NIST_STRD
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][-+]?\d+)?"


def plain(number: str) -> str:
    """A number as NIST prints it, in the shortest form that keeps its digits."""
    return repr(float(number))


def problem(text: str) -> tuple[dict[str, object], list[list[str]]]:
    """What NIST certifies, and the rows (y, x...) of one file."""
    parameters = re.findall(rf"^\s+b\d+\s*=\s*({NUMBER})\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})", text, re.M)
    start_1, start_2, estimate, error = (list(column) for column in zip(*parameters, strict=True))

    def certified(label: str) -> str:
        found = re.search(rf"{label}:?\s+({NUMBER})", text)
        assert found, label
        return found[1]

    level = re.search(r"(Lower|Average|Higher) Level of Difficulty", text)
    assert level
    answers: dict[str, object] = {
        "difficulty": level[1].lower(),
        "start_1": start_1,
        "start_2": start_2,
        "estimate": estimate,
        "standard_error": error,
        "rss": certified("Residual Sum of Squares"),
        "residual_sd": certified("Residual Standard Deviation"),
    }
    lines = text[text.rindex("Data:") :].splitlines()[1:]
    rows = [line.split() for line in lines if line.strip()]
    observations = re.search(r"(\d+)\s+Observations", text)
    assert observations and len(rows) == int(observations[1]), (len(rows), observations)
    # Counted, not read: Rat43 prints 9 for 15 points and 4 parameters, beside the residual sd of 11.
    answers["dof"] = len(rows) - len(parameters)
    return answers, rows


def toml(name: str, answers: dict[str, object]) -> str:
    """One table of certified.toml."""
    lines = [f"[{name}]"]
    for key, value in answers.items():
        if isinstance(value, list):
            lines.append(f"{key} = [{', '.join(plain(number) for number in value)}]")
        else:
            spelled = (
                f'"{value}"' if key == "difficulty" else (plain(value) if isinstance(value, str) else value)
            )
            lines.append(f"{key} = {spelled}")
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Read every file of the folder and write both outputs."""
    tables = [
        "# Certified values of the NIST Statistical Reference Datasets, nonlinear regression: see build.py\n"
    ]
    points = ["problem,y,x1,x2\n"]
    for path in sorted(folder.glob("*.dat")):
        name = path.stem.lower()
        answers, rows = problem(path.read_text(encoding="ascii"))
        tables.append(toml(name, answers))
        for row in rows:
            numbers = [plain(number) for number in row]
            points.append(",".join([name, *numbers, *[""] * (3 - len(numbers))]) + "\n")
    assert len(tables) == 28, len(tables)
    (HERE / "certified.toml").write_text("\n".join(tables), encoding="ascii")
    (HERE / "points.csv").write_text("".join(points), encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

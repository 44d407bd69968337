"""The computations the tutor may call: a fixed menu, arguments checked by a JSON Schema, run in the sandbox.

Nothing a model or a student writes is executed: the code below is ours, and
only numbers and names go in. It runs in the sandbox all the same, so that a
hostile argument meets a limit of time and memory. Looking up a data set reads
its card and runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from course.schema import Limits
from course.submission import Cell, SubmissionError, SubmissionText
from statml import datasets
from statml.errors import InputError, ServiceError
from tutor.chat.events import ToolCall
from tutor.providers.structured import shape_problem

LIMITS = Limits(seconds=30, memory_mb=2048, processes=32, output_mb=16)
#: Values shown of an array.
SHOWN = 12

_NUMBERS = {
    "type": "array",
    "items": {"type": "number", "minimum": -1e100, "maximum": 1e100},
    "minItems": 2,
    "maxItems": 2000,
}
_POSITIVE = {"type": "number", "exclusiveMinimum": 0, "maximum": 1e50}
_DEGREE = {"type": "integer", "minimum": 0, "maximum": 5}


def _object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


#: Name, what it does, and the JSON Schema of its arguments.
MENU: Mapping[str, tuple[str, dict[str, Any]]] = {
    "fit": (
        "least-squares polynomial through x, y with errors y_err",
        _object(("x", "y"), x=_NUMBERS, y=_NUMBERS, y_err={**_NUMBERS, "items": _POSITIVE}, degree=_DEGREE),
    ),
    "posterior": (
        "posterior of the polynomial's coefficients under a normal prior of standard deviation prior_std",
        _object(
            ("x", "y", "y_err", "prior_std"),
            x=_NUMBERS,
            y=_NUMBERS,
            y_err={**_NUMBERS, "items": _POSITIVE},
            prior_std=_POSITIVE,
            degree=_DEGREE,
        ),
    ),
    "convert": (
        "convert a value between units, e.g. 3 pc to lyr",
        _object(
            ("value", "unit", "to"),
            value={"type": "number"},
            unit={"type": "string", "maxLength": 60, "pattern": r"^[\w\s*/().^+-]+$"},
            to={"type": "string", "maxLength": 60, "pattern": r"^[\w\s*/().^+-]+$"},
        ),
    ),
    "dataset": (
        "what a bundled data set is: rows, columns with units, source, licence",
        _object(("name",), name={"type": "string", "maxLength": 60}),
    ),
}

_CODE = """
import numpy as np

def _design(x, degree):
    return np.vander(x, degree + 1, increasing=True)[:, 1:]

def fit(x, y, y_err, degree):
    from statml.regression import LinearRegression
    if degree == 0:
        w = 1 / y_err**2 if len(y_err) else np.ones(len(y))
        mean = np.sum(w * y) / np.sum(w)
        err = 1 / np.sqrt(np.sum(w)) if len(y_err) else np.std(y, ddof=1) / np.sqrt(len(y))
        return np.array([mean]), np.array([[err**2]])
    line = LinearRegression().fit(_design(x, degree), y, y_err=y_err if len(y_err) else None)
    return line.params_, line.params_cov_

def posterior(x, y, y_err, prior_std, degree):
    from statml.regression import BayesianLinearRegression
    line = BayesianLinearRegression(prior_cov=prior_std**2, scatter=0.0)
    line.fit(_design(x, degree), y, y_err=y_err)
    return line.params_, line.params_cov_, np.array(line.log_evidence_)

def convert(value, unit, to):
    from astropy import units as u
    return np.array((value * u.Unit(unit)).to(u.Unit(to), equivalencies=u.parallax()).value)
"""


class Tools:
    """Calls from the menu; one sandbox serves a conversation.

    Examples
    --------
    >>> Tools().call("dataset", {"name": "gaia_xp"}).result["licence"]
    'CC BY-SA 3.0 IGO'
    >>> Tools().call("dataset", {"path": "/etc/passwd"}).error
    "the arguments of dataset do not fit at $: 'name' is a required property"
    """

    def __init__(self) -> None:
        self._session: Any = None

    def call(self, name: str, arguments: Mapping[str, Any]) -> ToolCall:
        """Run one computation; what goes wrong stands in `ToolCall.error`, in one sentence."""
        given = dict(arguments)
        if name not in MENU:
            return ToolCall(
                name, given, error=f"there is no computation {name!r}; there are {', '.join(MENU)}"
            )
        problem = shape_problem(given, MENU[name][1])
        if problem:
            return ToolCall(name, given, error=f"the arguments of {name} do not fit {problem}")
        try:
            return ToolCall(name, given, result=getattr(self, f"_{name}")(**given))
        except (InputError, ServiceError) as error:
            return ToolCall(name, given, error=str(error))
        except SubmissionError as error:
            return ToolCall(name, given, error=" ".join(str(error).split())[:300])

    def close(self) -> None:
        """End the sandbox."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _fit(self, x: Any, y: Any, y_err: Any = (), degree: int = 1) -> dict[str, Any]:
        given = _arrays(x=x, y=y, y_err=y_err)
        params, cov = self._run("fit", *given, degree)
        return {
            "coefficients": _shown(params),
            "standard_errors": _shown(np.sqrt(np.diag(cov))),
            "covariance": [_shown(row) for row in cov],
            "degree": degree,
        }

    def _posterior(self, x: Any, y: Any, y_err: Any, prior_std: float, degree: int = 1) -> dict[str, Any]:
        if degree < 1:
            raise InputError(f"degree of a posterior must be 1 to 5, got {degree}")
        given = _arrays(x=x, y=y, y_err=y_err)
        mean, cov, evidence = self._run("posterior", *given, float(prior_std), degree)
        return {
            "mean": _shown(mean),
            "std": _shown(np.sqrt(np.diag(cov))),
            "covariance": [_shown(row) for row in cov],
            "log_evidence": float(f"{float(evidence):.6g}"),
            "degree": degree,
        }

    def _convert(self, value: float, unit: str, to: str) -> dict[str, Any]:
        # powers of powers are a way to hang a parser of units
        if unit.count("**") + unit.count("^") + to.count("**") + to.count("^") > 6:
            raise InputError("unit must be simpler, such as km/s")
        return {"value": float(self._run("convert", float(value), unit, to)), "unit": to}

    def _dataset(self, name: str) -> dict[str, Any]:
        card = datasets.card(name)
        columns = [f"{c.name} [{c.unit}]" if c.unit else c.name for c in card.columns]
        return {"title": card.title, "rows": card.rows, "columns": columns, "licence": card.licence}

    def _run(self, function: str, *args: Any) -> Any:
        if self._session is None:
            from tutor.sandbox import SandboxedSubmission, detect

            text = SubmissionText(
                Path("tools"), hashlib.sha256(_CODE.encode()).hexdigest(), (Cell(0, "code", _CODE),)
            )
            self._session = SandboxedSubmission(text, detect(), LIMITS)
        return self._session.call(function, *args)


def parse(line: str) -> tuple[str, dict[str, Any]] | None:
    """Read ``/fit x=1,2,3 y=2,4,6.1 degree=1`` or ``/convert 3 pc lyr``; None if it is no such command.

    Raises
    ------
    InputError
        The command is one of the menu, but its arguments cannot be read.

    Examples
    --------
    >>> parse("/convert 3 pc lyr")
    ('convert', {'value': 3.0, 'unit': 'pc', 'to': 'lyr'})
    >>> parse("/fit x=1,2 y=2,4")
    ('fit', {'x': [1.0, 2.0], 'y': [2.0, 4.0]})
    """
    match = re.match(r"/(\w+)\s*(.*)$", line.strip(), re.DOTALL)
    if match is None or match.group(1) not in MENU:
        return None
    name, rest = match.groups()
    words = rest.split()
    if name == "dataset" and len(words) == 1 and "=" not in rest:
        return name, {"name": words[0]}
    if name == "convert" and len(words) in (3, 4) and "=" not in rest:
        return name, {"value": _number(words[0]), "unit": words[1], "to": words[-1]}
    arguments: dict[str, Any] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            raise InputError(f"/{name} takes {_usage(name)}; {word!r} has no '='")
        arguments[key] = _value(key, value)
    return name, arguments


def _usage(name: str) -> str:
    schema = MENU[name][1]["properties"]
    return " ".join(
        f"{key}={'1,2,3' if value.get('type') == 'array' else '...'}" for key, value in schema.items()
    )


def _value(key: str, value: str) -> Any:
    if key in ("x", "y", "y_err"):
        return [_number(part) for part in value.split(",") if part]
    if key == "degree":
        number = _number(value)
        return int(number) if number == int(number) else number
    return _number(value) if key in ("value", "prior_std") else value


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise InputError(f"a number must be finite, such as 1.5, got {text[:40]!r}")
    return number


def _arrays(**given: Any) -> list[np.ndarray]:
    arrays = {name: np.asarray(value, dtype=float) for name, value in given.items()}
    length = len(arrays["x"])
    for name, array in arrays.items():
        if len(array) not in ((0, length) if name == "y_err" else (length,)):
            raise InputError(f"{name} must have as many values as x ({length}), got {len(array)}")
    return list(arrays.values())


def _shown(values: Any) -> list[float]:
    return [float(f"{value:.6g}") for value in np.atleast_1d(values)[:SHOWN]]


def described() -> str:
    """The menu as text for a model."""
    return "\n".join(f"{name}: {what}; arguments {json.dumps(form)}" for name, (what, form) in MENU.items())

"""Read a model's text as JSON of an asked shape, whatever it is wrapped in.

Small models wrap JSON in a code fence or a sentence, cut it off, or bend its
shape. `parse` takes the wrapping away and judges the rest by the schema; it
never mends content.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any

from statml.errors import MissingExtraError
from tutor.providers.base import Schema

#: Braces tried as the beginning of the JSON; a text of nothing but braces must not cost its square.
MOST_STARTS = 20


class ShapeError(ValueError):
    """The text is not JSON of the asked shape; the message says where it fails."""


def parse(text: str, schema: Schema) -> Any:
    """Return `text` read as JSON that fits `schema`.

    Raises
    ------
    ShapeError
        If there is no JSON in it, or it does not fit; the message names the place.

    Examples
    --------
    >>> parse('Sure: ```json\\n{"a": 1}\\n```', {"type": "object", "required": ["a"]})
    {'a': 1}
    """
    value = _first_json(text)
    problem = shape_problem(value, schema)
    if problem:
        raise ShapeError(problem)
    return value


def shape_problem(value: Any, schema: Schema) -> str:
    """Say where `value` fails `schema`; the empty text if it fits."""
    try:
        import jsonschema
    except ImportError as error:
        raise MissingExtraError("the tutor needs jsonschema: install statml[tutor]") from error
    first = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(value))
    if first is None:
        return ""
    return f"at {first.json_path}: {first.message[:200]}"


def _first_json(text: str) -> Any:
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    starts = [match.start() for match in islice(re.finditer(r"[{\[]", text), MOST_STARTS)]
    for start in starts:
        try:
            return decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            # a brace of prose ("{see below}") may stand before the JSON
            continue
    raise ShapeError("the JSON is cut off or malformed" if starts else "there is no JSON object in it")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")

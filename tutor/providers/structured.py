"""JSON of an asked shape: how a server is asked for it, and how a model's text is read as it.

A server is asked by `json_schema`, by `json_object` with the schema in words, or
in words alone (`asked`); a reply of another shape once more (`asked_again`).
Small models wrap JSON in a code fence or a sentence, cut it off, or bend its
shape. `parse` takes the wrapping away and judges the rest by the schema; it
never mends content. Of a reply that was cut off, `finished_part` takes the list
entries that were finished.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from statml.errors import MissingExtraError
from tutor.providers.base import Schema

#: Braces tried as the beginning of the JSON; a text of nothing but braces must not cost its square.
MOST_STARTS = 20
_HALF = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_CLOSING = {"{": "}", "[": "]"}
#: A string, the last one perhaps unfinished, or a bracket outside of strings.
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)


class ShapeError(ValueError):
    """The text is not JSON of the asked shape; the message says where it fails."""


class NoJsonError(ShapeError):
    """There is no JSON in the text at all: whoever wrote it was not held to any."""


def asked(kind: str, schema: Schema | None, turns: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The messages, and the format, of a request for JSON that fits `schema`.

    Parameters
    ----------
    kind : str
        ``json_schema``, ``json_object`` or ``text``; without a schema it does not matter.
    schema : mapping or None
    turns : sequence of mapping
        Messages as they are sent.
    """
    if schema is None:
        return {"messages": list(turns)}
    if kind == "json_schema":
        name = re.sub(r"\W+", "_", str(schema.get("title", "reply")))[:60]
        form = {"name": name, "schema": dict(schema), "strict": True}
        return {
            "messages": list(turns),
            "response_format": {"type": "json_schema", "json_schema": form},
        }
    wanted = {"role": "system", "content": f"Answer with JSON alone, {_in_words(schema)}"}
    body: dict[str, Any] = {"messages": [wanted, *turns]}
    if kind == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def asked_again(
    turns: Sequence[Mapping[str, str]], text: str, problem: str, schema: Schema
) -> list[Mapping[str, str]]:
    """The messages of the one try to have a reply repaired."""
    return [
        *turns,
        {"role": "assistant", "content": text or "(empty)"},
        {
            "role": "user",
            "content": f"That is not JSON of the asked shape: {problem}. Answer again with the JSON alone, "
            + _in_words(schema),
        },
    ]


def _in_words(schema: Schema) -> str:
    return f"fitting this JSON Schema: {json.dumps(schema, ensure_ascii=False, sort_keys=True)}"


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
    value = _first_json(whole_characters(text))
    problem = shape_problem(value, schema)
    if problem:
        raise ShapeError(problem)
    return value


def finished_part(text: str, schema: Schema) -> Any:
    """Read a text that was cut off, without the entry of a list that it breaks off in.

    Raises
    ------
    ShapeError
        No entry was finished, or what is left does not fit `schema`.

    Examples
    --------
    >>> finished_part('{"claims": [{"text": "A."}, {"text": "B', {"type": "object"})
    {'claims': [{'text': 'A.'}]}
    """
    whole, end = -1, ""
    still_open: list[str] = []
    start = max(text.find("{"), 0)
    for token in _TOKEN.finditer(text, start):
        letter = token.group()
        if letter in _CLOSING:
            still_open.append(_CLOSING[letter])
        elif letter in ("}", "]"):
            if not still_open or still_open.pop() != letter:
                break
            # an entry of the outermost list: one of a list within might belong to an unfinished entry
            if still_open[-1:] == ["]"] and still_open.index("]") == len(still_open) - 1:
                whole, end = token.end(), "".join(reversed(still_open))
    if whole < 0:
        raise ShapeError("it was cut off before anything in it was finished")
    return parse(text[start:whole] + end, schema)


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


def whole_characters(text: str) -> str:
    r"""JSON without escaped halves of surrogate pairs, which can be neither stored nor shown.

    Examples
    --------
    >>> print(whole_characters(r'"\ud800 \ud83d\ude00"'))
    "\ufffd \ud83d\ude00"
    """
    return _HALF.sub(r"\\ufffd", text) if "\\u" in text else text


def _first_json(text: str) -> Any:
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    starts = [match.start() for match in islice(re.finditer(r"[{\[]", text), MOST_STARTS)]
    for start in starts:
        try:
            return decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            # a brace of prose ("{see below}") may stand before the JSON
            continue
    if starts:
        raise ShapeError("the JSON is cut off or malformed")
    raise NoJsonError("there is no JSON object in it")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")

"""Frames on the pipe between grader and sandbox: a JSON header and the raw bytes of arrays.

::

    magic (4 bytes) | header length (u32) | body length (u64) | header | body

A value is described in the header (`{"a": [dtype, shape]}` for an array,
``{"v": 1.5}`` for a number, text, bool or None, ``t``/``l``/``d`` for tuples,
lists and dicts) and the arrays' bytes lie in the body in the same order. No
pickle and no archive format: the reader knows every size before it believes
anything, because the other end of the pipe is a student's process.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

MAGIC = b"SML1"
PREFIX = struct.Struct("<4sIQ")
MAX_HEADER = 1 << 20
KINDS = "biufcU"
_MAX_DEPTH = 6
_MAX_DIMENSIONS = 32


class FrameError(Exception):
    """The bytes are not a frame, or a value cannot be put in one."""


def pack(header: dict[str, Any], value: Any = None) -> bytes:
    """One frame with `value` (arrays, numbers, text, nested in tuples, lists, dicts).

    Raises
    ------
    FrameError
        `value` holds something else, or the header grows too long.
    """
    chunks: list[bytes] = []
    described = {**header, "value": _describe(value, chunks, 0)}
    encoded = json.dumps(described).encode("ascii")
    if len(encoded) > MAX_HEADER:
        raise FrameError(f"a frame's header has {len(encoded)} bytes; at most {MAX_HEADER} are accepted")
    body = b"".join(chunks)
    return PREFIX.pack(MAGIC, len(encoded), len(body)) + encoded + body


def read_prefix(raw: bytes, max_body: int) -> tuple[int, int]:
    """Lengths of header and body; `raw` are the first `PREFIX.size` bytes."""
    magic, header, body = PREFIX.unpack(raw)
    if magic != MAGIC:
        raise FrameError("the bytes are not a frame")
    if header > MAX_HEADER or body > max_body:
        raise FrameError(f"a frame of {header} + {body} bytes is larger than the {max_body} accepted")
    return int(header), int(body)


def unpack(header: bytes, body: bytes) -> tuple[dict[str, Any], Any]:
    """The header's fields and the value; every size is checked against the body."""
    try:
        fields = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise FrameError("a frame's header is not JSON") from error
    if not isinstance(fields, dict):
        raise FrameError("a frame's header is not an object")
    reader = _Reader(body)
    value = reader.value(fields.pop("value", {"v": None}), 0)
    if reader.offset != len(body):
        raise FrameError("a frame's body is longer than its header says")
    return fields, value


def _describe(value: Any, chunks: list[bytes], depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise FrameError(f"a value is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return {"v": value}
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in KINDS:
            raise FrameError(f"an array of dtype {value.dtype} cannot be sent")
        little = np.asarray(value, dtype=value.dtype.newbyteorder("<"))
        chunks.append(little.tobytes())
        return {"a": [little.dtype.str, list(value.shape)]}
    if isinstance(value, tuple | list):
        items = [_describe(item, chunks, depth + 1) for item in value]
        return {"t" if isinstance(value, tuple) else "l": items}
    if isinstance(value, dict):
        return {"d": [[str(key), _describe(item, chunks, depth + 1)] for key, item in value.items()]}
    raise FrameError(f"a value of type {type(value).__name__} cannot be sent; arrays and numbers can")


class _Reader:
    """Takes arrays off the body in order."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.offset = 0

    def value(self, node: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH or not isinstance(node, dict) or len(node) != 1:
            raise FrameError("a frame describes its value wrongly")
        ((kind, content),) = node.items()
        if kind == "v" and (content is None or isinstance(content, bool | int | float)):
            return content
        if kind == "v" and isinstance(content, str):
            return _text(content)
        if kind in {"a", "t", "l", "d"} and isinstance(content, list):
            if kind == "a":
                return self._array(content)
            if kind == "d":
                return self._mapping(content, depth)
            items = [self.value(item, depth + 1) for item in content]
            return tuple(items) if kind == "t" else items
        raise FrameError("a frame describes its value wrongly")

    def _mapping(self, content: list[Any], depth: int) -> dict[str, Any]:
        mapping = {}
        for pair in content:
            if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
                raise FrameError("a frame describes its value wrongly")
            mapping[_text(pair[0])] = self.value(pair[1], depth + 1)
        return mapping

    def _array(self, content: list[Any]) -> np.ndarray:
        if len(content) != 2 or not isinstance(content[0], str) or not isinstance(content[1], list):
            raise FrameError("a frame describes an array wrongly")
        try:
            dtype = np.dtype(content[0])
        except (TypeError, ValueError, SyntaxError) as error:
            raise FrameError("a frame names an unknown dtype") from error
        shape = content[1]
        if dtype.kind not in KINDS or dtype.subdtype is not None or len(shape) > _MAX_DIMENSIONS:
            raise FrameError(f"an array of dtype {dtype} is not accepted")
        size = dtype.itemsize
        for length in shape:
            if type(length) is not int or not 0 <= length <= 1 << 40:
                raise FrameError("a frame describes an array wrongly")
            size *= length
        if size > len(self.body) - self.offset:
            raise FrameError("an array is larger than the frame that carries it")
        raw = self.body[self.offset : self.offset + size]
        self.offset += size
        if dtype.kind == "U" and not _are_characters(
            np.frombuffer(raw, dtype.byteorder.replace("=", "<") + "u4")
        ):
            raise FrameError("a text array holds what are no characters")
        if dtype.itemsize == 0:
            return np.zeros(shape, dtype)
        # a copy: what frombuffer gives cannot be written to
        return np.frombuffer(raw, dtype).reshape(shape).copy()


def _text(content: str) -> str:
    # half of a surrogate pair is no character; whoever stores or prints it would fail
    try:
        content.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FrameError("a text holds what are no characters") from error
    return content


def _are_characters(codes: np.ndarray) -> bool:
    surrogates = (codes >= 0xD800) & (codes <= 0xDFFF)
    return not bool(np.any((codes > 0x10FFFF) | surrogates))

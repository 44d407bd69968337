"""A text as a person could read a solution out of it: as it stands, and with each simple disguise taken off.

Letters that only look like Latin ones become Latin, invisible characters go,
and what base64, hexadecimal, rot13, percent signs or backslashes hide is
decoded. Lines are also read from right to left. Each view is compared by
itself; what no view shows, the guard does not see.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

# Cyrillic and Greek letters drawn like Latin ones; full-width and mathematical letters fall to NFKC.
_LOOK_ALIKES = str.maketrans(
    "абвеһіјκкмнорѕтхуԁԛԝАВЕНІЈКМОРЅТХУαβγεηικνορτυχΑΒΕΗΙΚΜΝΟΡΤΥΧɡıⅼ",
    "a6behijkkmhopstxydqwABEHIJKMOPSTXYaByenikvoptuxABEHIKMNOPTYXgil",
)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_-]{12,}={0,2}[ \t]*\n?[ \t>|]*)+")
_HEX = re.compile(r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[\s,:]*){12,}")
_BINARY_NAME = re.compile(r"\\[xu][0-9a-fA-F]{2,4}|\\n|\\t")
_DEEPEST = 2


def views(text: str) -> Iterator[str]:
    """Yield `text` cleaned, and every decoded or reversed reading of it, cleaned too.

    Examples
    --------
    >>> "secret = 42" in list(views("c2VjcmV0ID0gNDI="))
    True
    """
    seen: set[str] = set()
    waiting = [(cleaned(text), 0)]
    while waiting:
        view, depth = waiting.pop(0)
        if view in seen or not view.strip():
            continue
        seen.add(view)
        yield view
        if depth < _DEEPEST:
            waiting += [(cleaned(other), depth + 1) for other in _decoded(view)]
        if depth == 0:
            waiting.append((codecs.encode(view, "rot13"), _DEEPEST))
            waiting.append(("\n".join(line[::-1] for line in view.splitlines()), _DEEPEST))


def cleaned(text: str) -> str:
    """Compatibility forms, Latin look-alikes, no invisible characters, no combining marks on letters."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text).translate(_LOOK_ALIKES)
    plain = (c for c in unicodedata.normalize("NFD", folded) if not unicodedata.combining(c))
    return "".join(c for c in plain if c in "\n\t" or unicodedata.category(c) not in ("Cf", "Cc", "Co"))


def _decoded(text: str) -> Iterator[str]:
    for match in _BASE64.finditer(text):
        yield from _from_base64(re.sub(r"[^A-Za-z0-9+/_-]", "", match.group()))
    for match in _HEX.finditer(text):
        digits = re.sub(r"0x|\\x|[^0-9a-fA-F]", "", match.group())
        yield from _printable(bytes.fromhex(digits[: len(digits) // 2 * 2]))
    if "%" in text and re.search(r"(?:%[0-9a-fA-F]{2}.{0,40}){4}", text):
        yield unquote(text)
    if re.search(r"&(?:#\w+|[a-z]+);", text):
        yield html.unescape(text)
    rows = [row for row in text.splitlines() if row.count("|") > 1]
    if rows:
        yield "\n".join(max((cell.strip(" `") for cell in row.split("|")), key=len) for row in rows)
    if len(_BINARY_NAME.findall(text)) > 3:
        yield _BINARY_NAME.sub(lambda m: _escape(m.group()), text)


def _from_base64(letters: str) -> Iterator[str]:
    letters = letters.replace("-", "+").replace("_", "/")
    # a blob that was cut somewhere is tried at each of its four alignments
    for shift in range(4):
        part = letters[shift:]
        part = part[: len(part) // 4 * 4] if len(part) % 4 == 1 else part + "=" * (-len(part) % 4)
        try:
            raw = base64.b64decode(part)
        except (binascii.Error, ValueError):
            continue
        found = list(_printable(raw))
        if found:
            yield from found
            return


def _printable(raw: bytes) -> Iterator[str]:
    text = raw.decode("utf-8", "ignore")
    if len(text) >= 8 and sum(c.isprintable() or c in "\n\t" for c in text) > 0.95 * len(text):
        yield text


def _escape(code: str) -> str:
    return {"\\n": "\n", "\\t": "\t"}.get(code) or chr(int(code[2:], 16))

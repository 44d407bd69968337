"""A text as a person could read a solution out of it: as it stands, and with each simple disguise taken off.

Letters that only look like Latin ones become Latin, invisible characters go,
and what the usual encodings hide (bases 16 to 85, lists of character codes,
percent signs, backslashes, entities, gzip, shifted alphabets) is decoded. Lines
are also read from right to left. Each view is compared by itself; what no view
shows, the guard does not see.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import quopri
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import unquote

from tutor.guard.ciphers import deciphered

# Cyrillic and Greek letters drawn like Latin ones, small capitals, letters upside down;
# full-width and mathematical letters fall to NFKC.
_LOOK_ALIKES = str.maketrans(
    "абвеһіјκкмнорѕтхуԁԛԝАВЕНІЈКМОРЅТХУαβγεηικνορτυχΑΒΕΗΙΚΜΝΟΡΤΥΧɡıⅼᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ",
    "a6behijkkmhopstxydqwABEHIJKMOPSTXYaByenikvoptuxABEHIKMNOPTYXgilabcdefghijklmnoprstuvwyzacefghijkmrtvwy",
)
#: Blanks and fillers of other scripts, drawn as nothing, that are letters or signs to Unicode.
_FILLERS = dict.fromkeys(map(ord, "\u115f\u1160\u3164\uffa0\u2800\u034f"))
_LEET = str.maketrans("43107", "aeiot")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_-]{12,}={0,2}[ \t]*\n?[ \t>|]*)+")
_HEX = re.compile(r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[\s,:]*){12,}")
_BINARY_NAME = re.compile(r"\\[xu][0-9a-fA-F]{2,4}|\\n|\\t")
_BASE32 = re.compile(r"\b[A-Z2-7]{16,}=*")
_UNBROKEN = re.compile(r"\S{20,}")
#: Numbers that may be characters, with what stands between them.
_CODES = re.compile(r"(?:(?<!\d)[01]{7,8}(?!\d)\D{1,9}|(?<!\d)\d{2,3}(?!\d)\D{1,9}){12,}")
_DEEPEST = 2
#: Most characters unpacked.
_LARGEST = 100_000


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
            waiting += [(other, _DEEPEST) for other in deciphered(view)]
        if depth == 0:
            waiting.append((codecs.encode(view, "rot13"), _DEEPEST))
            waiting.append(("\n".join(line[::-1] for line in view.splitlines()), _DEEPEST))


def cleaned(text: str) -> str:
    """Compatibility forms, Latin look-alikes, no invisible characters, no combining marks on letters."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text).translate(_LOOK_ALIKES).translate(_FILLERS)
    plain = unicodedata.normalize("NFD", folded)
    return "".join(
        c for c in plain if c in "\n\t" or unicodedata.category(c) not in ("Cf", "Cc", "Co", "Mn", "Me")
    )


def _decoded(text: str) -> Iterator[str]:
    yield from _from_bases(text)
    for match in _CODES.finditer(text + " "):
        yield from _from_codes(re.findall(r"\d+", match.group()))
    if "%" in text and re.search(r"(?:%[0-9a-fA-F]{2}.{0,40}){4}", text):
        yield unquote(text)
    if re.search(r"(?:=[0-9A-F]{2}.{0,40}){4}", text):
        yield quopri.decodestring(text.encode()).decode("utf-8", "ignore")
    if re.search(r"&(?:#\w+|[a-z]+);", text):
        yield html.unescape(text)
    rows = [row for row in text.splitlines() if row.count("|") > 1]
    if rows:
        yield "\n".join(max((cell.strip(" `") for cell in row.split("|")), key=len) for row in rows)
    if len(_BINARY_NAME.findall(text)) > 3:
        yield _BINARY_NAME.sub(lambda m: _escape(m.group()), text)
    if len(re.findall(r"[a-z][43107][a-z]", text)) > 3:
        yield text.translate(_LEET)
    if text.count("Name(id=") > 2:  # a syntax tree as Python writes it: its names in their order
        yield " ".join(re.findall(r"(?:id|attr|arg|value)='?(\w[\w.]*)(?!\w*\()", text))


def _from_bases(text: str) -> Iterator[str]:
    for match in _BASE64.finditer(text):
        yield from _from_base64(re.sub(r"[^A-Za-z0-9+/_-]", "", match.group()))
    for match in _HEX.finditer(text):
        digits = re.sub(r"0x|\\x|[^0-9a-fA-F]", "", match.group())
        yield from _printable(bytes.fromhex(digits[: len(digits) // 2 * 2]))
    for match in _BASE32.finditer(text):
        letters = match.group().rstrip("=")
        yield from _tried(base64.b32decode, letters + "=" * (-len(letters) % 8))
    for match in _UNBROKEN.finditer(text):
        yield from _tried(base64.b85decode, match.group())


def _from_base64(letters: str) -> Iterator[str]:
    letters = letters.replace("-", "+").replace("_", "/")
    # a blob that was cut somewhere is tried at each of its four alignments
    for shift in range(4):
        part = letters[shift:]
        part = part[: len(part) // 4 * 4] if len(part) % 4 == 1 else part + "=" * (-len(part) % 4)
        found = list(_tried(base64.b64decode, part))
        if found:
            yield from found
            return


def _tried(decode: Callable[[str], bytes], letters: str) -> Iterator[str]:
    with suppress(binascii.Error, ValueError):
        yield from _printable(decode(letters))


def _from_codes(numbers: list[str]) -> Iterator[str]:
    """Characters from a list of their numbers, in each base the digits allow."""
    for base in (10, 8, 2):
        with suppress(ValueError):
            values = [int(number, base) for number in numbers]
            if all(9 <= value < 127 for value in values):
                yield "".join(map(chr, values))


def _printable(raw: bytes) -> Iterator[str]:
    if raw[:2] in (b"\x1f\x8b", b"x\x9c", b"x\xda", b"x\x01"):
        with suppress(zlib.error):
            raw = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(raw, _LARGEST)
    text = raw.decode("utf-8", "ignore")
    if len(text) >= 8 and sum(c.isprintable() or c in "\n\t" for c in text) > 0.95 * len(text):
        yield text


def _escape(code: str) -> str:
    return {"\\n": "\n", "\\t": "\t"}.get(code) or chr(int(code[2:], 16))

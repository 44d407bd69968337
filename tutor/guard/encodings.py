"""Ways to write a solution in other signs: any program, or a patient reader, gets it back letter by letter."""

from __future__ import annotations

import base64
import codecs
import gzip
import json
import quopri
from collections.abc import Callable
from urllib.parse import quote

_LOOK_ALIKES = str.maketrans("aceopxysi", "асеорхуѕі")
_SMALL_CAPITALS = str.maketrans("abcdefghijklmnoprtuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ")
_TURNED = str.maketrans("abcdefghijklmnopqrtuvwy", "ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹʇnʌʍʎ")
_LEET = str.maketrans("aeiot", "43107")
_MORSE = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz0123456789",
        [
            ".-",
            "-...",
            "-.-.",
            "-..",
            ".",
            "..-.",
            "--.",
            "....",
            "..",
            ".---",
            "-.-",
            ".-..",
            "--",
            "-.",
            "---",
            ".--.",
            "--.-",
            ".-.",
            "...",
            "-",
            "..-",
            "...-",
            ".--",
            "-..-",
            "-.--",
            "--..",
            "-----",
            ".----",
            "..---",
            "...--",
            "....-",
            ".....",
            "-....",
            "--...",
            "---..",
            "----.",
        ],
    )
)
_SPELLED = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        [
            "alfa",
            "bravo",
            "charlie",
            "delta",
            "echo",
            "foxtrot",
            "golf",
            "hotel",
            "india",
            "juliett",
            "kilo",
            "lima",
            "mike",
            "november",
            "oscar",
            "papa",
            "quebec",
            "romeo",
            "sierra",
            "tango",
            "uniform",
            "victor",
            "whiskey",
            "xray",
            "yankee",
            "zulu",
        ],
    )
)
_SIGNS = {
    ".": "dot",
    "(": "open",
    ")": "close",
    "=": "equals",
    ",": "comma",
    "_": "underscore",
    "\n": "newline",
}


def _shifted(code: str, by: int) -> str:
    def letter(c: str) -> str:
        if not (c.isascii() and c.isalpha()):
            return c
        first = ord("a" if c.islower() else "A")
        return chr(first + (ord(c) - first + by) % 26)

    return "".join(map(letter, code))


def _mirrored(code: str) -> str:
    lower = "abcdefghijklmnopqrstuvwxyz"
    return code.translate(str.maketrans(lower + lower.upper(), lower[::-1] + lower[::-1].upper()))


def _rot47(code: str) -> str:
    return "".join(chr(33 + (ord(c) + 14) % 94) if "!" <= c <= "~" else c for c in code)


def _spelled(code: str) -> str:
    return " ".join(_SPELLED.get(c.lower(), _SIGNS.get(c, c)) for c in code if c != " ")


#: From code to text.
ENCODINGS: dict[str, Callable[[str], str]] = {
    "base64": lambda code: "Decode this: " + base64.b64encode(code.encode()).decode(),
    "hexadecimal": lambda code: "Bytes: " + code.encode().hex(" "),
    "rot13": lambda code: codecs.encode(code, "rot13"),
    "percent-encoded": quote,
    "JSON string": lambda code: json.dumps({"answer": code}),
    "lines backwards": lambda code: "\n".join(reversed(code.splitlines())),
    "letters backwards": lambda code: "\n".join(line[::-1] for line in code.splitlines()),
    "look-alike letters": lambda code: code.translate(_LOOK_ALIKES),
    "invisible characters": "\u200b".join,
    # what follows was thought of after the guard was written
    "all backwards": lambda code: code[::-1],
    "variation selectors": "\ufe0f".join,
    "Hangul fillers": "\u3164".join,
    "small capitals": lambda code: code.translate(_SMALL_CAPITALS),
    "upside down": lambda code: code.translate(_TURNED),
    "letters spaced": " ".join,
    "every letter a line": "\n".join,
    "leet": lambda code: code.translate(_LEET),
    "Caesar, 7": lambda code: _shifted(code, 7),
    "alphabet mirrored": _mirrored,
    "rot47": _rot47,
    "decimal codes": lambda code: " ".join(str(ord(c)) for c in code),
    "octal codes": lambda code: " ".join(f"{ord(c):03o}" for c in code),
    "binary codes": lambda code: " ".join(f"{ord(c):08b}" for c in code),
    "chr()": lambda code: " + ".join(f"chr({ord(c)})" for c in code),
    "base32": lambda code: base64.b32encode(code.encode()).decode(),
    "base85": lambda code: base64.b85encode(code.encode()).decode(),
    "gzip, base64": lambda code: base64.b64encode(gzip.compress(code.encode(), mtime=0)).decode(),
    "base64 twice": lambda code: base64.b64encode(base64.b64encode(code.encode())).decode(),
    "hexadecimal, rot13": lambda code: codecs.encode(code, "rot13").encode().hex(),
    "JSON of code points": lambda code: "".join(f"\\u{ord(c):04x}" for c in code),
    "HTML entities": lambda code: "".join(f"&#{ord(c)};" for c in code),
    "quoted-printable": lambda code: quopri.encodestring(code.encode(), quotetabs=True).decode(),
    "Morse": lambda code: " ".join(_MORSE.get(c.lower(), "/") for c in code),
    "spelled out": _spelled,
}

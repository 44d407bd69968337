r"""Formulas as trees of MathML, made beside the text and never instead of it.

A text with ``$...$`` or ``$$...$$`` is cut into its words and its formulas. Each
formula is read by `latex2mathml`, and only what is on a short list leaves here: an
element as ``[tag, {attribute: value}, child, ...]``, of which the page builds nodes
one by one from a list of its own. What is too long or too deep, brings a link, a
style or a macro, or is not understood to the last command stays as its TeX.

>>> parts("a mass of $M_1$.")
['a mass of ', {'tex': 'M_1', 'block': False, 'math': ['mrow', {}, ['msub', {}, ['mi', {}, 'M'], ['mn', {}, '1']]]}, '.']
>>> parts("it costs $5 or $6") is None
True
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element

#: Beyond these a formula stays as its TeX: characters, elements, elements in each other.
LONGEST, MOST_ELEMENTS, DEEPEST = 600, 400, 24
#: Characters of a text beyond which no formula is looked for, and formulas of one text.
LONGEST_TEXT, MOST_FORMULAS = 20_000, 60

# no blank inside the dollars: prices are not formulas
_FORMULA = re.compile(
    rf"(?<![\\$])\$\$(?P<block>[^$]{{1,{LONGEST}}})\$\$"
    rf"|(?<![\\$])\$(?!\s)(?P<inline>(?:[^$\\]|\\[^$]|\\\$){{1,{LONGEST}}}?)(?<!\s)\$(?!\$)"
)
# three words in a row, and no command in front of them: what lies between the ends of two formulas
_PROSE = re.compile(r"(?<![\\{a-zA-Z])[a-z]{3,}[,;:]? [a-z]{2,}[,;:]? [a-z]{3,}")
# commands the library does not know, most of them of astronomy's journals
_JOURNALS = {
    "AA": "Å",
    "arg": "\\operatorname{arg}", "angstrom": "Å", "r{A}": "Å", "r A": "Å", "degr": "^\\circ ", "arcdeg": "^\\circ ", "arcmin": "'",
    "arcsec": "''", "farcs": "''.", "farcm": "'.", "msun": "M_\\odot ", "Msun": "M_\\odot ", "micron": "\\mu\\mathrm{m}",
    "kms": "\\mathrm{km\\,s^{-1}}",
}  # fmt: skip
_JOURNAL = re.compile(r"\\(" + "|".join(re.escape(name) for name in _JOURNALS) + r")(?![A-Za-z])")
# what defines something new could grow without end
_DEFINES = re.compile(r"\\(?:[A-Za-z]*(?:command|environment|MathOperator)|[egx]?def|let)(?![a-z])")
_KEPT = frozenset(
    [
        "mrow",
        "mi",
        "mn",
        "mo",
        "mtext",
        "mspace",
        "msub",
        "msup",
        "msubsup",
        "munder",
        "mover",
        "munderover",
        "mfrac",
        "msqrt",
        "mroot",
        "mtable",
        "mtr",
        "mtd",
        "mstyle",
        "mphantom",
        "mmultiscripts",
        "mprescripts",
    ]
)
_TRUTH = re.compile(r"true|false")
_LENGTH = re.compile(r"-?[0-4](?:\.\d{1,4})?em|0")
_VALUES = {
    "stretchy": _TRUTH,
    "fence": _TRUTH,
    "accent": _TRUTH,
    "accentunder": _TRUTH,
    "displaystyle": _TRUTH,
    "largeop": _TRUTH,
    "movablelimits": _TRUTH,
    "form": re.compile(r"prefix|infix|postfix"),
    "scriptlevel": re.compile(r"[+-]?[0-3]"),
    "linethickness": _LENGTH,
    "width": _LENGTH,
    "minsize": _LENGTH,
    "maxsize": _LENGTH,
}
# how a formula looks, without which it says the same
_DROPPED = frozenset(
    ["mathcolor", "mathbackground", "mathsize", "linebreak", "rowspacing", "columnspacing", "mathvariant"]
)
_SPACES = {
    "negativethinmathspace": "-0.167em",
    "negativemediummathspace": "-0.222em",
    "negativethickmathspace": "-0.278em",
    "thinmathspace": "0.167em",
    "mediummathspace": "0.222em",
    "thickmathspace": "0.278em",
}
# where the styles of letters begin: capitals, small letters, digits, Greek capitals, Greek small letters
_STYLES = {
    "bold": (0x1D400, 0x1D41A, 0x1D7CE, 0x1D6A8, 0x1D6C2),
    "bold-italic": (0x1D468, 0x1D482, 0x1D7CE, 0x1D71C, 0x1D736),
    "monospace": (0x1D670, 0x1D68A, 0x1D7F6, 0, 0),
}
_BEGINS = ((ord("A"), 26), (ord("a"), 26), (ord("0"), 10), (0x391, 25), (0x3B1, 25))
_ACCENTS = tuple("^~∼¯‾˙¨→ˇ˘")
_SIGNS = {"~": "∼", "―": "‾"}

Tree = list[Any]


class _UnreadableError(Exception):
    """The formula is shown as its TeX."""


def parts(text: object) -> list[Any] | None:
    """Words and formulas of a text in order, or None if it holds no formula that can be shown.

    Returns
    -------
    list of str or dict, or None
        A formula has its ``tex``, the tree ``math``, and whether it stands by itself (``block``).
    """
    if not isinstance(text, str) or "$" not in text or len(text) > LONGEST_TEXT:
        return None
    found: list[Any] = []
    end = read = place = 0
    while read < MOST_FORMULAS and (match := _FORMULA.search(text, place)):
        block = match["block"] is not None
        tex = (match["block"] if block else match["inline"]).strip()
        prose = _PROSE.search(tex) is not None
        place = match.end() - prose  # what closes nothing may open the next
        math = None if prose else tree(tex, block)
        if math is None:
            continue
        read += 1
        found += [text[end : match.start()], {"tex": tex, "block": block, "math": math}]
        end = match.end()
    return [part for part in (*found, text[end:]) if part] if read else None


@lru_cache(maxsize=4096)
def tree(tex: str, block: bool = False) -> Tree | None:
    """The tree of a formula; None if it is to stay as its TeX."""
    if not tex or len(tex) > LONGEST or _DEFINES.search(tex):
        return None
    try:
        from latex2mathml.converter import Converter
    except ImportError:
        return None
    converter = Converter(display="block" if block else "inline")
    try:
        element = converter.convert_to_element(_known(tex))
        return _element(element[0], [MOST_ELEMENTS], DEEPEST)
    except Exception:  # whatever a parser of foreign text may raise, RecursionError too
        return None


def _known(tex: str) -> str:
    """The formula with what the library does not know put in words it does."""
    tex = re.sub(r"\{(?:aligned|split|eqnarray\*?)\}", "{align*}", tex)
    return _JOURNAL.sub(lambda match: _JOURNALS[match[1]], tex)


def _element(element: Element, left: list[int], deep: int) -> Tree:
    left[0] -= 1
    if element.tag not in _KEPT or left[0] < 0 or not deep:
        raise _UnreadableError
    text = html.unescape(element.text or "").replace("\\%", "%")
    if "\\" in text or "&" in text or any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in text):
        raise _UnreadableError  # a command that is not known; characters that steer
    text = _SIGNS.get(text, _styled(text, element.get("mathvariant", "")))
    tag = element.tag
    if tag == "mi" and len(text) == 1 and unicodedata.category(text) == "Sm" and text not in "∂∇∞∅":
        tag = "mo"  # plus-minus and the like are set as operators
    children = [_element(child, left, deep - 1) for child in element]
    if tag in ("mrow", "mstyle", "mtd"):
        children = _spaced(_joined(children))
    attributes = _attributes(element)
    if tag == "mover" and len(children) == 2 and children[1][0] == "mo" and children[1][-1] in _ACCENTS:
        if children[1][-1] in ("¯", "‾") and children[0][0] == "mrow" and len(children[0]) == 3:
            children[0] = children[0][2]
        if children[1][-1] in ("¯", "‾") and children[0][0] not in ("mi", "mn"):
            return ["mrow", {"class": "over"}, children[0]]  # few fonts have a bar that stretches
        attributes["accent"] = "true"
    return [tag, attributes, *([text] if text else []), *children]


def _attributes(element: Element) -> dict[str, str]:
    kept = {}
    for name, value in element.attrib.items():
        value = _SPACES.get(value, value)
        if name == "mathvariant" and value == "normal" and element.tag == "mi":
            kept[name] = value
        elif name == "columnalign" and value in ("left", "right", "center"):
            kept["class"] = value
        elif name in _VALUES and _VALUES[name].fullmatch(value):
            kept[name] = value
        elif name not in _DROPPED:
            raise _UnreadableError
    return kept


def _joined(children: list[Tree]) -> list[Tree]:
    """Upright letters in a row are one word: T with the index ``eff`` is not four variables."""
    joined: list[Tree] = []
    for child in children:
        upright = child[0] == "mi" and child[1] == {"mathvariant": "normal"} and len(child) == 3
        if upright and joined and joined[-1][:2] == child[:2] and child[2].isalpha():
            joined[-1] = [*child[:2], joined[-1][2] + child[2]]
        else:
            joined.append(child)
    return joined


def _spaced(children: list[Tree]) -> list[Tree]:
    """A thin space beside the name of a function, where no sign or bracket parts it from its neighbour."""
    spaced: list[Tree] = []
    for child in children:
        if spaced and (_function(child) or _function(spaced[-1])) and "mo" not in (child[0], spaced[-1][0]):
            spaced.append(["mspace", {"width": "0.167em"}])
        spaced.append(child)
    return spaced


def _function(tree: Tree) -> bool:
    return tree[:2] == ["mi", {}] and len(tree) == 3 and len(tree[2]) > 1 and tree[2].isalpha()


def _styled(text: str, variant: str) -> str:
    """Letters of a style, which browsers take from Unicode and no longer from ``mathvariant``."""
    starts = _STYLES.get(variant)
    return "".join(_letter(c, starts) for c in text) if starts else text


def _letter(character: str, starts: tuple[int, ...]) -> str:
    for (begin, length), start in zip(_BEGINS, starts, strict=True):
        if start and begin <= ord(character) < begin + length:
            return chr(start + ord(character) - begin)
    return character

"""Does a quote stand verbatim in a passage? Only typography may differ, never a letter.

Both texts are brought to one form, character by character, each keeping the
place it came from, so that a match is reported in characters of the original:

* Unicode compatibility forms (ligatures, full-width letters), invisible and
  direction marks;
* runs of white space, kinds of dashes and of quotation marks;
* the TeX of running text: dollars, braces, escaped signs, spaces, blanks around
  operators, a few dozen commands with a Unicode twin; ``x^2`` and ``x²`` are one, and differ from ``x2``
  (a lowered letter is not told from one on the line: ``M_\\odot`` is ``M⊙``).

Case, letters, digits and word order must agree: a near-miss is no quote.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d-")
_SINGLE = frozenset("‘’‚‛′`´'")
_DOUBLE = frozenset('“”„‟″«»"')

_TEX_SYMBOLS = {
    "sim": "~", "approx": "≈", "simeq": "≃", "times": "×", "pm": "±", "mp": "∓", "cdot": "·", "le": "≤",
    "leq": "≤", "lesssim": "≲", "ge": "≥", "geq": "≥", "gtrsim": "≳", "ll": "≪", "gg": "≫", "neq": "≠",
    "infty": "∞", "propto": "∝", "odot": "⊙", "oplus": "⊕", "to": "→", "rightarrow": "→", "deg": "°",
    "circ": "°", "partial": "∂", "nabla": "∇", "sum": "∑", "int": "∫", "sqrt": "√", "ell": "ℓ", "AA": "Å",
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ",
    "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ",
    "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ",
    "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
# Commands that only choose a font or a size of what follows.
_TEX_SILENT = frozenset(
    ["rm", "it", "bf", "em", "mathrm", "mathbf", "mathit", "mathcal", "text", "textit", "textbf", "emph",
     "left", "right", "big", "displaystyle", "operatorname"]
)  # fmt: skip
_TEX_ESCAPED = frozenset("%&#_{}$")
# Blanks around these say nothing: TeX sets its own.
_OPERATORS = frozenset("~≈≃×±∓·≤≥≲≳≪≫≠∝→=<>+")
_TEX_SPACES = frozenset(",;:! ")


@dataclass(frozen=True)
class Span:
    """Where a quote stands: ``text[start:end]`` of the original; `whole_words` if it cuts none."""

    start: int
    end: int
    whole_words: bool


def find_quote(quote: str, text: str) -> Span | None:
    """Find `quote` verbatim in `text`, up to typography.

    Parameters
    ----------
    quote : str
        What is said to stand there.
    text : str
        The passage.

    Returns
    -------
    Span or None
        Characters of the original `text`; of several places one that cuts no
        word, else the first. None if it does not stand there, or is blank.

    Examples
    --------
    >>> find_quote("a mass of 10² M⊙", "It has a mass of $10^{2} M_\\\\odot$ now.")
    Span(start=7, end=33, whole_words=True)
    >>> find_quote("a mass of 10³ M⊙", "It has a mass of $10^{2} M_\\\\odot$ now.") is None
    True
    """
    if not quote.strip():
        return None
    literal = _best(text, _occurrences(quote, text))
    if literal is not None and literal.whole_words:
        return literal
    wanted = normalise(quote).strip()
    if not wanted:
        return literal
    normal, places = _normalised(text)
    spans = [
        _closed(text, places[at][0], places[end - 1][1])
        for at, end in _occurrences(wanted, normal)
        if _whole_characters(normal, places, at, end)
    ]
    found = _best(text, spans)
    # a match of typography is preferred only where the literal one cuts a word
    return found if literal is None or (found is not None and found.whole_words) else literal


def normalise(text: str) -> str:
    """Return `text` in the one form in which quotes are compared."""
    return _normalised(text)[0]


def _occurrences(needle: str, hay: str) -> list[tuple[int, int]]:
    found = []
    at = hay.find(needle)
    while at >= 0:
        found.append((at, at + len(needle)))
        at = hay.find(needle, at + 1)
    return found


def _best(text: str, spans: list[tuple[int, int]]) -> Span | None:
    judged = [Span(a, b, _cuts_no_word(text, a, b)) for a, b in spans]
    whole = (span for span in judged if span.whole_words)
    return next(whole, judged[0] if judged else None)


def _whole_characters(normal: str, places: list[tuple[int, int]], at: int, end: int) -> bool:
    """Whether no character of the original is cut in two: e is no part of é."""
    if at and places[at - 1] == places[at]:
        return False
    return end == len(normal) or (places[end - 1] != places[end] and not unicodedata.combining(normal[end]))


def _closed(text: str, start: int, end: int) -> tuple[int, int]:
    """Take in the brace or dollar right outside that the TeX inside needs to be whole."""
    while text[end : end + 1] == "}" and text.count("{", start, end) > text.count("}", start, end):
        end += 1
    if text.count("$", start, end) % 2:
        if text[end : end + 1] == "$":
            end += 1
        elif start and text[start - 1] == "$":
            start -= 1
    return start, end


def _cuts_no_word(text: str, start: int, end: int) -> bool:
    def joined(left: str, right: str) -> bool:
        # "consistent" is no word of "in-consistent"; "1.2" is none of "11.2" or "-1.2"
        return left.isalnum() and right.isalnum()

    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    first, last = text[start], text[end - 1]
    if before and joined(before[-1], first):
        return False
    if after and (joined(last, after[0]) or unicodedata.combining(after[0])):
        return False
    if first.isalnum() and before and before[-1] in _DASHES and (first.isdigit() or before[:1].isalpha()):
        return False
    if first.isdigit() and len(before) == 2 and before[1] in ".," and before[0].isdigit():
        return False
    hyphen = bool(after) and after[0] in _DASHES and after[1:].isalpha() and last.isalpha()
    decimal = last.isdigit() and len(after) == 2 and after[0] in ".," and after[1].isdigit()
    return not (hyphen or decimal)


def _normalised(text: str) -> tuple[str, list[tuple[int, int]]]:
    """One form, and for each of its characters the ``(start, end)`` it came from."""
    out: list[str] = []
    places: list[tuple[int, int]] = []

    def put(characters: str, start: int, end: int) -> None:
        for character in characters:
            # one blank stands for a run of them, one dash for -- and ---
            if character in " -" and out and out[-1] == character:
                places[-1] = (places[-1][0], end)
                continue
            if character == " " and out and out[-1] in _OPERATORS:
                continue
            if character in _OPERATORS and out and out[-1] == " ":
                out.pop()
                places.pop()
            out.append(character)
            places.append((start, end))

    at = 0
    raised = False
    while at < len(text):
        character = text[at]
        end = at + 1
        if character == "\\":
            shown, end = _tex(text, at)
        else:
            shown = _plain(character)
        was, raised = raised, unicodedata.decomposition(character).startswith("<super>")
        if raised and not was:
            shown = "^" + shown
        put(shown, at, end)
        at = end
    return "".join(out), places


def _plain(character: str) -> str:
    if character.isspace():
        return " "
    if character in _DASHES:
        return "-"
    if character in _SINGLE:
        return "'"
    if character in _DOUBLE:
        return '"'
    if character in "${}_" or unicodedata.category(character) == "Cf" or character == "\u00ad":
        return ""
    if character in "∼～":
        return "~"
    # NFKD of one character does not depend on its neighbours, so that places stay known
    return "".join(c for c in unicodedata.normalize("NFKD", character) if not c.isspace())


def _tex(text: str, at: int) -> tuple[str, int]:
    """What the command at ``text[at]`` shows, and where it ends."""
    following = text[at + 1 : at + 2]
    if following in _TEX_ESCAPED and following:
        return following, at + 2
    if following in _TEX_SPACES and following:
        return ("" if following == "!" else " "), at + 2
    end = at + 1
    while end < len(text) and text[end].isascii() and text[end].isalpha():
        end += 1
    name = text[at + 1 : end]
    if name in _TEX_SYMBOLS:
        shown = _plain(_TEX_SYMBOLS[name])
    elif name in _TEX_SILENT:
        shown = ""
    else:
        return "\\", at + 1
    # TeX swallows the blank that ends a command's name
    while end < len(text) and text[end] == " ":
        end += 1
    return shown, end

"""Final numbers of an assignment, recognised however they are written: rounded, with a unit, in words."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from decimal import Decimal, InvalidOperation

#: A number with fewer digits may stand anywhere.
DIGITS = 4

_NUMBER = re.compile(
    r"(?<![\w.,])[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+|\s*(?:[*×x·]|\\times|\\cdot)\s*10\s*(?:\^|\*\*)\s*[{(]?[-+]?\d+)?(?!\d)"
)
_POWER = re.compile(r"\s*(?:[*×x·]|\\times|\\cdot)\s*10\s*(?:\^|\*\*)\s*[{(]?")
_UNITS = {
    word: value
    for value, word in enumerate(
        [
            *["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
            *["eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"],
            "nineteen",
        ]
    )
}
_TENS = {
    word: 10 * value
    for value, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
_WORDS = {*_UNITS, *_TENS, "hundred", "thousand", "point", "and"}


def gives_away(text: str, finals: Collection[str]) -> bool:
    """Whether `text` says one of the final numbers, to at least `DIGITS` digits or as it is written.

    Examples
    --------
    >>> [gives_away(said, ["287.31"]) for said in ("it is 287.3 K", "2.8731e2", "below 300 K", "1287.31")]
    [True, True, False, False]
    >>> gives_away("two hundred and eighty-seven point three one", ["287.31"])
    True
    """
    wanted = [number for final in finals for number in _read(final)]
    return any(_same(said, final) for said in said_numbers(text) for final in wanted) if wanted else False


def said_numbers(text: str) -> Iterator[Decimal]:
    """Yield every number in `text`, its digits kept."""
    for match in _NUMBER.finditer(text):
        yield from _read(match.group())
    yield from _spoken(text)


def _read(written: str) -> Iterator[Decimal]:
    plain = _POWER.sub("e", written)
    if re.match(r"[-+]?\d{1,3}(?:,\d{3})+(?!\d)", plain):
        plain = plain.replace(",", "")
    try:
        yield Decimal(plain.replace(",", ".")).copy_abs()
    except InvalidOperation:
        return  # 1.2.3 is no number


def _same(said: Decimal, final: Decimal) -> bool:
    if said == final:
        return True
    digits, wanted = (len(number.as_tuple().digits) for number in (said, final))
    if min(digits, wanted) < DIGITS:
        return False
    return _rounded(said, min(digits, wanted)) == _rounded(final, min(digits, wanted))


def _rounded(number: Decimal, digits: int) -> Decimal:
    return Decimal(f"{number:.{digits - 1}e}")


def _spoken(text: str) -> Iterator[Decimal]:
    """Numbers in words: digit by digit, or as they are counted; "point" begins the digits after it."""
    run: list[str] = []
    for word in [*re.findall(r"[a-z]+|[^a-z\s-]+", text.lower()), "."]:
        if word in _WORDS:
            run.append(word)
            continue
        if len(run) > 1:
            yield from _counted(run)
        run = []


def _counted(words: list[str]) -> Iterator[Decimal]:
    whole, _, after = " ".join(words).partition("point")
    counted = [word for word in whole.split() if word != "and"]
    digits = "".join(str(_UNITS.get(word, "")) for word in after.split())
    if all(_UNITS.get(word, 10) < 10 for word in counted):
        front = "".join(str(_UNITS[word]) for word in counted)
    else:
        total = part = 0
        for word in counted:
            if word == "hundred":
                part = max(part, 1) * 100
            elif word == "thousand":
                total, part = total + max(part, 1) * 1000, 0
            else:
                part += _UNITS.get(word, 0) + _TENS.get(word, 0)
        front = str(total + part)
    yield from _read(f"{front or 0}.{digits}" if digits else front or "0")

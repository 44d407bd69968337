"""Text shifted through the alphabet, read again where a shift makes it code.

There are 52 readings of a shifted or mirrored alphabet; trying a reading is
cheap, comparing it with the solutions is not. So only a reading that holds
words nearly all code has is looked at further.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from string import ascii_lowercase as LOWER
from string import ascii_uppercase as UPPER

#: Words of code; two of them in one reading are no chance.
_CODE = (
    *("return", "import", "lambda", "linalg", "numpy", "median", "shape", "range", "zeros", "where"),
    *("sorted", "append", "arange", "array", "float", "mean(", "sqrt(", "diag(", "axis=", "len(", "np."),
)


def deciphered(text: str) -> Iterator[str]:
    """Yield each shifted or mirrored reading of `text` that holds more words of code than it does itself.

    Examples
    --------
    >>> list(deciphered("Think of the variance first."))
    []
    >>> "return np.sqrt(np.mean(x))" in list(deciphered("uhwxuq qs.vtuw(qs.phdq(a))"))
    True
    """
    least = max(2, 1 + _words(text))
    for table in _tables():
        reading = text.translate(table)
        if _words(reading) >= least:
            yield reading


def _words(text: str) -> int:
    plain = text.lower()
    return sum(word in plain for word in _CODE)


@cache
def _tables() -> tuple[dict[int, int], ...]:
    tables = []
    for alphabet in (LOWER, LOWER[::-1]):
        for by in range(26):
            turned = alphabet[by:] + alphabet[:by]
            if turned != LOWER:
                tables.append(str.maketrans(LOWER + UPPER, turned + turned.upper()))
    signs = "".join(map(chr, range(33, 127)))
    tables.append(str.maketrans(signs, signs[47:] + signs[:47]))
    return tuple(tables)

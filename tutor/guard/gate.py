"""Release a stream line by line: prose at once, code when its block is whole, so that a copy is seen whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tutor.guard.guard import Block, Guard

#: A block of code longer than this is looked at in parts.
MOST_LINES = 80

_FENCE = re.compile(r"^\s*(?:```|~~~)")
_CODE = re.compile(r"^\s{4,}\S|^\s*(?:def|return|for|import|from|if)\b.*|[=@\[\](){}<>|\\`_]|\w{30,}|\d+:")


def gated(lines: Iterable[str], guard: Guard) -> Iterator[str | Block]:
    """Yield the lines that may be shown; a `Block` ends the stream.

    Parameters
    ----------
    lines : iterable of str
        As they arrive.
    guard : Guard

    Examples
    --------
    >>> list(gated(["Think of the variance.", "x = 1"], Guard([])))
    ['Think of the variance.', 'x = 1']
    """
    held: list[str] = []
    fenced = False
    for line in lines:
        held.append(line)
        if _FENCE.match(line):
            fenced = not fenced
        waits = fenced or _CODE.search(line) is not None
        if waits and len(held) < MOST_LINES:
            continue
        block = guard.release("\n".join(held))
        if block is not None:
            yield block
            return
        yield from held
        held = []
    if held:
        block = guard.release("\n".join(held))
        yield from [block] if block is not None else held

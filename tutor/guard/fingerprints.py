"""Fingerprints of a solution: hashes of its pieces, from which the solution cannot be written down again.

Four kinds, of every function and every written answer:

* ``letters``: each run of 12 letters and digits, everything else left out, so
  that layout, punctuation and split names do not matter;
* ``tokens``: each run of 10 tokens, names abstracted, what follows a dot kept;
* ``trees``: each statement's syntax tree, names abstracted, weighted by its size;
* ``words``: each run of 7 words (written answers only).

A text's score for a function is the share of its fingerprints that the text
shows, for each kind. Fingerprints that the public half shows too do not count.

Winnowing keeps the least hash of every window of 4 runs (Schleimer, Wilkerson
and Aiken 2003, SIGMOD, 76): enough to notice a copy, and the most that should
lie on a student's machine.
"""

from __future__ import annotations

import ast
import hashlib
import json
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any

from course.syntax import parse

LETTERS, TOKENS, WORDS = 12, 10, 7
WINDOW = 4
#: Statements with fewer nodes of their syntax tree are anybody's.
SMALLEST_TREE = 14
KINDS = ("letters", "tokens", "trees", "words")

_TOKEN = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\*\*|//|<=|>=|==|!=|->|[^\w\s]")
_COMMENT = re.compile(r"#[^\n]*")
_KEYWORDS = frozenset(
    [
        *keyword.kwlist,
        "range",
        "len",
        "max",
        "min",
        "sum",
        "abs",
        "zip",
        "enumerate",
        "float",
        "int",
        "sorted",
    ]
)

Hashes = frozenset[int]


@dataclass(frozen=True)
class Fingerprint:
    """What is remembered of one function or answer.

    Attributes
    ----------
    assignment, name : str
    letters, tokens, words : frozenset of int
        Hashes of runs.
    trees : mapping of int to int
        Hash of a statement to its weight.
    """

    assignment: str
    name: str
    letters: Hashes = frozenset()
    tokens: Hashes = frozenset()
    words: Hashes = frozenset()
    trees: Mapping[int, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain: dict[str, Any] = {"assignment": self.assignment, "name": self.name}
        for kind in ("letters", "tokens", "words"):
            plain[kind] = sorted(getattr(self, kind))
        return plain | {"trees": {str(key): weight for key, weight in sorted(self.trees.items())}}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Fingerprint:
        """The inverse of `to_json`."""
        letters, tokens, words = (frozenset(plain[kind]) for kind in ("letters", "tokens", "words"))
        trees = {int(key): weight for key, weight in plain["trees"].items()}
        return cls(plain["assignment"], plain["name"], letters, tokens, words, trees)


@dataclass
class Shown:
    """Hashes a text shows, of each kind."""

    letters: set[int] = field(default_factory=set)
    tokens: set[int] = field(default_factory=set)
    words: set[int] = field(default_factory=set)
    trees: set[int] = field(default_factory=set)

    def add(self, text: str) -> Shown:
        """Add what `text` shows."""
        self.letters.update(letter_runs(text))
        self.tokens.update(token_runs(text))
        self.words.update(word_runs(text))
        self.trees.update(key for key, _ in trees(text))
        return self


def of_solution(
    assignment: str, code: str, public: Iterable[str] = (), *, winnow: bool = False
) -> list[Fingerprint]:
    """Fingerprint every function of a solution, less what the public texts show.

    Parameters
    ----------
    assignment, code : str
    public : iterable of str
        What everyone has: the starter, the public tests.
    winnow : bool
        Keep only what may lie on a student's machine.
    """
    known = Shown()
    for text in public:
        known.add(text)
    lines = code.splitlines()
    found = []
    for node in parse(code).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        body = [statement for statement in node.body if not _is_docstring(statement)]
        if not body:
            continue
        text = _COMMENT.sub("", "\n".join(lines[body[0].lineno - 1 : node.end_lineno]))
        weights = {key: weight for statement in body for key, weight in _trees_of(statement)}
        found.append(
            Fingerprint(
                assignment,
                node.name,
                _selected(letter_runs(text), winnow) - known.letters,
                _selected(token_runs(text), winnow) - known.tokens,
                frozenset(),
                {key: weight for key, weight in weights.items() if key not in known.trees},
            )
        )
    return found


def of_answer(
    assignment: str, name: str, texts: Iterable[str], public: Iterable[str] = (), *, winnow: bool = False
) -> Fingerprint:
    """Fingerprint the reference answers of a written question; see `of_solution`."""
    known = set(chain.from_iterable(word_runs(text) for text in public))
    words = chain.from_iterable(_selected(word_runs(text), winnow) for text in texts)
    return Fingerprint(assignment, name, words=frozenset(words) - known)


def _selected(hashes: Iterable[int], winnow: bool) -> Hashes:
    """All hashes, or the least of each window of `WINDOW`."""
    listed = list(hashes)
    if not winnow or len(listed) <= WINDOW:
        return frozenset(listed)
    return frozenset(min(listed[i : i + WINDOW]) for i in range(len(listed) - WINDOW + 1))


def letter_runs(text: str) -> Iterator[int]:
    """Hashes of all runs of letters and digits."""
    squashed = re.sub(r"[\W_]+", "", text.lower())
    return (digest(squashed[i : i + LETTERS]) for i in range(len(squashed) - LETTERS + 1))


def token_runs(text: str) -> Iterator[int]:
    """Hashes of all runs of code tokens with their names abstracted."""
    kept = abstracted(text)
    return (digest("\x01" + " ".join(kept[i : i + TOKENS])) for i in range(len(kept) - TOKENS + 1))


def word_runs(text: str) -> Iterator[int]:
    """Hashes of all runs of words."""
    words = re.findall(r"[^\W_]+", text.lower())
    return (digest("\x02" + " ".join(words[i : i + WORDS])) for i in range(len(words) - WORDS + 1))


def abstracted(text: str) -> list[str]:
    """Tokens of code; a name is N, unless it follows a dot or belongs to the language.

    Examples
    --------
    >>> " ".join(abstracted("half = stats.norm.ppf(0.5 + level / 2)  # quantile"))
    'N = N . norm . ppf ( 0.5 + N / 2 )'
    """
    tokens = []
    previous = ""
    for token in _TOKEN.findall(_COMMENT.sub("", text)):
        is_name = token[0].isalpha() or token[0] == "_"
        keep = not is_name or previous == "." or token in _KEYWORDS
        tokens.append(token if keep else "N")
        previous = token
    return tokens


def trees(text: str) -> Iterator[tuple[int, int]]:
    """Hash and weight of every statement that can be parsed anywhere in `text`."""
    for block in _blocks(text):
        for statement in block:
            yield from _trees_of(statement)


@lru_cache(maxsize=1 << 16)
def digest(piece: str) -> int:
    """48 bits of a one-way hash; what was said a moment ago is read again with every text that follows."""
    return int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=6, person=b"statml.guard").digest())


def save(fingerprints: Iterable[Fingerprint]) -> str:
    """Fingerprints as JSON text."""
    return json.dumps({"version": 1, "fingerprints": [f.to_json() for f in fingerprints]}) + "\n"


def read(text: str) -> list[Fingerprint]:
    """The inverse of `save`."""
    return [Fingerprint.from_json(plain) for plain in json.loads(text)["fingerprints"]]


def _blocks(text: str) -> Iterator[list[ast.stmt]]:
    """Parse what can be parsed: the longest runs of lines from each line on that are Python."""
    lines = [re.sub(r"^\s*(?:>>> |\.\.\. |[|>] ?|\d+[.:)] )", "", line) for line in text.splitlines()]
    start = 0
    while start < len(lines):
        if not re.search(r"[=(\[]|return", lines[start]):
            start += 1
            continue
        stop = min(len(lines), start + 40)
        while stop > start:
            parsed, wrong = _parsed("\n".join(lines[start:stop]))
            if parsed:
                yield parsed
                start = stop - 1
                break
            # what holds the line that is wrong is wrong as well
            stop = min(stop - 1, start + wrong - 1)
        start += 1


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[list[ast.stmt], int]:
    """Statements, or none and the line (from 1) that cannot be read."""
    import textwrap

    body, head = textwrap.dedent(text), 0
    if re.match(r"\s*(?:return|yield)\b", body) or "\n" in body:
        body, head = "def _():\n" + textwrap.indent(body, " "), 1
    last = text.count("\n") + 1
    try:
        return parse(body).body, 0
    except SyntaxError as error:
        return [], max(min((error.lineno or last) - head, last), 1)
    except (ValueError, RecursionError, MemoryError):
        return [], last


def _trees_of(statement: ast.AST) -> Iterator[tuple[int, int]]:
    for node in ast.walk(statement):
        if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.For | ast.If | ast.With):
            weight = sum(1 for _ in ast.walk(node))
            if weight >= SMALLEST_TREE and not _is_docstring(node):
                with suppress(RecursionError):  # a chain of hundreds of operations: nobody's solution
                    yield digest("\x03" + _shape(node)), weight


def _shape(node: ast.AST) -> str:
    """The tree as text: names numbered in the order they appear, attributes and constants kept."""
    names: dict[str, str] = {}

    def text(value: Any) -> str:
        if isinstance(value, ast.Name):
            return names.setdefault(value.id, f"N{len(names)}")
        if isinstance(value, ast.arg):
            return names.setdefault(value.arg, f"N{len(names)}")
        if isinstance(value, ast.expr_context):
            return ""
        if isinstance(value, ast.AST):
            parts = (text(part) for name, part in ast.iter_fields(value) if name != "type_comment")
            return f"{type(value).__name__}({','.join(parts)})"
        if isinstance(value, list):
            return f"[{','.join(text(part) for part in value)}]"
        return repr(value)

    return text(node)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )

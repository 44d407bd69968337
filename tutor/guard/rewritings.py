"""Ways to write a solution down in another layout, in another language, or in words."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Callable

_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_JULIA = {
    r"\bnp\.(\w+)": r"\1",
    r"\blinalg\.(\w+)": r"LinearAlgebra.\1",
    r"\bstats\.norm\.ppf\b": "quantile.(Normal(),",
    r" @ ": " * ",
    r"\*\*": ".^",
    r" \* ": " .* ",
    r" / ": " ./ ",
    r"\.T\b": "'",
    r"\blen\(": "length(",
    r"\baxis=": "dims=",
    r"\bTrue\b": "true",
    r"\bFalse\b": "false",
    r"\bNone\b": ":",
    r"^(\s*for .*):$": r"\1",
}
_R = {
    r"\b(?:np|linalg)\.(\w+)": r"\1",
    r"\bstats\.norm\.ppf\b": "qnorm",
    r" @ ": " %*% ",
    r"\*\*": "^",
    r"(\w+)\.T\b": r"t(\1)",
    r" = ": " <- ",
    r"\blen\(": "length(",
    r"\breturn (.*)": r"return(\1)",
    r"\bTrue\b": "TRUE",
    r"\bFalse\b": "FALSE",
    r"_": ".",
    r"\[:, None\]": "",
    r"^(\s*)for (\w+) in (.*):$": r"\1for (\2 in \3) {",
}


def _translated(words: dict[str, str]) -> Callable[[str], str]:
    def translate(code: str) -> str:
        for pattern, word in words.items():
            code = re.sub(pattern, word, code, flags=re.M)
        return code

    return translate


def _tokens(code: str) -> list[str]:
    kept = tokenize.generate_tokens(io.StringIO(textwrap.dedent(code)).readline)
    return [token.string for token in kept if token.string.strip()]


def _latex(code: str) -> str:
    escaped = re.sub(r"([_#%&{}])", r"\\\1", code)
    return "\\begin{lstlisting}[language=Python]\n" + escaped + "\n\\end{lstlisting}"


def _mathematics(code: str) -> str:
    text = re.sub(r"\b(?:np|linalg|stats)\.(\w+)", r"\\operatorname{\1}", code)
    text = re.sub(r"\.T\b", r"^{\\top}", text).replace(" @ ", " ").replace("**", "^").replace("_", r"\_")
    return "\n".join(f"$$ {line.strip()} $$" for line in text.splitlines() if line.strip())


def _diff(code: str) -> str:
    lines = [f"-    # line {i}\n+    {line}" for i, line in enumerate(code.splitlines())]
    return "--- a/answer.py\n+++ b/answer.py\n@@ -1 +1 @@\n" + "\n".join(lines)


def _numbers_as_words(code: str) -> str:
    def word(match: re.Match[str]) -> str:
        return " ".join("point" if c == "." else _DIGITS[int(c)] for c in match.group())

    return re.sub(r"(?<![\w.])\d+(?:\.\d+)?", word, code)


def _tree(code: str) -> str:
    return ast.dump(ast.parse(_function(code)), indent=1)


def _rewritten(code: str) -> str:
    """The same computation by other calls."""
    for pattern, other in {
        r"\*\*2\b": "**2.0",
        r"\bnp\.": "numpy.",
        r"\blinalg\.": "scipy.linalg.",
        r"(\w+) @ (\w+)": r"numpy.dot(\1, \2)",
        r"\.T\b": ".transpose()",
        r"\blen\((\w+)\)": r"\1.shape[0]",
        r"\b(\w+)\.mean\(": r"numpy.mean(\1, ",
    }.items():
        code = re.sub(pattern, other, code)
    return code


def _function(code: str) -> str:
    return "def answer():\n" + textwrap.indent(code, "    ")


def _fillers(code: str) -> str:
    words = ["well", "then", "now", "so", "here", "next", "and", "also", "but", "thus"]
    return " ".join(f"{token} {words[i % 10]}" for i, token in enumerate(_tokens(code)))


def _two_columns(code: str) -> str:
    lines = code.splitlines()
    return "\n".join([*lines[::2], "and between them", *lines[1::2]])


#: From code to text.
REWRITINGS: dict[str, Callable[[str], str]] = {
    "one token a line": lambda code: "\n".join(_tokens(code)),
    "a table cell a token": lambda code: "| " + " | ".join(_tokens(code)) + " |",
    "LaTeX listing": _latex,
    "LaTeX formulas": _mathematics,
    "a diff": _diff,
    "strings to be joined": lambda code: " + ".join(repr(code[i : i + 7]) for i in range(0, len(code), 7)),
    "every second line first": _two_columns,
    "a word after every token": _fillers,
    "numbers as words": _numbers_as_words,
    "syntax tree": _tree,
    "other calls": _rewritten,
    "Julia": _translated(_JULIA),
    "R": _translated(_R),
}

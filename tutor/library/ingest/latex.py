"""LaTeX sources into Markdown: sections as headings, equations and cite keys kept, floats left out.

A pass of our own does what a converter of text would lose: it follows
``\\input``, expands ``\\newcommand``, keeps mathematics as ``$...$``, writes
``\\citep{a,b}`` as ``[a, b]``, and turns sectioning into headings, under which
passages are found and cited. What remains is text with macros, which
`pylatexenc` turns into Unicode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from statml.errors import MissingExtraError
from tutor.library.chunks import Document, Rejected

#: How deep \input is followed, and how often a macro is expanded.
DEPTH, EXPANSIONS = 10, 8

_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*?(?:\n[ \t]*|$)")
_INPUT = re.compile(r"\\(?:input|include|subfile)\s*\{([^{}]+)\}")
_BODY = re.compile(r"\\begin\s*\{document\}(.*?)(?:\\end\s*\{document\}|\Z)", re.DOTALL)
_FLOATS = re.compile(
    r"\\begin\s*\{((?:figure|table|deluxetable|longtable|sidewaysfigure|sidewaystable|tikzpicture|thebibliography)\*?)\}"
    r".*?\\end\s*\{\1\}",
    re.DOTALL,
)
_DISPLAY = re.compile(
    r"\\begin\s*\{((?:equation|align|eqnarray|gather|multline|displaymath|flalign)\*?)\}(.*?)\\end\s*\{\1\}"
    r"|\\\[(.*?)\\\]|\$\$(.*?)\$\$",
    re.DOTALL,
)
_INLINE = re.compile(r"\\\((.*?)\\\)|(?<!\\)\$((?:[^$\\]|\\.)+?)\$", re.DOTALL)
_CITE = re.compile(r"\\(?:[cC]ite\w*|nocite)\*?\s*(?:\[[^\]]*\]\s*){0,2}\{([^{}]*)\}")
_SECTIONS = {"part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5}
_SECTION = re.compile(
    r"\\(part|chapter|section|subsection|subsubsection|paragraph)\*?\s*(?:\[[^\]]*\])?\s*(?=\{)"
)
_DROPPED = re.compile(
    r"\\(?:label|bibliography|bibliographystyle|vspace|hspace|thanks|footnotetext|email|affil|altaffiltext)"
    r"\*?\s*\{[^{}]*\}|\\(?:maketitle|appendix|acknowledgments|tableofcontents|newpage|clearpage|noindent)\b"
)
_MACRO = re.compile(
    r"\\(?:re)?newcommand\*?\s*\{?\s*(\\[A-Za-z]+)\s*\}?\s*(?:\[(\d)\])?\s*(?=\{)|\\def\s*(\\[A-Za-z]+)\s*(?=\{)"
)
# stands for a kept piece while pylatexenc works on the rest; no such characters come from an author
_MARK = "\ue000{}\ue001"
_MARKED = re.compile("\ue000(\\d+)\ue001")


def read(path: Path, source_id: str) -> Iterator[Document | Rejected]:
    """One document of kind ``latex``, for local use only."""
    source = _expanded(_load(path, DEPTH))
    title = _argument_of(source, "title")
    text = markdown(source)
    if not text.strip():
        yield Rejected(str(path), "holds no text")
        return
    yield Document(source_id, plain(title) or path.stem, text, "latex", str(path), {"local_only": True})


def parts(paths: Iterable[Path]) -> set[Path]:
    """Those of `paths` that another one of them inputs."""
    found: set[Path] = set()
    for path in paths:
        try:
            text = _COMMENT.sub(r"\1", path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        found.update(_place(path, name).resolve() for name in _INPUT.findall(text))
    return found


def markdown(source: str) -> str:
    """Turn a LaTeX source, inputs already followed, into Markdown.

    Examples
    --------
    >>> print(markdown(r"\\section{Mass} The halo \\citep{li21} has $M_{200}$ near \\textit{one}."))
    ## Mass
    <BLANKLINE>
    The halo [li21] has $M_{200}$ near one.
    """
    source = _expanded(source)
    abstract = _environment(source, "abstract")
    body = _BODY.search(source)
    text = body.group(1) if body else source
    text = re.sub(r"\\begin\s*\{abstract\}.*?\\end\s*\{abstract\}", "", text, flags=re.DOTALL)
    if abstract:
        text = f"\\section{{Abstract}}\n{abstract}\n\n{text}"
    kept: list[str] = []

    def keep(piece: str) -> str:
        kept.append(piece)
        return _MARK.format(len(kept) - 1)

    text = _FLOATS.sub("", text)
    text = _DISPLAY.sub(lambda m: keep(f"\n$$\n{_equation(m)}\n$$\n"), text)
    text = _INLINE.sub(lambda m: keep(f"${(m.group(1) or m.group(2)).strip()}$"), text)
    text = _CITE.sub(lambda m: keep("[" + ", ".join(k.strip() for k in m.group(1).split(",")) + "]"), text)
    text = re.sub(r"\\(?:eq)?ref\s*\{([^{}]*)\}", lambda m: keep(f"({m.group(1)})"), text)
    text = _headings(_DROPPED.sub("", text), keep)
    text = _unicode(text)
    while _MARKED.search(text):  # a heading may hold an equation
        text = _MARKED.sub(lambda m: kept[int(m.group(1))], text)
    text = re.sub(r"[ \t\u00a0]+", " ", text)
    return re.sub(r"\n[ \t]*(?:\n[ \t]*)+", "\n\n", text).strip()


def plain(text: str) -> str:
    """A short LaTeX text (a title, a name) as one line of Unicode, mathematics kept."""
    return " ".join(markdown(text).split()) if text else ""


def _load(path: Path, depth: int) -> str:
    """The source without comments, its inputs in their places; one that is not there is passed over."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    text = _COMMENT.sub(r"\1", text)
    if depth == 0:
        return text

    def included(match: re.Match[str]) -> str:
        place = _place(path, match.group(1))
        # what lies outside the source's own folder is none of its parts
        if not place.is_file() or not place.resolve().is_relative_to(path.parent.resolve()):
            return ""
        return _load(place, depth - 1)

    return _INPUT.sub(included, text)


def _place(path: Path, name: str) -> Path:
    name = name.strip()
    return path.parent / (name if name.endswith(".tex") else name + ".tex")


def _expanded(source: str) -> str:
    """Expand the author's own macros, and leave their definitions out."""
    macros: dict[str, tuple[int, str]] = {}
    pieces, position = [], 0
    for match in _MACRO.finditer(source):
        if match.start() < position:
            continue
        body, end = _group(source, match.end())
        macros[match.group(1) or match.group(3)] = (int(match.group(2) or 0), body)
        pieces.append(source[position : match.start()])
        position = end
    text = "".join([*pieces, source[position:]])
    if not macros:
        return text
    used = re.compile(
        "(" + "|".join(re.escape(name) for name in sorted(macros, key=len, reverse=True)) + r")(?![A-Za-z])"
    )
    for _ in range(EXPANSIONS):
        expanded = _once(text, used, macros)
        if expanded == text or len(expanded) > 4 * len(source) + 10_000:
            break
        text = expanded
    return text


def _once(text: str, used: re.Pattern[str], macros: dict[str, tuple[int, str]]) -> str:
    pieces, position = [], 0
    for match in used.finditer(text):
        if match.start() < position:
            continue
        number, body = macros[match.group(1)]
        end = match.end()
        for argument in range(1, number + 1):
            value, end = _group(text, end)
            body = body.replace(f"#{argument}", value)
        if not number:
            end += len(re.match(r"(?:\{\})?", text[end : end + 2]).group())  # type: ignore[union-attr]
        pieces += [text[position : match.start()], body]
        position = end
    return "".join([*pieces, text[position:]])


def _group(text: str, start: int) -> tuple[str, int]:
    """The braced group at `start` (blanks before it allowed) and where it ends; else the next character."""
    while start < len(text) and text[start].isspace():
        start += 1
    if start >= len(text) or text[start] != "{":
        return text[start : start + 1], start + 1
    depth = 0
    for place in range(start, len(text)):
        if text[place] in "{}" and (place == 0 or text[place - 1] != "\\"):
            depth += 1 if text[place] == "{" else -1
            if depth == 0:
                return text[start + 1 : place], place + 1
    return text[start + 1 :], len(text)


def _headings(text: str, keep: Any) -> str:
    pieces, position = [], 0
    for match in _SECTION.finditer(text):
        name, end = _group(text, match.end())
        heading = " ".join(_unicode(name).split())
        pieces += [
            text[position : match.start()],
            keep(f"\n\n{'#' * _SECTIONS[match.group(1)]} {heading}\n\n"),
        ]
        position = end
    return "".join([*pieces, text[position:]])


def _equation(match: re.Match[str]) -> str:
    body = next(group for group in match.groups()[1:] if group is not None)
    return " ".join(re.sub(r"\\(?:label|nonumber|notag)\b(?:\s*\{[^{}]*\})?", "", body).split())


def _environment(source: str, name: str) -> str:
    match = re.search(rf"\\begin\s*\{{{name}\}}(.*?)\\end\s*\{{{name}\}}", source, re.DOTALL)
    return match.group(1).strip() if match else _argument_of(source, name)


def _argument_of(source: str, command: str) -> str:
    match = re.search(rf"\\{command}\*?\s*(?:\[[^\]]*\])?\s*(?=\{{)", source)
    return _group(source, match.end())[0].strip() if match else ""


@lru_cache(maxsize=1)
def _converter() -> Any:
    try:
        from pylatexenc.latex2text import LatexNodes2Text
    except ImportError as error:
        raise MissingExtraError("LaTeX needs pylatexenc: install statml[tutor]") from error
    return LatexNodes2Text(math_mode="verbatim", keep_comments=False, strict_latex_spaces=False)


def _unicode(text: str) -> str:
    if not any(mark in text for mark in ("\\", "{", "~", "--", "``", "''")):
        return text
    try:
        return str(_converter().latex_to_text(text))
    except RecursionError as error:
        raise ValueError("its braces are nested too deeply") from error

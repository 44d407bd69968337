"""What arXiv answers, read: a page of its OAI-PMH (``metadataPrefix=arXiv``) or of its API (Atom)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

_OAI = "{http://www.openarchives.org/OAI/2.0/}"
_PAPER = "{http://arxiv.org/OAI/arXiv/}"
_ATOM = "{http://www.w3.org/2005/Atom}"
_SEARCH = "{http://a9.com/-/spec/opensearch/1.1/}"


@dataclass(frozen=True)
class Page:
    """One answer.

    Attributes
    ----------
    papers : list of dict
        As `tutor.library.ingest.records.record` takes them.
    token : str
        Where the next page begins (OAI-PMH); empty at the last.
    total : int
        Papers of the whole answer, 0 where it does not say.
    error, message : str
        OAI-PMH's code and words for what went wrong; empty if nothing did.
    """

    papers: list[dict[str, Any]] = field(default_factory=list)
    token: str = ""
    total: int = 0
    error: str = ""
    message: str = ""


def parse(xml: bytes) -> Page:
    """Read an answer of either kind.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise ValueError("declares entities; answers of arXiv do not")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise ValueError(f"is not readable XML: {error}") from error
    if root.tag == f"{_OAI}OAI-PMH":
        return _oai(root)
    if root.tag == f"{_ATOM}feed":
        return _atom(root)
    raise ValueError("is no answer of arXiv (OAI-PMH or Atom)")


def _oai(root: Element) -> Page:
    error = root.find(f"{_OAI}error")
    if error is not None:
        return Page(error=error.get("code", "unknown"), message=_words(error.text))
    papers = [
        _oai_paper(paper)
        for record in root.iter(f"{_OAI}record")
        for paper in record.iter(f"{_PAPER}arXiv")  # a withdrawn record has a header alone
    ]
    token = next(root.iter(f"{_OAI}resumptionToken"), None)
    if token is None:
        return Page(papers)
    size = token.get("completeListSize", "0")
    return Page(papers, (token.text or "").strip(), int(size) if size.isdigit() else 0)


def _oai_paper(paper: Element) -> dict[str, Any]:
    authors = [
        _words(f"{author.findtext(f'{_PAPER}forenames', '')} {author.findtext(f'{_PAPER}keyname', '')}")
        for author in paper.iter(f"{_PAPER}author")
    ]
    return {
        "id": _words(paper.findtext(f"{_PAPER}id")),
        "title": _words(paper.findtext(f"{_PAPER}title")),
        "abstract": _words(paper.findtext(f"{_PAPER}abstract")),
        "authors": authors,
        "categories": (paper.findtext(f"{_PAPER}categories") or "").split(),
        "created": _words(paper.findtext(f"{_PAPER}created")),
        "license": _words(paper.findtext(f"{_PAPER}license")),
    }


def _atom(root: Element) -> Page:
    total = root.findtext(f"{_SEARCH}totalResults") or "0"
    entries = root.findall(f"{_ATOM}entry")
    if len(entries) == 1 and "/api/errors" in (entries[0].findtext(f"{_ATOM}id") or ""):
        return Page(error="api", message=_words(entries[0].findtext(f"{_ATOM}summary")))
    return Page([_atom_paper(entry) for entry in entries], total=int(total) if total.isdigit() else 0)


def _atom_paper(entry: Element) -> dict[str, Any]:
    address = entry.findtext(f"{_ATOM}id") or ""
    return {
        "id": re.sub(r"v\d+$", "", address.rpartition("/abs/")[2].strip()),
        "title": _words(entry.findtext(f"{_ATOM}title")),
        "abstract": _words(entry.findtext(f"{_ATOM}summary")),
        "authors": [_words(a.findtext(f"{_ATOM}name")) for a in entry.iter(f"{_ATOM}author")],
        "categories": [c.get("term", "") for c in entry.iter(f"{_ATOM}category")],
        "created": (entry.findtext(f"{_ATOM}published") or "")[:10],
    }


def _words(text: str | None) -> str:
    return " ".join((text or "").split())

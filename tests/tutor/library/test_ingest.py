"""Readers: what each kind of file becomes, and that broken ones are reported and skipped."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tutor.library import Document, Rejected, cut, read
from tutor.library.ingest.bibtex import read as read_bib
from tutor.library.ingest.latex import markdown, plain
from tutor.library.ingest.records import arxiv_year

PAPER = r"""
\documentclass{aastex631}
\newcommand{\feh}{[\mathrm{Fe}/\mathrm{H}]}
\newcommand{\vect}[1]{\mathbf{#1}}
\def\msun{M_\odot}
\title{A study of $\feh$ in \emph{halo} stars}
\begin{document}
\maketitle
\begin{abstract}
We measure $\feh$ for 100~stars. % hidden \section{No}
About 20\% are poor.
\end{abstract}
\section{Introduction}\label{sec:intro}
Stars move at 220 km/s \citep[e.g.][]{li21,ting19}, as \citet{york04} said -- indeed. M\"uller agreed.
\begin{equation}\label{eq:a}
 \vect{x} = A\vect{y} + \sqrt{\msun}
\end{equation}
\input{sections/method}
\begin{figure}\includegraphics{a.png}\caption{A caption that is left out.}\end{figure}
\end{document}
"""
METHOD = r"""
\subsection{The \feh\ scale}
We calibrate with \textbf{open clusters} and see Equation~\ref{eq:a}.
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "paper" / "sections").mkdir(parents=True)
    (tmp_path / "paper" / "main.tex").write_text(PAPER)
    (tmp_path / "paper" / "sections" / "method.tex").write_text(METHOD)
    return tmp_path / "paper"


def test_latex_keeps_equations_cite_keys_and_sections(source: Path) -> None:
    (paper,) = read([source])  # the input is a part, no document of its own
    assert isinstance(paper, Document) and paper.kind == "latex"
    assert paper.title == r"A study of $[\mathrm{Fe}/\mathrm{H}]$ in halo stars"
    assert paper.details["local_only"] is True
    for kept in (
        "$$\n\\mathbf{x} = A\\mathbf{y} + \\sqrt{M_\\odot}\n$$",
        "[li21, ting19], as [york04] said – indeed. Müller agreed",
        "100 stars",
        "About 20% are poor",
        "open clusters and see Equation (eq:a)",
    ):
        assert kept in paper.text, kept
    for dropped in ("hidden", "caption", "includegraphics", "label", "newcommand", "maketitle"):
        assert dropped not in paper.text
    sections = {chunk.section for chunk in cut(paper)}
    assert sections == {"Abstract", "Introduction", "Introduction > The [Fe/H] scale"}
    assert all(paper.text[c.start : c.end] == c.text for c in cut(paper))


def test_latex_inputs_stay_in_their_folder(source: Path) -> None:
    (source.parent / "secret.tex").write_text("A secret.")
    (source / "main.tex").write_text(PAPER.replace("sections/method", "../secret"))
    papers = [d for d in read([source / "main.tex"]) if isinstance(d, Document)]
    assert len(papers) == 1 and "secret" not in papers[0].text


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"{\AE}ther and $\alpha$-enhancement", r"Æther and $\alpha$-enhancement"),
        (r"$[\alpha/{\rm Fe}]$", r"$[\alpha/{\rm Fe}]$"),
        ("plain words", "plain words"),
        ("", ""),
    ],
)
def test_short_latex(latex: str, text: str) -> None:
    assert plain(latex) == text


@pytest.mark.parametrize(
    "hostile",
    [
        r"\newcommand{\a}{\a\a}\a",
        r"\newcommand{\a}{\b\b\b\b}\newcommand{\b}{\c\c\c\c\c\c\c\c}\newcommand{\c}{\a\a\a\a\a\a\a\a}\a",
        r"\begin{equation} x",
        r"\section{",
        r"\cite{",
        "$" * 99,
        r"\def\a",
    ],
)
def test_hostile_latex_ends(hostile: str) -> None:
    assert len(markdown(hostile)) < 100_000


def test_latex_nested_too_deeply_is_reported(tmp_path: Path) -> None:
    (tmp_path / "deep.tex").write_text("\\title{x} " + "{" * 5000 + "a" + "}" * 5000)
    (rejected,) = read([tmp_path])
    assert isinstance(rejected, Rejected) and "nested too deeply" in rejected.reason


BIB = r"""
@string{pub = "A. Pub"}
@comment{ignored, title = {Not this}}
@ARTICLE{2021ApJ...1A,
   author = {{M{\"u}ller-Horn}, Johanna and {Ting}, Yuan-Sen},
    title = "{A title with {N}ested $\alpha$ braces}",
  journal = {\apj}, year = 2021, eprint={2101.00001}, primaryClass = {astro-ph.GA},
  abstract = "{We do things. 5\% better.}" }
@book{b1, title={A Book}, author={Doe, Jane}, year={1999}, publisher=pub # " Inc", doi = {10.1/x}}
@misc{notitle, year = 2000}
@misc{broken, title={x
"""


def test_bibtex(tmp_path: Path) -> None:
    path = tmp_path / "refs.bib"
    path.write_text(BIB)
    first, second, *rejected = read_bib(path, "refs.bib")
    assert first == Document(
        "2101.00001",
        r"A title with Nested $\alpha$ braces",
        "We do things. 5% better.",
        "abstract",
        str(path),
        {
            "authors": ["Johanna Müller-Horn", "Yuan-Sen Ting"],
            "bibtex_key": "2021ApJ...1A",
            "year": 2021,
            "categories": ["astro-ph.GA"],
            "url": "https://arxiv.org/abs/2101.00001",
        },
    )
    assert isinstance(second, Document)
    assert (second.source_id, second.kind, second.text) == ("doi:10.1/x", "reference", "A Book. 1999.")
    assert [type(one) for one in rejected] == [Rejected, Rejected]
    assert "has no title" in rejected[0].reason and "never closed" in rejected[1].reason  # type: ignore[union-attr]


def test_a_notebook_gives_text_and_code_without_outputs(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Kernels\n", "A Matern kernel."]},
        {"cell_type": "code", "source": "# no heading\nx = 1", "outputs": [{"text": "printed"}]},
        {"cell_type": "raw", "source": "raw"},
        "no cell",
    ]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    (tmp_path / "empty.ipynb").write_text(json.dumps({"cells": []}))
    (tmp_path / "old.ipynb").write_text(json.dumps({"worksheets": []}))
    (tmp_path / "torn.ipynb").write_text("{")
    empty, notebook, old, torn = read([tmp_path])
    assert isinstance(notebook, Document) and notebook.title == "Kernels" and notebook.kind == "notebook"
    assert notebook.text == "# Kernels\nA Matern kernel.\n\n```python\n# no heading\nx = 1\n```"
    assert {chunk.section for chunk in cut(notebook)} == {"Kernels"}
    assert all(isinstance(one, Rejected) for one in (empty, old, torn))


SNAPSHOT: list[dict[str, Any]] = [
    {
        "id": "0704.0001",
        "submitter": "x",
        "title": "Halos\n  of galaxies",
        "abstract": "  We study\nhaloes.\n",
        "categories": "astro-ph.GA hep-ph",
        "license": None,
        "authors_parsed": [["Li", "Zefeng", ""], ["Ting", "Y.-S.", ""]],
        "update_date": "2008-11-26",
    },
    {"id": "0704.0002", "title": "Graphs", "abstract": "No.", "categories": "math.CO", "authors_parsed": []},
    {"id": "0704.0003", "title": "Torn", "categories": "astro-ph", "authors_parsed": []},
]


def test_the_snapshot_is_streamed_and_filtered(tmp_path: Path) -> None:
    path = tmp_path / "arxiv-metadata-oai-snapshot.json"
    path.write_text("\n".join(json.dumps(entry) for entry in SNAPSHOT))
    zipped = tmp_path / "snapshot.json.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    for one in (path, zipped):
        paper, torn = read([one])
        assert isinstance(paper, Document) and isinstance(torn, Rejected)
        assert (paper.source_id, paper.title, paper.text) == (
            "0704.0001",
            "Halos of galaxies",
            "We study haloes.",
        )
        assert paper.details == {
            "authors": ["Zefeng Li", "Y.-S. Ting"],
            "categories": ["astro-ph.GA", "hep-ph"],
            "year": 2007,
            "url": "https://arxiv.org/abs/0704.0001",
        }
        assert "has no abstract" in torn.reason
    assert list(read([tmp_path])) == []  # json is read where it is named


def test_years_of_arxiv_numbers() -> None:
    assert [
        arxiv_year(one) for one in ("2507.09622v2", "0704.0001", "astro-ph/9901001", "gr-qc/0001001")
    ] == [
        2025,
        2007,
        1999,
        2000,
    ]
    assert arxiv_year("notes/a.md") == ""


def test_pdf(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    (tmp_path / "a.pdf").write_bytes(_pdf("Gyrochronology gives ages."))
    (tmp_path / "scan.pdf").write_bytes(_pdf(""))
    (tmp_path / "torn.pdf").write_bytes(b"%PDF-1.4\nnot a pdf")
    paper, scan, torn = read([tmp_path])
    assert isinstance(paper, Document) and paper.kind == "pdf" and paper.details["local_only"] is True
    assert paper.text == "# page 1\n\nGyrochronology gives ages."
    assert isinstance(scan, Rejected) and "no text" in scan.reason
    assert isinstance(torn, Rejected)


def _pdf(text: str) -> bytes:
    """The smallest PDF that shows one line."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + (
        b"xref\n0 6\n0000000000 65535 f \n%strailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (table, len(out))
    )

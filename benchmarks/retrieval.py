"""Time of one search in a library of many passages: by words, by vectors, by both, and filtered.

Passages of the course and the docs, with their real vectors, are resampled with
noise until there are `n`: the geometry of real sentence vectors at a size the
course does not have. Texts are shuffled sentences of the same passages, years
and categories are drawn so that filters let 1, 10 and 50 per cent through.
What is timed is one question at a time, from its vector to the texts of ten
passages, SQLite's included; end to end, the encoding of the question as well.

There is no peer: the targets are those of a person who waits.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measurement import machine
from tutor import language
from tutor.library import Document, Library
from tutor.library.evaluation.benchmark import course_sections, questions
from tutor.library.index.hybrid import LibraryIndex
from tutor.library.index.minilm import MiniLM
from tutor.library.index.passages import Filter
from tutor.library.index.stored import store

#: Median milliseconds that a search may take.
TARGETS = {
    "hybrid": 25.0,
    "vectors": 25.0,
    "hybrid, 1 % of years": 30.0,
    "hybrid, 10 % of years": 30.0,
    "hybrid, 50 % of years": 30.0,
    "end to end": 80.0,
}
#: Length of the noise beside a vector of length one.
NOISE = 0.3
K = 10
#: Years of which 1, 10 and 50 per cent of the passages are.
YEARS = {1: (2001, 2001), 10: (2002, 2002), 50: (2003, 2003)}
_SEED = 20250609


def benchmark(n: int, queries: int, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Build a library of `n` passages and time `queries` searches of every way.

    Parameters
    ----------
    n : int
        Passages.
    queries : int
        Questions asked, each once in every way, the ways in turn.
    kinds : tuple of str
        Vector indexes: ``mapped``, ``chroma``.
    """
    where = machine()
    embedder = MiniLM()
    asked = [query.text for query in questions("course")][:queries]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        began = time.perf_counter()
        library = build(home / "library.sqlite", n, embedder)
        building = {"passages and vectors in SQLite": time.perf_counter() - began}
        costs = {}
        for kind in kinds:
            began = time.perf_counter()
            index = LibraryIndex(library, embedder, folder=home, vectors=kind)
            building[f"indexes, {kind}"] = time.perf_counter() - began
            began = time.perf_counter()
            LibraryIndex(library, embedder, folder=home, vectors="mapped")
            building["indexes read again"] = time.perf_counter() - began
            costs[kind] = timed(index, embedder, asked)
        library.close()
    return {
        "family": "retrieval",
        "n": n,
        "queries": len(asked),
        "k": K,
        "machine": where,
        "targets_ms": TARGETS,
        "building_s": building,
        "costs_ms": costs,
        "gpu": "not used",
    }


def build(path: Path, n: int, embedder: MiniLM) -> Library:
    """A library of `n` one-passage documents made of the course's."""
    rng = np.random.default_rng(_SEED)
    source = Library(None)
    source.add(replace(one, kind="abstract") for one in course_sections())
    passages = source.chunks()
    real = embedder([chunk.meaning for chunk in passages])
    sentences = [c.text[a:b] for c in passages for a, b in language.sentences(c.text)]
    sentences = [one for one in sentences if len(one.split()) < 60]
    picks = rng.integers(len(passages), size=n)
    draws = rng.uniform(size=n)
    year = np.select([draws < 0.01, draws < 0.11, draws < 0.61], [2001, 2002, 2003], 2004)
    library = Library(path)
    library.add(
        (
            Document(
                f"d{i:06d}",
                passages[pick].title,
                " ".join(sentences[j] for j in rng.integers(len(sentences), size=5)),
                details={"year": int(year[i]), "categories": ["astro-ph.GA" if i % 2 else "astro-ph.SR"]},
            )
            for i, pick in enumerate(picks)
        ),
        batch=20_000,
    )
    rows = library.reading().execute(
        "SELECT chunks.id, source_id FROM chunks JOIN documents ON documents.id = document ORDER BY chunks.id"
    )
    found = [(row[0], picks[int(row[1][1:])]) for row in rows]
    for start in range(0, len(found), 20_000):
        part = found[start : start + 20_000]
        vectors = real[[pick for _, pick in part]]
        vectors = vectors + NOISE * rng.normal(size=vectors.shape) / np.sqrt(vectors.shape[1])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        store(library, embedder, [identity for identity, _ in part], vectors.astype(np.float32))
    return library


def timed(index: LibraryIndex, embedder: MiniLM, asked: list[str]) -> dict[str, dict[str, float]]:
    """Milliseconds of each way of search over the questions: median, 90th percentile, and median of processor time.

    On a busy machine the wall clock counts the others' work too; the processor's does not.
    """
    vectors = embedder(asked)
    ways: dict[str, Callable[[int], Any]] = {
        "words": lambda i: index.search(asked[i], K, mode="words"),
        "vectors": lambda i: index.search_vector(asked[i], vectors[i], K, mode="vectors"),
        "hybrid": lambda i: index.search_vector(asked[i], vectors[i], K),
        "end to end": lambda i: index.search(asked[i], K),
    }
    for share, years in YEARS.items():
        only = Filter(years)
        ways[f"hybrid, {share} % of years"] = lambda i, only=only: index.search_vector(  # type: ignore[misc]
            asked[i], vectors[i], K, only=only
        )
    for way in ways.values():
        way(0)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(len(asked)):
        for name, way in ways.items():
            began, used = time.perf_counter(), time.process_time()
            way(i)
            taken[name].append(1e3 * (time.perf_counter() - began))
            spent[name].append(1e3 * (time.process_time() - used))
    return {
        name: {
            "median": float(np.median(ms)),
            "p90": float(np.quantile(ms, 0.9)),
            "cpu": float(np.median(spent[name])),
        }
        for name, ms in taken.items()
    }


def tables(record: dict[str, Any]) -> str:
    """The record as text."""
    where = record["machine"]
    lines = [
        f"retrieval: {record['n']:,} passages, {record['queries']} questions, milliseconds of one search",
        f"{where['cpu']}, {where['cores']} cores, load before {where['load_before']}, {where['date']}",
    ]
    for kind, costs in record["costs_ms"].items():
        lines.append(f"\n{kind:28s}{'median':>9s}{'p90':>9s}{'cpu':>9s}{'target':>9s}")
        for name, cost in costs.items():
            target = record["targets_ms"].get(name)
            lines.append(
                f"  {name:26s}{cost['median']:9.1f}{cost['p90']:9.1f}{cost['cpu']:9.1f}{'' if target is None else f'{target:9.0f}'}"
            )
    lines.append("\nseconds: " + json.dumps({k: round(v, 1) for k, v in record["building_s"].items()}))
    return "\n".join(lines)


def draw(record: dict[str, Any], path: Path) -> None:
    """Medians beside their targets."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    names = list(next(iter(record["costs_ms"].values())))
    height = 0.8 / len(record["costs_ms"])
    for j, (kind, costs) in enumerate(record["costs_ms"].items()):
        places = np.arange(len(names)) + j * height
        axes.barh(places, [costs[name]["median"] for name in names], height, label=kind)
    for i, name in enumerate(names):
        if name in record["targets_ms"]:
            target = record["targets_ms"][name]
            axes.plot([target, target], [i - 0.4, i + 0.8], color="k", lw=1, ls=":")
    axes.set_yticks(np.arange(len(names)) + 0.4 - height / 2, names)
    axes.invert_yaxis()
    axes.set_xlabel("median time of one search [ms]; dotted: target")
    axes.set_title(f"{record['n']:,} passages, {record['machine']['cores']} cores", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)

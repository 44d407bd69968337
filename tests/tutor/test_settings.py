"""Settings: where they come from, in which order, and one sentence for each bad value."""

from __future__ import annotations

from pathlib import Path

import pytest

from statml.errors import InputError
from tutor.settings import Settings, is_loopback, load, without_credentials


def test_defaults_ask_no_model(tmp_path: Path) -> None:
    settings = load({"TUTOR_HOME": str(tmp_path / "new")})
    assert settings == Settings(tmp_path / "new")
    assert settings.provider == "extractive" and not settings.home.exists()
    assert settings.library_path == tmp_path / "new" / "library.sqlite"


def test_without_tutor_home_the_user_s_data_folder_is_used() -> None:
    assert load({}).home.name == "astrotutor"


def test_file_then_environment_then_options(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(
        'model = "file"\nprovider = "openai"\noffline = true\ntimeout = 5\n'
    )
    env = {"TUTOR_HOME": str(tmp_path), "TUTOR_MODEL": "environment", "TUTOR_OFFLINE": "0"}
    settings = load(env)
    assert (settings.model, settings.provider, settings.offline, settings.timeout) == (
        "environment",
        "openai",
        False,
        5.0,
    )
    assert settings.with_options(model="option").model == "option"
    assert settings.with_options() == settings


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TUTOR_PROVIDER", "gpt", "TUTOR_PROVIDER must be extractive or openai or local, got 'gpt'"),
        ("TUTOR_BASE_URL", "localhost:8080", "TUTOR_BASE_URL must be a URL"),
        ("TUTOR_BASE_URL", "ftp://x", "TUTOR_BASE_URL must be a URL"),
        ("TUTOR_BASE_URL", "http://x:notaport/", "TUTOR_BASE_URL must be a URL"),
        ("TUTOR_OFFLINE", "maybe", "TUTOR_OFFLINE must be 1 or 0"),
        ("TUTOR_TIMEOUT", "soon", "TUTOR_TIMEOUT must be a number of seconds"),
        ("TUTOR_TIMEOUT", "0", "TUTOR_TIMEOUT must be a number of seconds"),
        ("TUTOR_TIMEOUT", "nan", "TUTOR_TIMEOUT must be a number of seconds"),
        ("TUTOR_API_KEY_ENV", "sk-12345", "TUTOR_API_KEY_ENV must be the name"),
    ],
)
def test_a_bad_value_names_its_variable(tmp_path: Path, variable: str, value: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        load({"TUTOR_HOME": str(tmp_path), variable: value})
    assert said in str(error.value) and "\n" not in str(error.value)
    assert "sk-12345" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modle = 'x'", "unknown entry 'modle'"),
        ("model = ", "not readable TOML"),
        ("model = 3", "model must be text, got 3"),
        ("timeout = true", "timeout must be a number"),
        ("provider = 'gpt'", "provider must be extractive or openai"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(InputError) as error:
        load({"TUTOR_HOME": str(tmp_path)})
    assert said in str(error.value) and "settings.toml" in str(error.value)


def test_home_may_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="TUTOR_HOME must name a folder"):
        load({"TUTOR_HOME": str(tmp_path / "file")})


def test_options_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--base-url must be a URL"):
        Settings(tmp_path).with_options(base_url="nowhere")


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8080/v1", True),
        ("http://127.9.9.9/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://localhost.example.org", False),
        ("http://127.0.0.1.example.org", False),
        ("http://127.0.0.1@example.org/", False),
        ("http://0.0.0.0/", False),
    ],
)
def test_loopback_is_judged_by_the_host_alone(url: str, local: bool) -> None:
    assert is_loopback(url) is local


def test_credentials_are_never_shown() -> None:
    assert without_credentials("http://u:p@[::1]:8/v1?api_key=k#f") == "http://[::1]:8/v1"
    assert "secret" not in without_credentials("http://u:secret@h:bad/")

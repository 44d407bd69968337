"""The tutor's settings: from the environment, then a small TOML file, then the defaults.

=====================  ============  =======================================
environment            settings.toml meaning
=====================  ============  =======================================
``TUTOR_HOME``         --            folder of the library and the settings
``TUTOR_PROVIDER``     provider      ``extractive`` (default), ``openai`` or ``local``
``TUTOR_BASE_URL``     base_url      the model server, e.g. http://127.0.0.1:8080/v1
``TUTOR_MODEL``        model         the name the server gives its model
``TUTOR_API_KEY_ENV``  api_key_env   name of the variable that holds the key
``TUTOR_OFFLINE``      offline       1: refuse every host but this machine
``TUTOR_TIMEOUT``      timeout       seconds to wait for one reply
=====================  ============  =======================================

and for the library's sentence vectors

========================  ==============  ===================================
``TUTOR_EMBEDDER``        embedder        ``minilm`` (default), ``none``, a model's
                                          folder, or its name on a server
``TUTOR_EMBEDDINGS_URL``  embeddings_url  a server of embeddings, up to ``/v1``
``TUTOR_VECTORS``         vectors         ``chroma`` (default), ``mapped``, or the
                                          URL of a Chroma server
========================  ==============  ===================================

The key itself is never a setting: only the name of the variable that holds it.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from statml.errors import InputError

PROVIDERS = ("extractive", "openai", "local")
VECTORS = ("chroma", "mapped")
SETTINGS_FILE = "settings.toml"

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


@dataclass(frozen=True)
class Settings:
    """What the tutor runs with.

    Attributes
    ----------
    home : Path
        Folder of the library and of ``settings.toml``.
    provider : str
        ``extractive`` quotes the library and needs no model; ``openai`` is any
        server that speaks OpenAI Chat Completions; ``local`` serves a model's
        weights on this machine.
    base_url, model : str
        The server and the model's name there; used by ``openai`` only.
    api_key_env : str
        Name of the environment variable that holds the key.
    offline : bool
        Refuse every host but this machine.
    timeout : float
        Seconds to wait for one reply.
    embedder, embeddings_url : str
        What makes sentence vectors: ``minilm``, ``none``, a folder with a
        sentence-transformers model, or the name of a model on a server.
    vectors : str
        What searches them: ``chroma``, ``mapped``, or a Chroma server's URL.
    """

    home: Path
    provider: str = "extractive"
    base_url: str = ""
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    offline: bool = False
    timeout: float = 60.0
    embedder: str = "minilm"
    embeddings_url: str = ""
    vectors: str = "chroma"

    @property
    def library_path(self) -> Path:
        """The SQLite file of the library."""
        return self.home / "library.sqlite"

    def with_options(
        self, *, provider: str | None = None, base_url: str | None = None, model: str | None = None
    ) -> Settings:
        """Return the settings with command-line options laid over them, checked again.

        Raises
        ------
        InputError
            For a value that is not accepted.
        """
        given = {"provider": provider, "base_url": base_url, "model": model}
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return _checked(replace(self, **chosen), {name: f"--{name.replace('_', '-')}" for name in chosen})


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Parameters
    ----------
    environ : mapping, optional
        Instead of ``os.environ``.

    Raises
    ------
    InputError
        For an unknown entry or a value that is not accepted; the sentence
        names the variable or the file.
    """
    env = os.environ if environ is None else environ
    home = Path(env["TUTOR_HOME"]).expanduser() if env.get("TUTOR_HOME") else _user_folder()
    if home.exists() and not home.is_dir():
        raise InputError(f"TUTOR_HOME must name a folder, got the file {home}")
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    path = home / SETTINGS_FILE
    if path.is_file():
        values.update(_read_file(path))
        origin.update(dict.fromkeys(values, f"{path}, entry"))
    for name in _names():
        variable = f"TUTOR_{name.upper()}"
        if variable in env:
            values[name] = env[variable]
            origin[name] = variable
    named = {name: _label(origin[name], name) for name in values}
    if "offline" in values:
        values["offline"] = _flag(values["offline"], named["offline"])
    if "timeout" in values:
        values["timeout"] = _seconds(values["timeout"], named["timeout"])
    for name in ("provider", "base_url", "model", "api_key_env", "embedder", "embeddings_url", "vectors"):
        if name in values and not isinstance(values[name], str):
            raise InputError(f"{named[name]} must be text, got {values[name]!r}")
    return _checked(Settings(home=home, **values), named)


def without_credentials(url: str) -> str:
    """Return `url` without user, password, query and fragment: fit to be printed.

    Examples
    --------
    >>> without_credentials("https://me:secret@example.org/v1?key=abc")
    'https://example.org/v1'
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        host = parts.hostname or ""
    except ValueError:
        return "(a base_url that is not a URL)"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}"


def is_loopback(url: str) -> bool:
    """Say whether `url` points at this machine, judged from its text alone (no look-up)."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names() -> list[str]:
    return [field.name for field in fields(Settings) if field.name != "home"]


def _label(origin: str, name: str) -> str:
    return f"{origin} {name}" if origin.endswith("entry") else origin


def _user_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("astrotutor", appauthor=False))


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable TOML: {error}") from error
    unknown = sorted(set(values) - set(_names()))
    if unknown:
        raise InputError(f"{path} has the unknown entry {unknown[0]!r}; accepted are {', '.join(_names())}")
    return values


def _flag(value: object, label: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InputError(f"{label} must be 1 or 0 (true or false), got {value!r}")


def _seconds(value: object, label: str) -> float:
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = float("nan")
    if isinstance(value, bool) or not 0 < seconds <= 3600:
        raise InputError(f"{label} must be a number of seconds above 0 and at most 3600, got {value!r}")
    return seconds


def _checked(settings: Settings, labels: Mapping[str, str]) -> Settings:
    def label(name: str) -> str:
        return labels.get(name, name)

    if settings.provider not in PROVIDERS:
        accepted = " or ".join(PROVIDERS)
        raise InputError(f"{label('provider')} must be {accepted}, got {settings.provider!r}")
    if not settings.api_key_env.isidentifier():
        # what stands here may be the key itself, pasted into the wrong place: not repeated
        raise InputError(
            f"{label('api_key_env')} must be the name of an environment variable, such as OPENAI_API_KEY"
        )
    for name in ("base_url", "embeddings_url"):
        url = getattr(settings, name)
        if url and not _is_url(url):
            raise InputError(
                f"{label(name)} must be a URL such as http://127.0.0.1:8080/v1, "
                f"got {without_credentials(url)!r}"
            )
    if settings.vectors not in VECTORS and not _is_url(settings.vectors):
        raise InputError(
            f"{label('vectors')} must be {' or '.join(VECTORS)} or the URL of a Chroma server, "
            f"got {settings.vectors!r}"
        )
    return settings


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False

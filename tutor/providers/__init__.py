"""Where answers come from: nothing but the sources (the default), a model server, or a test's script.

`open_provider` turns the settings into a provider. A server is asked only when
the settings or the command line name it; there is no hidden default.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from statml.errors import InputError
from tutor.providers.base import (
    CallLog,
    CallRecord,
    Choice,
    LoggedProvider,
    Message,
    Provider,
    Reply,
    Source,
    TokenLogprob,
    Usage,
    render,
)
from tutor.settings import Settings, without_credentials

__all__ = [
    "CallLog",
    "CallRecord",
    "Choice",
    "LoggedProvider",
    "Message",
    "Provider",
    "Reply",
    "Source",
    "TokenLogprob",
    "Usage",
    "open_provider",
    "render",
]


def open_provider(
    settings: Settings,
    *,
    log: CallLog | None = None,
    weight: Callable[[str], float] | None = None,
) -> Provider:
    """Return the provider the settings name.

    Parameters
    ----------
    settings : Settings
        See `tutor.settings.load`.
    log : callable, optional
        Receives a `CallRecord` of every call, failures too.
    weight : callable, optional
        Rarity of a term in the library, for the extractive provider.

    Raises
    ------
    InputError
        For ``openai`` without base_url or model.
    ServiceError
        For a server the settings forbid, or without its key.
    """
    provider: Provider
    if settings.provider == "extractive":
        from tutor.providers.extractive import ExtractiveProvider

        provider = ExtractiveProvider(weight)
    elif settings.provider == "local":
        from tutor.providers.local import LocalProvider

        provider = LocalProvider(settings.model or "smollm2", settings.home, timeout=settings.timeout)
    else:
        from tutor.providers.capabilities import remember, remembered
        from tutor.providers.openai_compatible import OpenAICompatibleProvider

        if not settings.base_url:
            raise InputError(
                "the provider openai needs base_url: pass --base-url http://127.0.0.1:8080/v1 "
                "or set TUTOR_BASE_URL"
            )
        if not settings.model:
            raise InputError("the provider openai needs a model: pass --model NAME or set TUTOR_MODEL")
        address = without_credentials(settings.base_url)
        provider = OpenAICompatibleProvider(
            settings.base_url,
            settings.model,
            api_key_env=settings.api_key_env,
            offline=settings.offline,
            timeout=settings.timeout,
            known=remembered(settings.home, address, settings.model),
            learned=partial(remember, settings.home, address, settings.model),
        )
    return LoggedProvider(provider, log) if log else provider

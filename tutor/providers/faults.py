"""What can go wrong with a model server, each in one sentence with its mend.

A server's words are foreign text: they come in one short line, without the key
and without the credentials of any address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from statml.errors import ServiceError
from tutor.providers.base import Usage

_MENDS = {
    401: "check the key in its environment variable",
    403: "check what the key allows",
    404: "check --base-url (it should end in /v1) and that the server has the model {model!r}",
    429: "wait, or check the account's limits",
    503: "the server is busy or still loading its model: try again in a moment",
}


class UnusableReplyError(ServiceError):
    """The server answered, and what it said is of no use; `usage` was spent all the same."""

    def __init__(self, message: str, usage: Usage) -> None:
        super().__init__(message)
        self.usage = usage


class SilentError(ServiceError):
    """The server did not answer in time; what it did meanwhile is not known."""


class Faults:
    """The sentences for the failures of one server.

    Parameters
    ----------
    shown : str
        Its address without credentials.
    model : str
    timeout : float
        Seconds it is waited for.
    secret : str
        The key, which stands in no sentence.

    Examples
    --------
    >>> str(Faults("http://127.0.0.1:1/v1", "m", 5.0).silent())
    'http://127.0.0.1:1/v1 did not answer within 5 s; is the model still loading? Raise TUTOR_TIMEOUT or try again'
    """

    def __init__(self, shown: str, model: str, timeout: float, secret: str = "") -> None:
        self._shown, self._model, self._timeout, self._secret = shown, model, timeout, secret

    def status(self, error: Any) -> ServiceError:
        """The server answered with an error."""
        status = error.status_code
        mend = _MENDS.get(
            status, "look at the server's log" if status >= 500 else "check --model and --base-url"
        )
        return ServiceError(
            f"{self._shown} answered with status {status} ({self.clean(server_message(error))}); "
            f"{mend.format(model=self._model)}"
        )

    def silent(self) -> SilentError:
        """It did not answer in time."""
        return SilentError(
            f"{self._shown} did not answer within {self._timeout:g} s; "
            "is the model still loading? Raise TUTOR_TIMEOUT or try again"
        )

    def unreachable(self, error: Exception) -> ServiceError:
        """Nobody listens there, or the connection was lost before an answer."""
        return ServiceError(
            f"cannot reach the model server at {self._shown} ({self._cause(error)}); "
            "start it, correct --base-url, or use --provider extractive"
        )

    def broke_off(self, error: Exception | None = None) -> ServiceError:
        """It ended in the middle of a streamed answer."""
        why = f" ({self._cause(error)})" if error is not None else ""
        return ServiceError(f"{self._shown} broke off in the middle of an answer{why}; ask again")

    def no_completion(self, reason: str) -> ServiceError:
        """It answered with something else than a chat completion."""
        return ServiceError(
            f"{self._shown} sent an answer that is not a chat completion ({self.clean(reason)}); "
            "does base_url end in /v1?"
        )

    def wrong_shape(self, problem: str, usage: Usage, *, cut: bool) -> UnusableReplyError:
        """The model did not keep to the asked shape, not even in the second try, or did not come to an end."""
        how = (
            f"did not return JSON of the asked shape in the tokens it had ({problem}); it may have repeated "
            "itself: choose another model with --model, or allow more tokens"
            if cut
            else "did not return JSON of the asked shape, not even when asked to repair it: "
            f"{problem}; choose another model with --model"
        )
        return UnusableReplyError(f"the model {self._model} at {self._shown} {how}", usage)

    def clean(self, text: str) -> str:
        """One short line of somebody else's text, without the key or any address's credentials."""
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        if self._secret:
            line = line.replace(self._secret, "***")
        line = re.sub(r"\b(?:sk|key|token)-[\w*-]{4,}", "***", line)
        line = re.sub(r"//[^/\s@]+@", "//***@", line)
        return line[:200] or "no reason given"

    def _cause(self, error: Exception) -> str:
        return self.clean(str(error.__cause__ or error) or type(error).__name__)


def server_message(error: Any) -> str:
    """What an error answer says, in the server's own words."""
    body = error.body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        if isinstance(inner, Mapping) and inner.get("message"):
            return f"{inner['message']} {inner.get('param') or ''}".strip()
    return str(body or error.message or "")

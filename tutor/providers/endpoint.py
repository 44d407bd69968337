"""One model at one address: requests go out, and what the server refuses is learned from its refusals.

A parameter that the server names in a refusal is left out of every later
request; JSON of a shape is asked for in the next weaker way. Nothing is sent
before `complete` or `open_stream`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from statml.errors import MissingExtraError, ServiceError
from tutor.providers.base import Schema
from tutor.providers.capabilities import FORMATS, Capabilities
from tutor.providers.faults import Faults, server_message
from tutor.providers.structured import asked
from tutor.settings import is_loopback, without_credentials

#: Answers that say "I do not do this", and not "I am busy" or "you may not".
REFUSED = (400, 404, 415, 422, 501)
_OPTIONAL = ("seed", "temperature", "logprobs", "top_logprobs", "max_tokens", "max_completion_tokens", "n")
_NOT_TAKEN = re.compile(r"support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|extra", re.I)


class Endpoint:
    """A server of Chat Completions and the model asked there.

    Parameters
    ----------
    base_url, model, api_key_env, offline, timeout, retries, environ
        As for `OpenAICompatibleProvider`.
    known : Capabilities, optional
        What is known of it from before.
    learned : callable, optional
        Told what is known each time there is something new.

    Raises
    ------
    ServiceError
        Offline and the host is not this machine, or the key is missing.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        offline: bool = False,
        timeout: float = 60.0,
        retries: int = 2,
        environ: Mapping[str, str] | None = None,
        known: Capabilities | None = None,
        learned: Callable[[Capabilities], None] | None = None,
    ) -> None:
        self.model = model
        self.shown = without_credentials(base_url)
        self._local = is_loopback(base_url)
        if offline and not self._local:
            raise ServiceError(
                f"{self.shown} is not on this machine and TUTOR_OFFLINE forbids it; "
                "unset TUTOR_OFFLINE or name a server on 127.0.0.1"
            )
        key = (os.environ if environ is None else environ).get(api_key_env, "").strip()
        if not key and not self._local:
            raise ServiceError(
                f"no key for {self.shown}: put it into the environment variable {api_key_env} "
                "(or name another variable in TUTOR_API_KEY_ENV)"
            )
        self.faults = Faults(self.shown, model, timeout, key)
        self.known = known or Capabilities()
        self._learned = learned
        self._secret, self._base_url = key, base_url
        self._retries, self._timeout = retries, timeout
        self._client: Any = None

    def complete(
        self,
        turns: Sequence[Mapping[str, str]],
        schema: Schema | None,
        options: Mapping[str, Any],
        notes: list[str],
    ) -> Any:
        """Send one request, again as long as its refusals teach something; the server's completion.

        Raises
        ------
        ServiceError
            Unreachable, too slow, refused, or the answer is no completion.
        """
        import openai

        refused: list[str] = []
        while True:
            sent, left_out = self._taken(options)
            notes.extend(f"the server does not take {name}" for name in left_out)
            form = next(kind for kind in FORMATS if kind not in refused and not self.known.lacks(kind))
            try:
                completion = self.client.chat.completions.create(
                    model=self.model, **sent, **asked(form, schema, turns)
                )
            except openai.APIStatusError as error:
                if self._teaches(error, sent):
                    continue
                if (
                    schema is not None
                    and form != "text"
                    and error.status_code in REFUSED
                    and error.status_code != 404
                ):
                    refused.append(form)
                    continue
                raise self.faults.status(error) from None
            except openai.APITimeoutError:
                raise self.faults.silent() from None
            except openai.APIConnectionError as error:
                raise self.faults.unreachable(error) from None
            except (openai.OpenAIError, ValueError) as error:
                raise self.faults.no_completion(str(error)) from None
            if not isinstance(getattr(completion, "choices", None), list) or not completion.choices:
                raise self.faults.no_completion("no choices")
            for kind in refused:  # it was the format indeed: without it the same request was taken
                self.learn(kind, "no")
            return completion

    def open_stream(
        self, turns: Sequence[Mapping[str, str]], schema: Schema | None, options: Mapping[str, Any]
    ) -> Any:
        """Ask for a stream; the openai client's, or None where the server refuses to send one.

        Raises
        ------
        openai.OpenAIError, ServiceError
            As they come: the reader of the stream meets the same ones later.
        """
        import openai

        while not self.known.lacks("stream"):
            sent, _ = self._taken(options)
            count = {} if self.known.lacks("stream_options") else {"stream_options": {"include_usage": True}}
            try:
                return self.client.chat.completions.create(
                    model=self.model, stream=True, **count, **sent, **asked(self.known.format, schema, turns)
                )
            except openai.APIStatusError as error:
                if error.status_code not in REFUSED:
                    raise self.faults.status(error) from None
                said = server_message(error)
                if count and "stream_options" in said:
                    self.learn("stream_options", "no")
                elif not self._teaches(error, sent):
                    if not re.search(r"\bstream", said):
                        return None
                    self.learn("stream", "no")
        return None

    def learn(self, name: str, state: str) -> None:
        """Note what the server can or cannot do."""
        self.known = self.known.learned(name, state)
        if self._learned is not None:
            self._learned(self.known)

    @property
    def client(self) -> Any:
        """The openai client, made at the first use."""
        if self._client is None:
            try:
                import openai
            except ImportError as error:
                raise MissingExtraError(
                    "model servers need the openai client: install statml[tutor]"
                ) from error
            http = openai.DefaultHttpxClient(
                timeout=self._timeout,
                # a redirect could lead off this machine, and so could a proxy from the environment
                follow_redirects=False,
                trust_env=not self._local,
            )
            # the client insists on some key; a server on this machine ignores it
            self._client = openai.OpenAI(
                api_key=self._secret or "none",
                base_url=self._base_url,
                max_retries=self._retries,
                http_client=http,
            )
        return self._client

    def _taken(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The options this server takes, and the names of those it does not."""
        sent = {name: value for name, value in options.items() if not self.known.lacks(name)}
        left_out = [name for name in options if name not in sent]
        if "max_tokens" in left_out and not self.known.lacks("max_completion_tokens"):
            # the newer name of the same limit
            sent["max_completion_tokens"] = options["max_tokens"]
            left_out.remove("max_tokens")
        if "logprobs" in left_out:
            sent.pop("top_logprobs", None)
        return sent, left_out

    def _teaches(self, error: Any, sent: Mapping[str, Any]) -> bool:
        """Learn which parameters the refusal names as not taken; False if none."""
        if error.status_code not in REFUSED:
            return False
        message = server_message(error)
        named = [name for name in _OPTIONAL if name in sent and re.search(rf"\b{name}\b", message)]
        # "max_tokens is too large" is the caller's to mend, not an option to leave out
        if named and _NOT_TAKEN.search(message):
            for name in named:
                self.learn(name, "no")
            return True
        return False

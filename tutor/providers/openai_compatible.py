"""Any server that speaks OpenAI Chat Completions: a campus vLLM, Ollama, llama.cpp, OpenAI itself.

Servers differ in what they take. What one refuses is learned from its refusal
and remembered for the provider's life: JSON of an asked shape falls from
`json_schema` to `json_object` to plain text, and a sampling option it names in
its refusal is left out and listed in `Reply.notes`. Whatever the server
promises, the reply is checked here, with one try to have it repaired.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from statml.errors import MissingExtraError, ServiceError
from tutor.providers.base import Choice, Message, Reply, Schema, TokenLogprob, Usage, render
from tutor.providers.structured import ShapeError, parse
from tutor.settings import is_loopback, without_credentials

#: How JSON is asked for, from the strictest.
_FORMATS = ("json_schema", "json_object", "text")
_OPTIONAL = ("seed", "temperature", "logprobs", "top_logprobs", "max_tokens", "max_completion_tokens", "n")
_NOT_TAKEN = re.compile(r"support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|extra", re.I)
_REFUSED = (400, 404, 415, 422, 501)


class OpenAICompatibleProvider:
    """Chat Completions over HTTP, with the key from the environment.

    Parameters
    ----------
    base_url : str
        Up to and including ``/v1``.
    model : str
        The model's name on that server.
    api_key_env : str
        Variable that holds the key; a server on this machine needs none.
    offline : bool
        Refuse any host but this machine.
    timeout : float
        Seconds without a byte from the server before a try is given up.
    retries : int
        Further tries after a connection error, 408, 409, 429 or 5xx.
    environ : mapping, optional
        Instead of ``os.environ``.

    Raises
    ------
    ServiceError
        On creation: offline and the host is not this machine, or the key is
        missing. Nothing is sent before `chat`.
    """

    name = "openai"

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
    ) -> None:
        self.model = model
        self._shown = without_credentials(base_url)
        self._local = is_loopback(base_url)
        if offline and not self._local:
            raise ServiceError(
                f"{self._shown} is not on this machine and TUTOR_OFFLINE forbids it; "
                "unset TUTOR_OFFLINE or name a server on 127.0.0.1"
            )
        key = (os.environ if environ is None else environ).get(api_key_env, "").strip()
        if not key and not self._local:
            raise ServiceError(
                f"no key for {self._shown}: put it into the environment variable {api_key_env} "
                "(or name another variable in TUTOR_API_KEY_ENV)"
            )
        self._secret = key
        self._base_url = base_url
        self._retries = retries
        self._timeout = timeout
        self._client: Any = None
        self._format = 0
        self._left_out: set[str] = set()

    @property
    def shown(self) -> str:
        """The server's address without credentials."""
        return self._shown

    def __repr__(self) -> str:
        return f"OpenAICompatibleProvider({self._shown!r}, {self.model!r})"

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Schema | None = None,
        n: int = 1,
        seed: int | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_logprobs: int | None = None,
    ) -> Reply:
        """Ask the server; see `Provider.chat`.

        Raises
        ------
        ServiceError
            Unreachable, too slow, refused (key, model, status), an answer that
            is no chat completion, or no reply of the asked shape after one
            repair. One sentence with the address, without credentials.
        """
        turns = [{"role": m.role, "content": render(m)} for m in messages]
        options: dict[str, Any] = {"temperature": temperature}
        if seed is not None:
            options["seed"] = seed
        if max_tokens is not None:
            options["max_tokens"] = max_tokens
        if top_logprobs is not None:
            options |= {"logprobs": True, "top_logprobs": top_logprobs}
        notes: list[str] = []
        choices: list[Choice] = []
        usage = Usage()
        answered_by = self.model
        while len(choices) < n:
            if n > 1:
                options["n"] = n - len(choices)
                if seed is not None:
                    # servers that ignore n are asked again: not for the same sample
                    options["seed"] = seed + len(choices)
            completion, spent = self._complete(turns, schema, options, notes)
            usage += spent
            answered_by = completion.model or answered_by
            for raw in completion.choices[: n - len(choices)]:
                choice = _choice(raw)
                if schema is not None:
                    choice, spent = self._shaped(choice, turns, schema, options, notes)
                    usage += spent
                choices.append(choice)
        if schema is not None and all(choice.problem for choice in choices):
            cut = " (it was cut off: allow more tokens)" if choices[0].finish == "length" else ""
            raise ServiceError(
                f"the model {self.model} at {self._shown} did not return JSON of the asked shape, "
                f"not even when asked to repair it{cut}: {choices[0].problem}; choose another model with --model"
            )
        return Reply(tuple(choices), answered_by, usage, tuple(dict.fromkeys(notes)))

    def stream(
        self,
        messages: Sequence[Message],
        *,
        schema: Schema | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
    ) -> Generator[str, None, Reply]:
        """As `chat`, the text piece by piece as it arrives; the generator returns the whole `Reply`.

        What does not come as a stream, or not in the asked shape, is asked for
        once more with `chat`; its text is in the `Reply` alone.

        Raises
        ------
        ServiceError
            As `chat`; also where the stream broke off.
        """
        import openai

        turns = [{"role": m.role, "content": render(m)} for m in messages]
        options = {"seed": seed, "max_tokens": max_tokens, "temperature": temperature}
        given = {name: value for name, value in options.items() if value is not None}
        body = {name: value for name, value in given.items() if name not in self._left_out}
        body |= _asked_format(_FORMATS[self._format], schema, turns)
        text, usage, answered_by, finish = "", Usage(), self.model, ""
        try:
            pieces = self._open().chat.completions.create(
                model=self.model, stream=True, stream_options={"include_usage": True}, **body
            )
            for piece in pieces:
                answered_by = getattr(piece, "model", None) or answered_by
                usage = _usage(piece) if getattr(piece, "usage", None) else usage
                for choice in getattr(piece, "choices", None) or []:
                    finish = choice.finish_reason or finish
                    said = getattr(choice.delta, "content", None)
                    if isinstance(said, str) and said:
                        text += said
                        yield said
        except openai.APIStatusError as error:
            if error.status_code not in _REFUSED:
                raise self._status_error(error) from None
        except (openai.OpenAIError, httpx_error(), ValueError) as error:
            if text or isinstance(error, openai.APIConnectionError):
                cause = self._clean(str(error.__cause__ or error) or type(error).__name__)
                raise ServiceError(
                    f"{self._shown} broke off in the middle of an answer ({cause}); ask again"
                    if text
                    else f"cannot reach the model server at {self._shown}, or it did not answer within "
                    f"{self._timeout:g} s ({cause}); start it, correct --base-url, or raise TUTOR_TIMEOUT"
                ) from None
        if text and not finish:
            raise ServiceError(f"{self._shown} broke off in the middle of an answer; ask again")
        try:
            parsed = parse(text, schema) if schema is not None else None
        except ShapeError:
            reply = self.chat(
                messages, schema=schema, seed=seed, max_tokens=max_tokens, temperature=temperature
            )
            return Reply(reply.choices, reply.model, usage + reply.usage, reply.notes)
        return Reply((Choice(text, parsed, finish),), answered_by, usage)

    def _shaped(
        self,
        choice: Choice,
        turns: list[dict[str, str]],
        schema: Schema,
        options: Mapping[str, Any],
        notes: list[str],
    ) -> tuple[Choice, Usage]:
        try:
            return _with_value(choice, parse(choice.text, schema)), Usage()
        except ShapeError as error:
            problem = str(error)
        repair = [
            *turns,
            {"role": "assistant", "content": choice.text or "(empty)"},
            {
                "role": "user",
                "content": f"That is not JSON of the asked shape: {problem}. Answer again with the JSON alone.",
            },
        ]
        once = {name: value for name, value in options.items() if name != "n"}
        completion, spent = self._complete(repair, schema, once, notes)
        second = _choice(completion.choices[0])
        try:
            repaired = _with_value(second, parse(second.text, schema))
        except ShapeError as error:
            return Choice(second.text, None, second.finish, second.logprobs, str(error)), spent
        notes.append("the first reply was not of the asked shape and was repaired")
        return repaired, spent

    def _complete(
        self,
        turns: Sequence[Mapping[str, str]],
        schema: Schema | None,
        options: Mapping[str, Any],
        notes: list[str],
    ) -> tuple[Any, Usage]:
        """Send one request, learning from refusals what this server does not take."""
        import openai

        while True:
            sent = {name: value for name, value in options.items() if name not in self._left_out}
            limits = self._left_out & {"max_tokens", "max_completion_tokens"}
            if "max_tokens" in options and limits == {"max_tokens"}:
                # the newer name of the same limit
                sent["max_completion_tokens"] = options["max_tokens"]
            notes.extend(
                f"the server does not take {name}"
                for name in options
                if name in self._left_out and (name != "max_tokens" or len(limits) == 2)
            )
            body = {**sent, **_asked_format(_FORMATS[self._format], schema, turns)}
            try:
                completion = self._open().chat.completions.create(model=self.model, **body)
            except openai.APIStatusError as error:
                if error.status_code in _REFUSED and self._learned(error, sent, schema is not None):
                    continue
                raise self._status_error(error) from None
            except openai.APITimeoutError:
                raise ServiceError(
                    f"{self._shown} did not answer within {self._timeout:g} s; "
                    "is the model still loading? Raise TUTOR_TIMEOUT or try again"
                ) from None
            except openai.APIConnectionError as error:
                cause = self._clean(str(error.__cause__ or error))
                raise ServiceError(
                    f"cannot reach the model server at {self._shown} ({cause}); "
                    "start it, correct --base-url, or use --provider extractive"
                ) from None
            except (openai.OpenAIError, ValueError) as error:
                raise ServiceError(
                    f"{self._shown} sent an answer that is not a chat completion "
                    f"({self._clean(str(error))}); does base_url end in /v1?"
                ) from None
            if not isinstance(getattr(completion, "choices", None), list) or not completion.choices:
                raise ServiceError(
                    f"{self._shown} sent an answer that is not a chat completion (no choices); "
                    "does base_url end in /v1?"
                )
            return completion, _usage(completion)

    def _learned(self, error: Any, sent: Mapping[str, Any], shaped: bool) -> bool:
        """Note what the refusal was about; False if it cannot be avoided."""
        message = _server_message(error)
        named = [name for name in _OPTIONAL if name in sent and re.search(rf"\b{name}\b", message)]
        # "max_tokens is too large" is the caller's to mend, not an option to leave out
        if named and _NOT_TAKEN.search(message):
            self._left_out.update(named)
            return True
        if shaped and error.status_code != 404 and self._format < len(_FORMATS) - 1:
            self._format += 1
            return True
        return False

    def _open(self) -> Any:
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

    def _status_error(self, error: Any) -> ServiceError:
        status = error.status_code
        said = self._clean(_server_message(error))
        mends = {
            401: "check the key in its environment variable",
            403: "check what the key allows",
            404: f"check --base-url (it should end in /v1) and that the server has the model {self.model!r}",
            429: "wait, or check the account's limits",
            503: "the server is busy or still loading its model: try again in a moment",
        }
        mend = mends.get(
            status, "look at the server's log" if status >= 500 else "check --model and --base-url"
        )
        return ServiceError(f"{self._shown} answered with status {status} ({said}); {mend}")

    def _clean(self, text: str) -> str:
        """One short line of somebody else's text, without the key or any address's credentials."""
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        if self._secret:
            line = line.replace(self._secret, "***")
        line = re.sub(r"\b(?:sk|key|token)-[\w*-]{4,}", "***", line)
        line = re.sub(r"//[^/\s@]+@", "//***@", line)
        return line[:200] or "no reason given"


def httpx_error() -> type[Exception]:
    """What the HTTP client raises where a stream ends before its end."""
    import httpx

    return httpx.HTTPError


def _asked_format(kind: str, schema: Schema | None, turns: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    if schema is None:
        return {"messages": list(turns)}
    if kind == "json_schema":
        name = re.sub(r"\W+", "_", str(schema.get("title", "reply")))[:60]
        form = {"name": name, "schema": dict(schema), "strict": True}
        return {
            "messages": list(turns),
            "response_format": {"type": "json_schema", "json_schema": form},
        }
    wanted = {
        "role": "system",
        "content": "Answer with JSON alone, fitting this JSON Schema: "
        + json.dumps(schema, ensure_ascii=False, sort_keys=True),
    }
    body: dict[str, Any] = {"messages": [wanted, *turns]}
    if kind == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def _server_message(error: Any) -> str:
    body = error.body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        if isinstance(inner, Mapping) and inner.get("message"):
            return f"{inner['message']} {inner.get('param') or ''}".strip()
    return str(body or error.message or "")


def _with_value(choice: Choice, value: Any) -> Choice:
    return Choice(choice.text, value, choice.finish, choice.logprobs)


def _choice(raw: Any) -> Choice:
    message = getattr(raw, "message", None)
    text = getattr(message, "content", None)
    finish = getattr(raw, "finish_reason", None)
    listed = getattr(getattr(raw, "logprobs", None), "content", None)
    logprobs = (
        tuple(
            TokenLogprob(
                t.token, float(t.logprob), tuple((r.token, float(r.logprob)) for r in t.top_logprobs or [])
            )
            for t in listed
        )
        if listed
        else None
    )
    return Choice(
        text if isinstance(text, str) else "",
        finish=finish if isinstance(finish, str) else "stop",
        logprobs=logprobs,
    )


def _usage(completion: Any) -> Usage:
    usage = getattr(completion, "usage", None)
    return Usage(
        int(getattr(usage, "prompt_tokens", 0) or 0), int(getattr(usage, "completion_tokens", 0) or 0)
    )

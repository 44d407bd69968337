"""Any server that speaks OpenAI Chat Completions: a campus vLLM, Ollama, llama.cpp, OpenAI itself.

Servers differ in what they take; `tutor.providers.endpoint` finds that out.
Whatever a server promises, the reply is checked here, with one try to have it
repaired.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tutor.providers import completion
from tutor.providers.base import Choice, Message, Reply, Schema, Usage, render
from tutor.providers.capabilities import Capabilities
from tutor.providers.endpoint import Endpoint
from tutor.providers.streaming import listen
from tutor.providers.structured import NoJsonError, ShapeError, asked_again, finished_part, parse


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
    known : Capabilities, optional
        What the server is known to do, so that it need not refuse again.
    learned : callable, optional
        Told the capabilities whenever something new is known of them.

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
        known: Capabilities | None = None,
        learned: Callable[[Capabilities], None] | None = None,
    ) -> None:
        self.model = model
        self.endpoint = Endpoint(
            base_url,
            model,
            api_key_env=api_key_env,
            offline=offline,
            timeout=timeout,
            retries=retries,
            environ=environ,
            known=known,
            learned=learned,
        )

    @property
    def shown(self) -> str:
        """The server's address without credentials."""
        return self.endpoint.shown

    def __repr__(self) -> str:
        return f"OpenAICompatibleProvider({self.shown!r}, {self.model!r})"

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
        turns = _turns(messages)
        options = _options(temperature, seed, max_tokens)
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
            answer = self.endpoint.complete(turns, schema, options, notes)
            usage += completion.usage(answer)
            answered_by = completion.model(answer, answered_by)
            for raw in answer.choices[: n - len(choices)]:
                choice = completion.choice(raw)
                if schema is not None:
                    choice, spent = self._shaped(choice, turns, schema, options, notes)
                    usage += spent
                choices.append(choice)
        return self._reply(choices, answered_by, usage, notes, schema)

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

        What does not come as a stream is asked for with `chat`, what comes in
        another shape once more; such text is in the `Reply` alone.

        Raises
        ------
        ServiceError
            As `chat`; also where the stream broke off.
        """
        turns = _turns(messages)
        options = _options(temperature, seed, max_tokens)
        heard = yield from listen(self.endpoint, turns, schema, options)
        if heard is None:
            return self.chat(
                messages, schema=schema, seed=seed, max_tokens=max_tokens, temperature=temperature
            )
        choice, usage, notes = Choice(heard.text, finish=heard.finish), heard.usage, list[str]()
        if schema is not None:
            choice, spent = self._shaped(choice, turns, schema, options, notes)
            usage += spent
        return self._reply([choice], heard.model, usage, notes, schema)

    def _reply(
        self, choices: list[Choice], model: str, usage: Usage, notes: list[str], schema: Schema | None
    ) -> Reply:
        if schema is not None and all(choice.problem for choice in choices):
            first = choices[0]
            raise self.endpoint.faults.wrong_shape(first.problem, usage, cut=first.finish == "length")
        return Reply(tuple(choices), model, usage, tuple(dict.fromkeys(notes)))

    def _shaped(
        self,
        choice: Choice,
        turns: Sequence[Mapping[str, str]],
        schema: Schema,
        options: Mapping[str, Any],
        notes: list[str],
    ) -> tuple[Choice, Usage]:
        """The choice with its value, after one repair if need be, and what that took.

        A reply that was cut off is not asked for again, since it would be cut off again.
        """
        try:
            return replace(choice, parsed=parse(choice.text, schema)), Usage()
        except ShapeError as error:
            problem = str(error)
            if choice.finish == "length":
                return _finished(choice, schema, notes), Usage()
            unheld = isinstance(error, NoJsonError) and bool(choice.text)
        asked_as = self.endpoint.known.format
        repair = asked_again(turns, choice.text, problem, schema)
        once = {name: value for name, value in options.items() if name != "n"}
        answer = self.endpoint.complete(repair, schema, once, notes)
        if unheld and asked_as == self.endpoint.known.format != "text":
            # prose in spite of the format: from now on the schema is put in words
            self.endpoint.learn(asked_as, "ignored")
        second, spent = completion.choice(answer.choices[0]), completion.usage(answer)
        try:
            repaired = replace(second, parsed=parse(second.text, schema))
        except ShapeError as error:
            return replace(second, problem=str(error)), spent
        notes.append("the first reply was not of the asked shape and was repaired")
        return repaired, spent


def _finished(choice: Choice, schema: Schema, notes: list[str]) -> Choice:
    try:
        finished = replace(choice, parsed=finished_part(choice.text, schema))
    except ShapeError as error:
        return replace(choice, problem=str(error))
    notes.append("the reply was cut off; what was finished in it is used")
    return finished


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": render(message)} for message in messages]


def _options(temperature: float, seed: int | None, max_tokens: int | None) -> dict[str, Any]:
    given = {"temperature": temperature, "seed": seed, "max_tokens": max_tokens}
    return {name: value for name, value in given.items() if value is not None}

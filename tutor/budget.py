"""What a conversation and a student may spend on models, refused before it is spent.

    room = limit - spent - (estimated prompt + largest answer)

A call whose largest answer would not fit is not made: the stop is hard. The
spending is read from the log of calls, so it holds over restarts and over
several processes of one student. The estimate of a prompt is one token for
three characters, more than any tokenizer of English text uses.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from statml.errors import InputError, ServiceError, StatmlError
from tutor.providers.base import CallRecord, Message, Provider, Reply, Schema, Usage, render
from tutor.records.calls import Calls, canonical

#: Taken for the largest answer where a call names none.
ANSWER_TOKENS = 1024
_CHARACTERS_PER_TOKEN = 3


class BudgetExceededError(ServiceError):
    """The next call could cost more than is left."""


@dataclass(frozen=True)
class Budget:
    """Limits of one conversation and of one student; None means no limit.

    Attributes
    ----------
    run_tokens, student_tokens : int or None
        Tokens of prompts and answers together.
    run_cost, student_cost : float or None
        In the currency of the prices.
    prompt_price, answer_price : float
        For a million tokens.
    """

    run_tokens: int | None = None
    student_tokens: int | None = None
    run_cost: float | None = None
    student_cost: float | None = None
    prompt_price: float = 0.0
    answer_price: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise InputError(f"budget {name} must be 0 or more, got {value!r}")

    def cost(self, usage: Usage) -> float:
        """What `usage` costs."""
        return (usage.prompt_tokens * self.prompt_price + usage.completion_tokens * self.answer_price) / 1e6


class AccountedProvider:
    """A provider whose calls are counted against a budget, logged, and answered from the cache if known.

    Parameters
    ----------
    inner : Provider
    calls : Calls
        Log and cache.
    budget : Budget
    purpose, prompt : str
        What the calls are for, and the version of the prompt: part of the cache's key.
    conversation : int, optional
        The run whose limit counts.
    """

    def __init__(
        self,
        inner: Provider,
        calls: Calls,
        budget: Budget | None = None,
        *,
        purpose: str = "answer",
        prompt: str = "",
        conversation: int | None = None,
    ) -> None:
        self._inner, self._calls, self._budget = inner, calls, budget or Budget()
        self._purpose, self._prompt, self._conversation = purpose, prompt, conversation

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def model(self) -> str:
        return self._inner.model

    def chat(self, messages: Sequence[Message], *, schema: Schema | None = None, **options: Any) -> Reply:
        """Answer from the cache, or ask if the budget allows.

        Raises
        ------
        BudgetExceededError
            The largest answer would not fit into what is left.
        ServiceError
            The provider could not answer.
        """
        given = tuple(messages)
        key = cache_key(self._inner, given, schema, options, self._prompt)
        began = time.monotonic()
        quoting = self.name == "extractive"  # spends nothing, and depends on the library as well
        kept = None if quoting else self._calls.cached(key)
        if kept is not None:
            self._log(given, schema, options, kept, None, began, cached=True)
            return kept
        if not quoting:
            self._check(given, schema, options)
        try:
            reply = self._inner.chat(given, schema=schema, **options)
        except StatmlError as failure:
            self._log(given, schema, options, None, str(failure), began)
            raise
        self._log(given, schema, options, reply, None, began)
        if not quoting:
            self._calls.keep(key, reply)
        return reply

    @property
    def streams(self) -> bool:
        """Whether `stream` gives an answer in more than one piece."""
        return hasattr(self._inner, "stream")

    def stream(
        self, messages: Sequence[Message], *, schema: Schema | None = None, **options: Any
    ) -> Generator[str, None, Reply]:
        """As `chat`, the text piece by piece; logged also where it breaks off or is stopped.

        The generator returns the `Reply`; one from the cache comes in no pieces.

        Raises
        ------
        BudgetExceededError, ServiceError
            As `chat`.
        """
        given = tuple(messages)
        key = cache_key(self._inner, given, schema, options, self._prompt)
        began = time.monotonic()
        kept = self._calls.cached(key)
        if kept is not None:
            self._log(given, schema, options, kept, None, began, cached=True)
            return kept
        self._check(given, schema, options)
        reply: Reply | None = None
        error = "stopped by the student"
        try:
            reply = yield from self._inner.stream(given, schema=schema, **options)  # type: ignore[attr-defined]
        except StatmlError as failure:
            error = str(failure)
            raise
        finally:
            self._log(given, schema, options, reply, None if reply else error, began)
        self._calls.keep(key, reply)
        return reply

    def _check(self, messages: tuple[Message, ...], schema: Schema | None, options: dict[str, Any]) -> None:
        prompt = sum(len(render(m, delimiter="0" * 16)) for m in messages) + len(json.dumps(schema or {}))
        answer = (options.get("max_tokens") or ANSWER_TOKENS) * options.get("n", 1)
        # a reply of the wrong shape is asked for once more, with the first one in the prompt
        asked = Usage(prompt // _CHARACTERS_PER_TOKEN + 1, answer)
        most = asked + Usage(asked.prompt_tokens + answer, answer) if schema else asked
        tokens, cost = most.prompt_tokens + most.completion_tokens, self._budget.cost(most)
        run = self._calls.spent(self._conversation) if self._conversation is not None else None
        for whose, spent, token_limit, cost_limit in (
            ("this conversation", run, self._budget.run_tokens, self._budget.run_cost),
            ("you", self._calls.spent(), self._budget.student_tokens, self._budget.student_cost),
        ):
            if spent is None:
                continue
            if token_limit is not None and spent.tokens + tokens > token_limit:
                raise BudgetExceededError(
                    f"the next question could take {tokens} tokens and {max(token_limit - spent.tokens, 0)} of "
                    f"{token_limit} are left for {whose}; go on with --provider extractive, which needs no model"
                )
            if cost_limit is not None and spent.cost + cost > cost_limit:
                raise BudgetExceededError(
                    f"the next question could cost {cost:.4f} and {max(cost_limit - spent.cost, 0):.4f} of "
                    f"{cost_limit:g} are left for {whose}; go on with --provider extractive, which needs no model"
                )

    def _log(
        self,
        messages: tuple[Message, ...],
        schema: Schema | None,
        options: dict[str, Any],
        reply: Reply | None,
        error: str | None,
        began: float,
        *,
        cached: bool = False,
    ) -> None:
        call = CallRecord(
            self.name, self.model, messages, schema, options, reply, error, time.monotonic() - began
        )
        cost = self._budget.cost(reply.usage) if reply and not cached else 0.0
        self._calls.log(
            call, purpose=self._purpose, conversation=self._conversation, cost=cost, cached=cached
        )


def cache_key(
    provider: Provider,
    messages: tuple[Message, ...],
    schema: Schema | None,
    options: dict[str, Any],
    prompt: str,
) -> str:
    """Digest of everything a reply depends on: provider, server, model, messages, schema, options, prompt."""
    where = getattr(provider, "shown", "")
    whole = "\0".join([provider.name, where, provider.model, prompt, canonical(messages, schema, options)])
    return hashlib.sha256(whole.encode()).hexdigest()

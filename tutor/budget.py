"""What a conversation and a student may spend on models, refused before it is spent.

    room = limit - spent - (estimated prompt + largest answer)

A call whose largest answer would not fit is not made: the stop is hard. What a
call may take at most is put into the log of calls before it is sent, and replaced
by what it took, so the stop holds over restarts, over several processes of one
student and over calls at the same time. Tokens that a server does not count, and
those of an answer that was stopped, are estimated from the text (`high_estimate`).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from statml.errors import InputError, ServiceError, StatmlError
from tutor.providers.base import CallRecord, Message, Provider, Reply, Schema, Usage, render
from tutor.providers.faults import SilentError
from tutor.records.calls import Calls, Spent, canonical

#: Taken for the largest answer where a call names none.
ANSWER_TOKENS = 1024
#: What the form of a conversation adds to a prompt, and to each of its messages.
_CALL_TOKENS, _MESSAGE_TOKENS = 40, 10
_STOPPED = "stopped by the student"
#: A word with the blank before it.
_WORD = re.compile(r" ?[A-Z]?[a-z]+")


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

    def check(self, most: Usage, run: Spent | None, student: Spent) -> None:
        """Refuse what could take more than is left.

        Raises
        ------
        BudgetExceededError
            With what it could take and what is left, for whom.
        """
        tokens, cost = most.prompt_tokens + most.completion_tokens, self.cost(most)
        for whose, spent, token_limit, cost_limit in (
            ("this conversation", run, self.run_tokens, self.run_cost),
            ("you", student, self.student_tokens, self.student_cost),
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


def high_estimate(text: str) -> int:
    """Tokens of `text`, rather too many: one for two letters of a word, one for each byte of anything else.

    English takes about half of it. Tokenizers may write digits, capitals and
    signs one by one, and letters of other scripts byte by byte.

    Examples
    --------
    >>> high_estimate("spectra"), high_estimate("1.5 σ")
    (4, 6)
    """
    words = _WORD.findall(text)
    within = sum(len(word.encode()) for word in words)
    return sum((len(word) + 1) // 2 for word in words) + len(text.encode()) - within


@dataclass
class _Call:
    """One call on its way, and what came of it so far."""

    messages: tuple[Message, ...]
    schema: Schema | None
    options: dict[str, Any]
    began: float = field(default_factory=time.monotonic)
    text: str = ""

    @property
    def prompt_tokens(self) -> int:
        written = sum(high_estimate(render(m, delimiter="0" * 16)) + _MESSAGE_TOKENS for m in self.messages)
        return written + self._schema_tokens + _CALL_TOKENS

    @property
    def once(self) -> Usage:
        """At most, without a repair; a server may take one sample at a time."""
        samples = self.options.get("n", 1)
        answer = self.options.get("max_tokens") or ANSWER_TOKENS
        return Usage(samples * self.prompt_tokens, samples * answer)

    @property
    def most(self) -> Usage:
        """At most: each sample of a wrong shape is asked for once more, with the first one in the prompt."""
        if self.schema is None:
            return self.once
        again = Usage(
            self.once.prompt_tokens
            + self.once.completion_tokens
            + self.options.get("n", 1) * (self._schema_tokens + _CALL_TOKENS),
            self.once.completion_tokens,
        )
        return self.once + again

    def so_far(self) -> Usage:
        """What an answer took that was stopped, or that the server did not count."""
        return Usage(self.prompt_tokens, high_estimate(self.text))

    def lost(self, failure: StatmlError) -> Usage:
        """What a failed call took."""
        known = getattr(failure, "usage", None)
        if known:
            return known
        if self.text:
            return self.so_far()
        # a server that fell silent may have worked all the time; one that refused has not
        return self.once if isinstance(failure, SilentError) else Usage()

    @property
    def _schema_tokens(self) -> int:
        return high_estimate(json.dumps(self.schema)) if self.schema else 0


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
        call = _Call(tuple(messages), schema, options)
        kept = self._kept(call)
        if kept is not None:
            return kept
        row = self._begin(call)
        reply: Reply | None = None
        error, spent = _STOPPED, call.once
        try:
            reply = self._inner.chat(call.messages, schema=schema, **options)
        except StatmlError as failure:
            error, spent = str(failure), call.lost(failure)
            raise
        finally:
            self._end(row, call, reply, error, spent)
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
        call = _Call(tuple(messages), schema, options)
        kept = self._kept(call)
        if kept is not None:
            return kept
        row = self._begin(call)
        reply: Reply | None = None
        error, spent = _STOPPED, None
        pieces = self._inner.stream(call.messages, schema=schema, **options)  # type: ignore[attr-defined]
        try:
            with closing(pieces):
                reply = yield from _listened(pieces, call)
        except StatmlError as failure:
            error, spent = str(failure), call.lost(failure)
            raise
        finally:
            self._end(row, call, reply, error, spent or call.so_far())
        return reply

    def _kept(self, call: _Call) -> Reply | None:
        """The reply of the cache, logged."""
        if not self._repeatable(call):
            return None
        reply = self._calls.cached(self._key(call))
        if reply is not None:
            self._calls.log(
                self._record(call, reply, None),
                purpose=self._purpose,
                conversation=self._conversation,
                cached=True,
            )
        return reply

    def _begin(self, call: _Call) -> int:
        """Put what the call may take into the log, if the budget allows; its row."""
        # quoting spends nothing, so it is never refused
        budget, most = (Budget(), Usage()) if self._quoting else (self._budget, call.most)
        return self._calls.begin(
            self._record(call, None, None),
            most,
            lambda run, student: budget.check(most, run, student),
            purpose=self._purpose,
            conversation=self._conversation,
            cost=budget.cost(most),
        )

    def _end(self, row: int, call: _Call, reply: Reply | None, error: str, lost: Usage) -> None:
        """Replace it by what the call took."""
        spent = lost
        if reply is not None:
            call.text = call.text or "".join(choice.text for choice in reply.choices)
            spent = reply.usage if reply.usage != Usage() else call.so_far()
        if self._quoting:
            spent = Usage()
        record = self._record(call, reply, None if reply is not None else error)
        self._calls.end(row, record, spent, cost=self._budget.cost(spent))
        if reply is not None and self._repeatable(call):
            self._calls.keep(self._key(call), reply)

    @property
    def _quoting(self) -> bool:
        return self.name == "extractive"

    def _repeatable(self, call: _Call) -> bool:
        """Whether the same call has the same answer; what is quoted depends on the library as well."""
        drawn = call.options.get("temperature", 0.0) > 0 and call.options.get("seed") is None
        return not (self._quoting or drawn)

    def _key(self, call: _Call) -> str:
        return cache_key(self._inner, call.messages, call.schema, call.options, self._prompt)

    def _record(self, call: _Call, reply: Reply | None, error: str | None) -> CallRecord:
        seconds = time.monotonic() - call.began
        return CallRecord(
            self.name, self.model, call.messages, call.schema, call.options, reply, error, seconds
        )


def _listened(pieces: Generator[str, None, Reply], call: _Call) -> Generator[str, None, Reply]:
    """The pieces of a stream as they come, noted in the call."""
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            return end.value
        call.text += piece
        yield piece


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

"""Find out what a model server can do, by asking it for one thing at a time.

=============  ================================================================
models         lists its models, the asked one among them
chat           answers at all
json_schema    holds a reply to a schema that the question does not mention
json_object    holds a reply to JSON
stream         sends a reply piece by piece
logprobs       gives log-probabilities of tokens
seed           takes a seed
responses      has OpenAI's newer Responses interface (not needed)
embeddings     makes vectors of text
=============  ================================================================

A server that takes a parameter and does nothing with it is told apart from one
that refuses it. The requests ask for a few words each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from tutor.providers import completion
from tutor.providers.base import Usage
from tutor.providers.endpoint import REFUSED, Endpoint
from tutor.providers.faults import server_message
from tutor.providers.structured import ShapeError, asked, parse

_FEW = 40
_QUESTION = "What colour is a cloudless sky at noon?"
_SCHEMA: dict[str, Any] = {
    "title": "colour",
    "type": "object",
    "properties": {"hue": {"enum": ["red", "green", "blue"]}},
    "required": ["hue"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Finding:
    """One thing a server was asked for: its state (see `capabilities.STATES`), what was seen, what it took."""

    capability: str
    state: str
    detail: str = ""
    usage: Usage = field(default_factory=Usage)


def probe(endpoint: Endpoint) -> Iterator[Finding]:
    """Ask for everything in turn, and note the outcome in `endpoint.known`.

    Yields
    ------
    Finding

    Raises
    ------
    ServiceError
        The server cannot be reached, wants another key, or does not answer in
        `chat`, without which nothing else is worth asking.
    """
    for name, ask in _ASK.items():
        finding = _tried(name, ask, endpoint)
        if finding.state != "unknown":
            endpoint.learn(name, finding.state)
        yield finding


def _tried(name: str, ask: Callable[[Endpoint], Finding], endpoint: Endpoint) -> Finding:
    import openai

    try:
        return ask(endpoint)
    except openai.APIStatusError as error:
        if error.status_code in (401, 403) or name == "chat":
            raise endpoint.faults.status(error) from None
        refused = error.status_code in (*REFUSED, 405)
        said = endpoint.faults.clean(server_message(error))[:80]
        return Finding(name, "no" if refused else "unknown", f"status {error.status_code}: {said}")
    except openai.APITimeoutError:
        if name in ("models", "chat"):
            raise endpoint.faults.silent() from None
        return Finding(name, "unknown", "no answer in time")
    except openai.APIConnectionError as error:
        if name in ("models", "chat"):
            raise endpoint.faults.unreachable(error) from None
        return Finding(name, "unknown", "the connection was lost")
    except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
        if name == "chat":
            raise endpoint.faults.no_completion(str(error)) from None
        return Finding(name, "no", "what came is not what was asked for")


def _models(endpoint: Endpoint) -> Finding:
    names = [str(model.id) for model in endpoint.client.models.list().data]
    if endpoint.model in names:
        return Finding("models", "yes", f"{len(names)}, the asked one among them")
    listed = endpoint.faults.clean(", ".join(names[:5])) if names else "none"
    return Finding("models", "yes", f"{len(names)}, {endpoint.model} not among them: {listed}"[:160])


def _chat(endpoint: Endpoint) -> Finding:
    # what this server calls the limit of tokens is found out on the way
    answer = endpoint.complete(_turns(_QUESTION), None, {"max_tokens": _FEW}, [])
    said = f"answered by {answer.model}, limited by {_limit(endpoint) or 'nothing'}"
    return Finding("chat", "yes", endpoint.faults.clean(said), completion.usage(answer))


def _json_schema(endpoint: Endpoint) -> Finding:
    return _shaped(endpoint, "json_schema", _QUESTION)


def _json_object(endpoint: Endpoint) -> Finding:
    return _shaped(endpoint, "json_object", f'{_QUESTION} Answer as JSON such as {{"hue": "red"}}.')


def _shaped(endpoint: Endpoint, kind: str, question: str) -> Finding:
    # the schema in words belongs to json_object in use, but would hide here that the format is ignored
    form = asked(kind, _SCHEMA, [])["response_format"]
    answer = _create(endpoint, question, response_format=form)
    choice, usage = completion.choice(answer.choices[0]), completion.usage(answer)
    try:
        parse(choice.text, _SCHEMA if kind == "json_schema" else {"type": "object"})
    except ShapeError as error:
        if choice.finish == "length" and choice.text.lstrip().startswith("{"):
            return Finding(kind, "yes", "begun as JSON and cut off by the limit of this check", usage)
        return Finding(kind, "ignored", f"taken, but {error}"[:120], usage)
    return Finding(kind, "yes", "", usage)


def _stream(endpoint: Endpoint) -> Finding:
    pieces, finish, usage = 0, "", Usage()
    counting = {} if endpoint.known.lacks("stream_options") else {"stream_options": {"include_usage": True}}
    with closing(_create(endpoint, _QUESTION, stream=True, **counting)) as stream:
        for piece in stream:
            usage = completion.usage(piece) if getattr(piece, "usage", None) else usage
            for choice in getattr(piece, "choices", None) or []:
                pieces += bool(getattr(choice.delta, "content", None))
                finish = choice.finish_reason or finish
    if not pieces:
        return Finding("stream", "ignored", "taken, but nothing came in pieces", usage)
    if not finish:
        return Finding("stream", "unknown", f"broke off after {pieces} pieces", usage)
    return Finding(
        "stream", "yes", f"{pieces} pieces" + (", tokens counted" if usage != Usage() else ""), usage
    )


def _logprobs(endpoint: Endpoint) -> Finding:
    answer = _create(endpoint, _QUESTION, logprobs=True, top_logprobs=2)
    listed = completion.choice(answer.choices[0]).logprobs
    if not listed:
        return Finding("logprobs", "ignored", "taken, but none came", completion.usage(answer))
    rivals = max(len(token.top) for token in listed)
    return Finding("logprobs", "yes", f"with {rivals} rivals of each token", completion.usage(answer))


def _seed(endpoint: Endpoint) -> Finding:
    answer = _create(endpoint, _QUESTION, seed=1)
    return Finding("seed", "yes", "taken; whether it is honoured was not tried", completion.usage(answer))


def _responses(endpoint: Endpoint) -> Finding:
    answer = endpoint.client.responses.create(model=endpoint.model, input=_QUESTION, max_output_tokens=_FEW)
    counted = getattr(answer, "usage", None)
    usage = Usage(
        int(getattr(counted, "input_tokens", 0) or 0), int(getattr(counted, "output_tokens", 0) or 0)
    )
    if not isinstance(getattr(answer, "output", None), list):
        return Finding("responses", "no", "what came is not what was asked for", usage)
    return Finding("responses", "yes", "not used here", usage)


def _embeddings(endpoint: Endpoint) -> Finding:
    answer = endpoint.client.embeddings.create(model=endpoint.model, input="sky", encoding_format="float")
    return Finding("embeddings", "yes", f"{len(answer.data[0].embedding)} numbers", completion.usage(answer))


def _create(endpoint: Endpoint, question: str, **options: Any) -> Any:
    limit = _limit(endpoint)
    answer = endpoint.client.chat.completions.create(
        model=endpoint.model, messages=_turns(question), **({limit: _FEW} if limit else {}), **options
    )
    if not options.get("stream") and not answer.choices:
        raise ValueError("no choices")
    return answer


def _limit(endpoint: Endpoint) -> str:
    """What the server calls the largest number of tokens of an answer."""
    names = ("max_tokens", "max_completion_tokens")
    return next((name for name in names if not endpoint.known.lacks(name)), "")


def _turns(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


_ASK: dict[str, Callable[[Endpoint], Finding]] = {
    "models": _models,
    "chat": _chat,
    "json_schema": _json_schema,
    "json_object": _json_object,
    "stream": _stream,
    "logprobs": _logprobs,
    "seed": _seed,
    "responses": _responses,
    "embeddings": _embeddings,
}
#: What `probe` asks for, in this order.
CAPABILITIES = tuple(_ASK)

"""A follow-up ("and why?") put so that it can be searched for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from statml.errors import InputError, ServiceError
from tutor.budget import AccountedProvider, BudgetExceededError
from tutor.language import question_terms
from tutor.library.answer import checked_question
from tutor.pedagogy.wording import prompt
from tutor.providers.base import Message
from tutor.records.transcripts import Entry

STANDALONE = "standalone.v1"
#: Questions a follow-up is understood from.
MEMORY = 3

_REFERS = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|there|the (?:first|second|last|latter|former))\b", re.I
)
_FORM = {
    "title": "standalone",
    "type": "object",
    "properties": {"question": {"type": "string"}},
    "required": ["question"],
    "additionalProperties": False,
}


def standalone(question: str, earlier: Sequence[str], provider: AccountedProvider) -> str:
    """The question so that it can be understood alone; without a model, with the last one before it.

    Parameters
    ----------
    question : str
    earlier : sequence of str
        The last questions that were answered, oldest first.
    provider : AccountedProvider

    Raises
    ------
    BudgetExceededError
        The model may not be asked any more.
    """
    short = len(set(question_terms(question))) < 2
    if not earlier or not (short or _REFERS.search(question)):
        return question
    if provider.name == "extractive":
        return f"{earlier[-1]} {question}" if short else question
    said = "\n".join([*earlier, question])
    messages = [Message("system", prompt(STANDALONE)), Message("user", said)]
    try:
        reply = provider.chat(messages, schema=_FORM, seed=0, max_tokens=200)
        return checked_question(reply.parsed["question"])
    except BudgetExceededError:
        raise
    except (ServiceError, InputError):
        return question


def answered(entries: Sequence[Entry]) -> list[str]:
    """The last questions that were answered."""
    said: list[str] = []
    last = ""
    for entry in entries:
        if entry.kind == "student":
            last = str(entry.content["text"]).strip()
        elif entry.kind == "claim" and last and last not in said[-1:]:
            said.append(last)
    return said[-MEMORY:]

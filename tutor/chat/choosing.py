"""Which computation a model takes for a request: one of the menu, with the student's own numbers, or none."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from statml.errors import ServiceError
from tutor.budget import AccountedProvider, BudgetExceededError
from tutor.chat import tools as menu
from tutor.chat.events import ToolCall
from tutor.chat.tools import Tools
from tutor.pedagogy.wording import prompt
from tutor.providers.base import Message
from tutor.providers.structured import shape_problem

TOOL = "tool.v1"

_COMPUTE = re.compile(r"\b(?:convert|fit|posterior|how many|data ?set)\b.*\d|\bdata ?set\b", re.I | re.DOTALL)
_FORM = {
    "title": "tool",
    "type": "object",
    "properties": {"tool": {"enum": ["none", *menu.MENU]}, "arguments": {"type": "object"}},
    "required": ["tool", "arguments"],
}


def asks_for_one(question: str) -> bool:
    """Whether a model is to be asked at all.

    Examples
    --------
    >>> asks_for_one("Convert 3 pc to lyr"), asks_for_one("What is a parsec?")
    (True, False)
    """
    return _COMPUTE.search(question) is not None


def chosen(
    question: str, provider: AccountedProvider, tools: Tools, may_show: Callable[[str], bool]
) -> ToolCall | None:
    """The computation a model chooses, done; None if it chooses none, or nothing that can be shown.

    Parameters
    ----------
    question : str
    provider : AccountedProvider
    tools : Tools
    may_show : callable
        Whether a text may be shown: a call is, and its words are the model's.

    Raises
    ------
    BudgetExceededError
        The model may not be asked any more.
    """
    messages = [Message("system", f"{prompt(TOOL)}\n{menu.described()}"), Message("user", question)]
    try:
        choice = provider.chat(messages, schema=_FORM, seed=0, max_tokens=300).parsed
    except BudgetExceededError:
        raise
    except ServiceError:
        return None  # the question can still be answered from the library
    name, arguments = choice["tool"], choice["arguments"]
    if name == "none" or shape_problem(arguments, menu.MENU[name][1]):
        return None
    words = " ".join(value for value in arguments.values() if isinstance(value, str))
    if words and not may_show(words):
        return None
    invented = _numbers(arguments) - _numbers(question) - {0.0, 1.0}
    if invented:
        problem = f"the model put in {min(invented):g}, which you did not name"
        return ToolCall(name, arguments, error=problem)
    return tools.call(name, arguments)


def _numbers(value: Any) -> set[float]:
    return {float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", str(value))}

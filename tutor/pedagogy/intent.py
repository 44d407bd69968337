"""Is this a question about the subject, or a wish for an assignment's solution?

Deterministic and open to inspection: patterns over the cleaned text. It decides
only which help is offered first; what is shown goes through the guard anyway.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from course.schema import Card
from tutor.guard.views import views
from tutor.language import terms
from tutor.pedagogy.ladder import tasks

#: Share of a task's content words that makes a text the task itself, pasted.
PASTED = 0.6

_WANTS = re.compile(
    r"\b(?:write|give|show|send|print|implement|code|complete|fill|solve|finish|do|tell|reveal|repeat|output|"
    r"translate|encode|spell|dictate|paste|need|want|continue|generate|produce|answer|decode|what is|what'?s|"
    r"summari[sz]e|rewrite|respond|read|unlock|autocomplete|dame|gib|zeig|schreib|donne|montre|escribe)\b",
    re.I,
)
#: What has a solution that is not to be told; equations and models have some that may be.
_OURS = (
    r"(?:the |this |that |these |my |your |our |any |all )*(?:assignments?|home ?work|tasks?|exercises?|"
    r"problem set|questions?|course|functions?|code|tests?|q\d|\d|\w+\()"
)
_SOLUTION = re.compile(
    rf"(?<!'s )\bsolutions?\b(?! (?:of|to|for|in|from|by|space|method)\b(?! {_OURS}))"
    r"|\b(?:home ?work|problem set|answer key|reference (?:answer|code|implementation)|hausaufgaben?|tarea|devoir|"
    r"solucion|losung|musterlosung|assignments?(?! (?:of|step|to|problem|matrix))|"
    r"model answer|hidden tests?|rubric|body of (?:the function|\w+\()|full code|"
    r"(?:complete|working|final) (?:code|function)|grading (?:key|scheme)|what the instructor)\b",
    re.I,
)
_CODE = re.compile(r"\b(?:code|function|implement\w*|python|numpy|scipy|def|body|script|lines?)\b", re.I)
_ROLE = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:your|all|the|these|those|any|previous|prior|its)\b"
    r".{0,30}\b(?:instruction|rule|prompt|guard|polic)"
    r"|\byou are (?:now|no longer)\b|\b(?:developer|debug|admin|god|dan|jailbreak)\b.{0,20}\bmode\b"
    r"|\bpretend (?:to be|you)|(?:^|[.!?:;,] *|\b(?:please|now|must|should|you|and) )act as\b(?! a function)|\brole[- ]?play|\bsystem prompt\b|\b(?:hidden|secret|initial) (?:prompt|instruction)"
    r"|\bI am (?:the|your) (?:instructor|professor|teacher|developer|admin)|\bas (?:the|your) (?:instructor|professor)",
    re.I,
)


@dataclass(frozen=True)
class Intent:
    """What a text asks for.

    Attributes
    ----------
    wants_solution : bool
        The solution of an assignment is asked for.
    changes_rules : bool
        The tutor is told to be something else, or to show its instructions.
    task : str
        The task that is meant, or the empty text.
    """

    wants_solution: bool
    changes_rules: bool
    task: str = ""


def intent(text: str, card: Card | None) -> Intent:
    """Read `text`, with every simple disguise taken off."""
    wants = rules = False
    task = ""
    for view in views(text):
        line = " ".join(view.split())
        named = _named(line, card)
        task = task or named
        asked = _WANTS.search(line) is not None
        wants |= asked and bool(_SOLUTION.search(line))
        wants |= asked and bool(named) and bool(_CODE.search(line) or named in ("q1", "q2"))
        wants |= _pasted(line, card)
        rules |= _ROLE.search(line) is not None
    return Intent(wants, rules, task)


def _named(line: str, card: Card | None) -> str:
    """The task named in the text; a function of one ordinary word only as code or in quotes."""
    if card is None:
        return ""
    for name in sorted(tasks(card), key=len, reverse=True):
        if re.search(rf"\b{name}\b", line) and ("_" in name or name in ("q1", "q2")):
            return name
        if re.search(
            rf"\b{name} ?\(|[`'\"]{name}\b|\b(?:function|def|implement|task) {name}\b|\b{name} function", line
        ):
            return name
        if re.fullmatch(r"q\d", name) and re.search(rf"\bquestion {name[1]}\b", line, re.I):
            return name
    return ""


def _pasted(line: str, card: Card | None) -> bool:
    if card is None:
        return False
    said = set(terms(line))
    prompts = [set(terms(question.prompt)) for question in card.written]
    return any(len(prompt & said) >= PASTED * len(prompt) for prompt in prompts if len(prompt) > 5)

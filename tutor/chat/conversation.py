"""One conversation with one student: what is said goes in, events come out, and all of it is kept.

    text -> command? -> computation? -> wish for a solution? -> ask the library -> guard -> events

Everything is stored before it is yielded, so that whatever breaks afterwards
loses nothing. Nothing reaches the student that the guard has not released.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import date
from importlib import resources
from typing import Any

from course import assignment as course_assignment
from course.schema import Card
from statml.errors import InputError, ServiceError, StatmlError
from tutor.budget import AccountedProvider, Budget, BudgetExceededError
from tutor.chat import tools as menu
from tutor.chat.events import Done, Event, Hint, Piece, Refusal, Source, ToolCall, claimed, from_dict, to_dict
from tutor.chat.streaming import Request
from tutor.chat.tools import Tools
from tutor.guard import Guard
from tutor.language import question_terms
from tutor.library.answer import PROMPT, Unsupported, ask, checked_question
from tutor.library.answer import Claim as VerifiedClaim
from tutor.library.search import Hit, Retriever
from tutor.pedagogy.intent import Intent, intent
from tutor.pedagogy.ladder import ladder, tasks
from tutor.providers.base import Message, Provider
from tutor.records.calls import Calls
from tutor.records.transcripts import Entry, Transcripts

STANDALONE, TOOL = "standalone.v1", "tool.v1"
#: Questions a follow-up is understood from.
MEMORY = 3
#: Highest rung that is given; what comes after it is the solution.
HIGHEST = 3

_REFERS = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|there|the (?:first|second|last|latter|former))\b", re.I
)
_COMPUTE = re.compile(r"\b(?:convert|fit|posterior|how many|data ?set)\b.*\d|\bdata ?set\b", re.I | re.DOTALL)

_STANDALONE_FORM = {
    "title": "standalone",
    "type": "object",
    "properties": {"question": {"type": "string"}},
    "required": ["question"],
    "additionalProperties": False,
}
_TOOL_FORM = {
    "title": "tool",
    "type": "object",
    "properties": {"tool": {"enum": ["none", *menu.MENU]}, "arguments": {"type": "object"}},
    "required": ["tool", "arguments"],
}


class Conversation:
    """Talk with a student about the sources of a library.

    Parameters
    ----------
    library : Retriever
        Search over the sources, such as a `LibraryIndex`.
    provider : Provider
        Who words the answers.
    store : Transcripts
        Where everything is kept.
    student : str
        Pseudonym; nobody else can open the conversation.
    number : int, optional
        A conversation to go on with; otherwise a new one begins.
    assignment : str, optional
        Number of the assignment the student works on; otherwise the only one, or that named.
    guard : Guard, optional
        Keeps solutions back; see `tutor.guard.open_guard`.
    lifted : collection of str
        Assignments whose due date is over.
    budget : Budget, optional
        Limits of tokens and cost.
    confidence : callable, optional
        Probability that passages answer a question; see `ask`.
    tools : Tools, optional
        Computations.

    Raises
    ------
    InputError
        `number` is no conversation of this student.
    """

    def __init__(
        self,
        library: Retriever,
        provider: Provider,
        store: Transcripts,
        student: str,
        *,
        number: int | None = None,
        assignment: str | None = None,
        guard: Guard | None = None,
        lifted: Sequence[str] | frozenset[str] = (),
        budget: Budget | None = None,
        confidence: Callable[[str, Sequence[Hit]], float] | None = None,
        tools: Tools | None = None,
    ) -> None:
        self.student = student
        self._library, self._store, self._confidence = library, store, confidence
        self._provider, self._budget = provider, budget or Budget()
        if number is None:
            number = store.begin(student, provider.name, provider.model)
        else:
            store.conversation(number, student)
        self.number = number
        self._calls = Calls(store.records, student)
        self._guard = guard or Guard(())
        self._lifted = frozenset(lifted)
        self._cards = [course_assignment.load(n).card for n in course_assignment.numbers()]
        if assignment is not None:
            course_assignment.load(assignment)  # refuses an unknown number
        self._assignment = assignment
        self._tools = tools or Tools()
        state = store.state(number)
        self._levels: dict[str, int] = dict(state.get("levels", {}))
        self._task: str = state.get("task", "")
        self._guard.restore(state.get("guard", {}))
        self.sources = [e for e in self.events() if isinstance(e, Source)]

    def say(self, text: str) -> Iterator[Event]:
        """Say something to the tutor.

        Parameters
        ----------
        text : str
            A question, or one of ``/hint [TASK]``, ``/fit``, ``/posterior``,
            ``/convert``, ``/dataset``.

        Yields
        ------
        Event
            Each already stored; the last is `Done`, also after a failure, which
            is a `Refusal` of one sentence.
        """
        about = {} if self._assignment is None else {"assignment": self._assignment}
        self._store.add(self.number, "student", {"text": text, **about})
        dropped = [0]
        try:
            for event in self._respond(text, dropped):
                yield self._kept(event)
        except BudgetExceededError as error:
            yield self._kept(Refusal("budget", str(error)))
        except ServiceError as error:
            yield self._kept(Refusal("service", str(error)))
        except StatmlError as error:
            yield self._kept(Refusal("input", str(error)))
        finally:
            self._keep_state()
        spent = self._calls.spent(self.number)
        yield self._kept(
            Done(self._provider.name, self._provider.model, spent.tokens, spent.cost, dropped[0])
        )

    def events(self) -> list[Event]:
        """All events so far, those of before a resumption too."""
        return [from_dict(entry.content) for entry in self.entries() if entry.kind != "student"]

    def entries(self) -> list[Entry]:
        """All that was said by both, with its time."""
        return self._store.entries(self.number, self.student)

    def hint(self, task: str = "") -> list[Event]:
        """The next rung for a task, kept and guarded as `say` keeps and guards; see `Hint`."""
        return list(self.say(f"/hint {task}".strip()))

    def close(self) -> None:
        """End what the computations run in."""
        self._tools.close()

    def _respond(self, text: str, dropped: list[int]) -> Iterator[Event]:
        line = text.strip()
        if line.startswith("/hint"):
            yield from self._hints(line.removeprefix("/hint").strip())
            return
        command = menu.parse(line) if line.startswith("/") else None
        if command is not None:
            yield self._tools.call(*command)
            return
        if line.startswith("/"):
            raise InputError(f"there is no command {line.split()[0][:40]!r}; /help lists them")
        question = checked_question(text)
        card, meant = self._meant(question)
        if meant.task:
            self._task = f"{card.number}/{meant.task}" if card else ""
        if meant.changes_rules:
            yield Refusal(
                "rules", "I stay the tutor of this course and keep to its rules; ask me about the subject."
            )
            if not meant.wants_solution:
                return
        if meant.wants_solution and card is not None and card.number not in self._lifted:
            yield Refusal(
                "assignment",
                f"I do not solve assignment {card.number} before it is due, but I help you to: here is a hint. "
                "/hint gives the next one.",
            )
            yield from self._hints(meant.task)
            return
        called = self._computed(question)
        if called is not None:
            yield called
            if not called.error:
                return
        provider = self._accounted("answer", PROMPT)
        question = self._standalone(question)
        if provider.streams:
            yield from self._streamed(question, provider, dropped)
            return
        answer = ask(question, self._library, provider, confidence=self._confidence)
        dropped[0] = len(answer.unsupported)
        if answer.abstained:
            yield _silence(answer.reason)
        for claim in answer.claims:
            if (yield from self._released(claim)):
                return

    def _streamed(self, question: str, provider: AccountedProvider, dropped: list[int]) -> Iterator[Event]:
        """Each claim as soon as a model has written it to its end, judged as `ask` judges it."""
        request = Request.of(question, self._library, self._confidence)
        if not request.messages:
            yield _silence(request.reason)
            return
        claims = 0
        for claim in request.claims(provider):
            if isinstance(claim, Unsupported):
                dropped[0] += 1
                continue
            claims += 1
            if (yield from self._released(claim)):
                return
        if not claims:
            yield _silence(
                "none of the claims made is borne out by the passage it names"
                if dropped[0]
                else "the passages found speak of it without answering it"
            )

    def _released(self, claim: VerifiedClaim) -> Generator[Event, None, bool]:
        """A claim the guard lets pass, or a hint instead; True if it was kept back."""
        texts = [claim.text] if claim.text == claim.quote else [claim.text, claim.quote]
        block = next((b for b in map(self._guard.release, texts) if b is not None), None)
        if block is not None:
            yield Refusal("assignment", block.reason[0].upper() + block.reason[1:] + ".")
            card = course_assignment.load(block.assignment).card
            if block.name in tasks(card):
                self._task = f"{block.assignment}/{block.name}"
            yield from self._hints(block.name if block.name in tasks(card) else "")
            return True
        source = self._cited(claim.source_id, claim.title, claim.section, claim.url)
        yield claimed(claim, source.number)
        if source not in self.sources:
            self.sources.append(source)
            yield source
        return False

    def _cited(self, source_id: str, title: str, section: str = "", url: str = "") -> Source:
        for source in self.sources:
            if (source.source_id, source.section) == (source_id, section):
                return source
        return Source(len(self.sources) + 1, source_id, title, section, url)

    def _hints(self, task: str) -> Iterator[Event]:
        number, task = self._task_of(task)
        card = course_assignment.load(number).card
        key = f"{number}/{task}"
        level = min(self._levels.get(key, -1) + 1, HIGHEST)
        rung = ladder(card, task)[level]
        self._task = key
        block = self._guard.release(rung.text)
        if block is not None:  # an instructor's own ladder came too near
            yield Refusal("assignment", block.reason[0].upper() + block.reason[1:] + ".")
            return
        if self._levels.get(key, -1) >= HIGHEST:
            yield Piece(
                "That was the last hint of this task; here it is again. Ask me about the ideas in it."
            )
        self._levels[key] = level
        yield Hint(number, task, level, rung.name, rung.text, rung.source, rung.section)
        if rung.source:
            source = self._cited(rung.source, rung.section, rung.section)
            if source not in self.sources:
                self.sources.append(source)
                yield source

    def _task_of(self, named: str) -> tuple[str, str]:
        """Assignment and task meant by a name, or by what was spoken of last."""
        for card in self._open_cards():
            if named in tasks(card):
                return card.number, named
        if named:
            names = ", ".join(name for card in self._open_cards() for name in tasks(card))
            raise InputError(f"there is no task {named[:40]!r}; there are {names}")
        if self._task:
            number, _, task = self._task.partition("/")
            return number, task
        cards = self._open_cards()
        if not cards:
            raise InputError("there is no assignment to give hints for")
        return cards[0].number, tasks(cards[0])[0]

    def _open_cards(self) -> list[Card]:
        return [c for c in self._cards if self._assignment in (None, c.number)]

    def _meant(self, question: str) -> tuple[Card | None, Intent]:
        """The assignment a text is about and what it asks for."""
        readings = [(card, intent(question, card)) for card in self._open_cards()]
        for card, meant in readings:
            if meant.task or meant.wants_solution:
                return card, meant
        return readings[0] if readings else (None, intent(question, None))

    def _computed(self, question: str) -> ToolCall | None:
        """A computation a model chooses from the menu; None without a model or a fitting one."""
        if self._provider.name == "extractive" or not _COMPUTE.search(question):
            return None
        system = f"{_prompt(TOOL)}\n{menu.described()}"
        messages = [Message("system", system), Message("user", question)]
        provider = self._accounted("tool", TOOL)
        try:
            chosen = provider.chat(messages, schema=_TOOL_FORM, seed=0, max_tokens=300).parsed
        except BudgetExceededError:
            raise
        except ServiceError:
            return None  # the question can still be answered from the library
        if chosen["tool"] == "none":
            return None
        invented = _numbers(chosen["arguments"]) - _numbers(question)
        if invented - {0.0, 1.0}:
            number = min(invented)
            problem = f"the model put in {number:g}, which you did not name"
            return ToolCall(chosen["tool"], chosen["arguments"], error=problem)
        return self._tools.call(chosen["tool"], chosen["arguments"])

    def _standalone(self, question: str) -> str:
        """A follow-up put so that it can be searched for; without a model, with the last question before it."""
        earlier = self._earlier()
        short = len(set(question_terms(question))) < 2
        if not earlier or not (short or _REFERS.search(question)):
            return question
        if self._provider.name == "extractive":
            return f"{earlier[-1]} {question}" if short else question
        said = "\n".join([*earlier, question])
        messages = [Message("system", _prompt(STANDALONE)), Message("user", said)]
        try:
            reply = self._accounted("standalone", STANDALONE).chat(
                messages, schema=_STANDALONE_FORM, seed=0, max_tokens=200
            )
            return checked_question(reply.parsed["question"])
        except BudgetExceededError:
            raise
        except (ServiceError, InputError):
            return question

    def _earlier(self) -> list[str]:
        """The last questions that were answered."""
        said: list[str] = []
        last = ""
        for entry in self.entries():
            if entry.kind == "student":
                last = str(entry.content["text"]).strip()
            elif entry.kind == "claim" and last and last not in said[-1:]:
                said.append(last)
        return said[-MEMORY:]

    def _accounted(self, purpose: str, prompt: str) -> AccountedProvider:
        return AccountedProvider(
            self._provider,
            self._calls,
            self._budget,
            purpose=purpose,
            prompt=prompt,
            conversation=self.number,
        )

    def _kept(self, event: Event) -> Event:
        self._store.add(self.number, type(event).__name__.lower(), to_dict(event))
        return event

    def _keep_state(self) -> None:
        state: dict[str, Any] = {"levels": self._levels, "task": self._task, "guard": self._guard.state()}
        self._store.keep_state(self.number, state)


def open_conversation(
    settings: Any, library: Retriever, provider: Provider, store: Transcripts, student: str, **options: Any
) -> Conversation:
    """A `Conversation` with the guard, due dates and confidence that belong here.

    Parameters
    ----------
    settings : Settings
        Whose home may hold ``due.toml``.
    library, provider, store, student, **options
        As for `Conversation`.
    """
    from tutor.guard import open_guard
    from tutor.library.confidence import Confidence
    from tutor.pedagogy.due import due_dates, over

    lifted = over(due_dates(settings.home), date.today())
    if getattr(library, "has_vectors", False):
        options.setdefault("confidence", Confidence(library))  # type: ignore[arg-type]
    options.setdefault("guard", open_guard(lifted))
    return Conversation(library, provider, store, student, lifted=lifted, **options)


def _silence(reason: str) -> Refusal:
    return Refusal("unsupported", f"I cannot answer this from my sources: {reason}.")


def _prompt(name: str) -> str:
    file = resources.files("tutor.pedagogy").joinpath("prompts", f"{name}.txt")
    return file.read_text(encoding="utf-8")


def _numbers(value: Any) -> set[float]:
    return {float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", str(value))}

"""One conversation with one student: what is said goes in, events come out, and all of it is kept.

    text -> command? -> computation? -> wish for a solution? -> ask the library -> guard -> events

Everything is stored before it is yielded, so that whatever breaks afterwards
loses nothing. Nothing reaches the student that the guard has not released, and
the guard remembers her and not the conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence

from statml.errors import InputError, ServiceError, StatmlError
from tutor.budget import AccountedProvider, Budget
from tutor.chat import choosing, follow_up
from tutor.chat import tools as menu
from tutor.chat.events import Done, Event, Piece, Refusal, Source, from_dict, to_dict
from tutor.chat.hints import Hints
from tutor.chat.question import Question
from tutor.chat.release import Release, kept_back
from tutor.chat.streaming import Request
from tutor.chat.tools import Tools
from tutor.guard import Guard
from tutor.guard.student import StudentGuard
from tutor.library.answer import PROMPT, Answer, Unsupported, ask, checked_question
from tutor.library.answer import Claim as VerifiedClaim
from tutor.library.search import Hit, Retriever
from tutor.providers.base import Provider
from tutor.records.calls import Calls
from tutor.records.guard_memory import GuardMemory
from tutor.records.transcripts import Entry, Transcripts

_RULES = "I stay the tutor of this course and keep to its rules; ask me about the subject."
_ASSIGNMENT = (
    "I do not solve assignment {} before it is due, but I help you to: here is a hint. "
    "/hint gives the next one."
)


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
    guard : Guard or callable, optional
        Keeps solutions back; see `tutor.guard.open_guard`. A callable opens it when it is needed.
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
        guard: Guard | Callable[[], Guard] | None = None,
        lifted: Sequence[str] | frozenset[str] = (),
        budget: Budget | None = None,
        confidence: Callable[[str, Sequence[Hit]], float] | None = None,
        tools: Tools | None = None,
    ) -> None:
        self.student = student
        self._library, self._store, self._confidence = library, store, confidence
        self._provider, self._budget = provider, budget or Budget()
        if number is not None:
            store.conversation(number, student)
        self._hints = Hints(assignment, store.state(number) if number is not None else {})
        self.number = store.begin(student, provider.name, provider.model) if number is None else number
        self._calls = Calls(store.records, student)
        known = StudentGuard(Guard(()) if guard is None else guard, GuardMemory(store.records, student))
        self._release = Release(known, (e for e in self.events() if isinstance(e, Source)))
        self._lifted, self._assignment = frozenset(lifted), assignment
        self._tools = tools or Tools()

    @property
    def sources(self) -> list[Source]:
        """The sources cited so far, by their numbers."""
        return self._release.sources

    def say(self, text: str) -> Generator[Event, None, None]:
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
        text = text.encode("utf-8", "replace").decode("utf-8")  # halves of characters cannot be kept
        dropped = [0]
        yield from self._turn(text, self._respond(text, dropped), dropped)

    def answer(self, question: str, *, k: int = 5) -> Answer:
        """Ask one question and have the whole answer at once, as `tutor ask` does.

        Kept, guarded and accounted for as `say` does it; there are no commands,
        computations and hints. What the guard keeps back is left out.

        Parameters
        ----------
        question : str
        k : int
            Passages looked at.

        Raises
        ------
        InputError, ServiceError
            As `tutor.library.answer.ask`; the failure is kept too.
        """
        asked = Question(checked_question(question), self._library, self._release, self._confidence, k)
        dropped = [0]
        turn = self._turn(question, self._asked(asked, dropped), dropped)
        while True:
            try:
                next(turn)
            except StopIteration as end:
                if end.value is not None:
                    raise end.value from None
                return asked.answer

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

    def _turn(
        self, text: str, events: Iterator[Event], dropped: list[int]
    ) -> Generator[Event, None, StatmlError | None]:
        """Keep what was said and each event; returns the failure the turn ended with."""
        about = {} if self._assignment is None else {"assignment": self._assignment}
        self._store.add(self.number, "student", {"text": text, **about})
        self._hints.join(self._store.state(self.number))  # it may be open elsewhere as well
        failure: StatmlError | None = None
        try:
            for event in events:
                yield self._kept(event)
        except StatmlError as error:
            told = self._release.failure(error)
            failure = error if told.text == str(error) else ServiceError(told.text)
            yield self._kept(told)
        finally:
            self._store.change_state(self.number, self._hints.join)
        spent = self._calls.spent(self.number)
        yield self._kept(
            Done(self._provider.name, self._provider.model, spent.tokens, spent.cost, dropped[0])
        )
        return failure

    def _respond(self, text: str, dropped: list[int]) -> Iterator[Event]:
        line = text.strip()
        if line.startswith("/hint"):
            yield from self._hint(line.removeprefix("/hint").strip())
            return
        command = menu.parse(line) if line.startswith("/") else None
        if command is not None:
            yield self._tools.call(*command)
            return
        if line.startswith("/"):
            raise InputError(f"there is no command {line.split()[0][:40]!r}; /help lists them")
        question = checked_question(text)
        refused, task, ends = self._refused(question)
        yield from refused
        if refused and refused[-1].kind == "assignment":
            yield from self._hint(task)
        if ends:
            return
        if self._provider.name != "extractive" and choosing.asks_for_one(question):
            provider = self._accounted("tool", choosing.TOOL)
            called = choosing.chosen(question, provider, self._tools, self._release.may_show)
            if called is not None:
                yield called
                if not called.error:
                    return
        provider = self._accounted("standalone", follow_up.STANDALONE)
        question = follow_up.standalone(question, follow_up.answered(self.entries()), provider)
        provider = self._accounted("answer", PROMPT)
        if provider.streams:
            yield from self._streamed(question, provider, dropped)
            return
        answer = ask(question, self._library, provider, confidence=self._confidence)
        dropped[0] = len(answer.unsupported)
        if answer.abstained:
            yield self._release.silence(answer.reason)
        for claim in answer.claims:
            if (yield from self._released(claim)):
                return

    def _asked(self, asked: Question, dropped: list[int]) -> Iterator[Event]:
        """The events of `answer`."""
        refused, _, ends = self._refused(asked.text)
        if ends:
            yield from refused
            asked.refuse(refused[-1], self._provider)
            return
        yield from asked.events(self._accounted("answer", PROMPT))
        dropped[0] = len(asked.answer.unsupported)

    def _refused(self, question: str) -> tuple[list[Refusal], str, bool]:
        """Why a text is not simply answered, the task it names, and whether that is the end of it."""
        card, meant = self._hints.meant(question)
        solves = meant.wants_solution and card is not None and card.number not in self._lifted
        refused = []
        if meant.changes_rules:
            refused.append(Refusal("rules", _RULES))
        if solves and card is not None:
            refused.append(Refusal("assignment", _ASSIGNMENT.format(card.number)))
        return refused, meant.task, solves or (meant.changes_rules and not meant.wants_solution)

    def _streamed(self, question: str, provider: AccountedProvider, dropped: list[int]) -> Iterator[Event]:
        """Each claim as soon as a model has written it to its end, judged as `ask` judges it."""
        request = Request.of(question, self._library, self._confidence)
        if not request.messages:
            yield self._release.silence(request.reason)
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
            yield self._release.silence(
                "none of the claims made is borne out by the passage it names"
                if dropped[0]
                else "the passages found speak of it without answering it"
            )

    def _released(self, claim: VerifiedClaim) -> Generator[Event, None, bool]:
        """A claim the guard lets pass, or a hint instead; True if it was kept back."""
        block = self._release.block(claim)
        if block is None:
            yield from self._release.claim(claim)
            return False
        yield kept_back(block)
        yield from self._hint(self._hints.turn_to(block.assignment, block.name))
        return True

    def _hint(self, task: str) -> Iterator[Event]:
        step = self._hints.next(task)
        block = self._release.hint(step.hint.text)
        if block is not None:
            yield kept_back(block)
            return
        if step.again:
            yield Piece(
                "That was the last hint of this task; here it is again. Ask me about the ideas in it."
            )
        self._hints.took(step)
        yield step.hint
        if step.hint.source:
            yield from self._release.source(step.hint.source, step.hint.section)

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

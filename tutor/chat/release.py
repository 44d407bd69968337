"""The last door before the student: what the guard lets pass becomes an event, with its source's number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from statml.errors import ServiceError, StatmlError
from tutor.budget import BudgetExceededError
from tutor.chat.events import Event, Refusal, Source, claimed
from tutor.chat.stopping import StoppedError
from tutor.guard import Block
from tutor.guard.student import StudentGuard
from tutor.library.answer import Claim


class Release:
    """Turns what was found into events, if it may be shown.

    Parameters
    ----------
    guard : StudentGuard
    sources : iterable of Source
        Those cited so far.
    """

    def __init__(self, guard: StudentGuard, sources: Iterable[Source] = ()) -> None:
        self._guard = guard
        self.sources = list(sources)

    def block(self, claim: Claim) -> Block | None:
        """Why a claim may not be shown; None if it may."""
        texts = [claim.text] if claim.text == claim.quote else [claim.text, claim.quote]
        return next((b for b in map(self._guard.release, texts) if b is not None), None)

    def may_show(self, *texts: str) -> bool:
        """Whether all of these texts may be shown."""
        return all(self._guard.release(text) is None for text in texts if text)

    def hint(self, text: str) -> Block | None:
        """Why a hint may not be shown: an instructor's own ladder may come too near."""
        return self._guard.release(text)

    def claim(self, claim: Claim) -> Iterator[Event]:
        """A claim that may be shown, and its source if that is new."""
        source = self._cited(claim.source_id, claim.title, claim.section, claim.url)
        yield claimed(claim, source.number)
        yield from self._introduced(source)

    def source(self, source_id: str, section: str) -> Iterator[Event]:
        """A source to read, if it is new."""
        yield from self._introduced(self._cited(source_id, section, section))

    def silence(self, reason: str) -> Refusal:
        """That there is no answer, and why."""
        shown = f": {reason}" if self.may_show(reason) else ""
        return Refusal("unsupported", f"I cannot answer this from my sources{shown}.")

    def failure(self, error: StatmlError) -> Refusal:
        """What went wrong, in one sentence; that of a server is not trusted more than its answers."""
        if isinstance(error, BudgetExceededError):
            return Refusal("budget", str(error))
        if isinstance(error, StoppedError):
            return Refusal("stopped", str(error))
        if not isinstance(error, ServiceError):
            return Refusal("input", str(error))
        said = str(error)
        hidden = "the model server failed; what it said is not shown"
        return Refusal("service", said if self.may_show(said) else hidden)

    def _introduced(self, source: Source) -> Iterator[Event]:
        if source not in self.sources:
            self.sources.append(source)
            yield source

    def _cited(self, source_id: str, title: str, section: str = "", url: str = "") -> Source:
        for source in self.sources:
            if (source.source_id, source.section) == (source_id, section):
                return source
        return Source(len(self.sources) + 1, source_id, title, section, url)


def kept_back(block: Block) -> Refusal:
    """That something is not shown."""
    return Refusal("assignment", block.reason[0].upper() + block.reason[1:] + ".")

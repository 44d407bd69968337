"""One question and its whole answer, as `tutor ask` puts it: `ask`, less what may not be shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tutor.chat.events import Event, Refusal
from tutor.chat.release import Release, kept_back
from tutor.library.answer import Answer, Claim, Unsupported, ask
from tutor.library.search import Hit, Retriever
from tutor.providers.base import Provider

#: Stands where words were that may not be shown.
NOT_SHOWN = "(a claim that is not shown)"


class Question:
    """A question that is asked once.

    Parameters
    ----------
    text : str
    library : Retriever
    release : Release
    confidence : callable or None
        See `ask`.
    k : int
        Passages looked at.

    Attributes
    ----------
    answer : Answer
        Once `events` has come to its end, or `refuse` was called.
    """

    answer: Answer

    def __init__(
        self,
        text: str,
        library: Retriever,
        release: Release,
        confidence: Callable[[str, Sequence[Hit]], float] | None,
        k: int,
    ) -> None:
        self.text = text
        self._library, self._release, self._confidence, self._k = library, release, confidence, k

    def refuse(self, why: Refusal, provider: Provider) -> None:
        """Answer with silence, without looking anything up."""
        assignment = why.kind == "assignment"
        reason = (
            "this asks for the solution of an assignment that is not due; `tutor chat` gives hints for it"
            if assignment
            else why.text.rstrip(".")
        )
        self.answer = Answer.silent(self.text, reason, provider.name, provider.model)

    def events(self, provider: Provider) -> Iterator[Event]:
        """Ask, and tell what is to be kept; raises as `ask`."""
        answer = ask(self.text, self._library, provider, k=self._k, confidence=self._confidence)
        claims: list[Claim] = []
        hidden: list[Unsupported] = []
        reason = answer.reason
        for claim in answer.claims:
            block = self._release.block(claim)
            if block is not None:
                yield kept_back(block)
                reason = block.reason
                hidden = [Unsupported(NOT_SHOWN, claim.source_id, "", reason)]
                break
            claims.append(claim)
            yield from self._release.claim(claim)
        if answer.abstained:
            yield self._release.silence(reason)
        self.answer = replace(
            answer,
            claims=tuple(claims),
            unsupported=(*map(self._dropped, answer.unsupported), *(hidden if claims else ())),
            abstained=not claims,
            reason="" if claims else reason,
            model=answer.model if self._release.may_show(answer.model) else provider.model,
        )

    def _dropped(self, dropped: Unsupported) -> Unsupported:
        """What the sources do not bear out is shown, as such; it may be a solution all the same."""
        if self._release.may_show(dropped.text, dropped.quote, dropped.reason):
            return dropped
        return Unsupported(NOT_SHOWN, dropped.source_id, "", "it would give away too much of an assignment")

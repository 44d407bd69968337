"""The guard of one student: what she was shown in one conversation counts in every other.

A solution cut into ten pieces over ten conversations is a solution in ten
pieces. The memory lies in the records, so it also holds over restarts and over
conversations that run side by side: a text is judged with what is remembered,
and released only if the memory has not changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from tutor.guard.guard import Block, Guard
from tutor.records.guard_memory import GuardMemory


class StudentGuard:
    """A `Guard` with the memory of a student.

    Parameters
    ----------
    guard : Guard or callable
        What is known of the solutions; a callable is called when the first text is to be judged.
    memory : GuardMemory

    Examples
    --------
    >>> from tutor.records import Records
    >>> with Records(":memory:") as records:
    ...     StudentGuard(Guard([]), GuardMemory(records, "s1")).release("anything") is None
    True
    """

    def __init__(self, guard: Guard | Callable[[], Guard], memory: GuardMemory) -> None:
        self._guard = guard
        self._memory = memory

    def release(self, text: str) -> Block | None:
        """See `Guard.release`.

        Raises
        ------
        ServiceError
            The records cannot be written: nothing is released.
        """
        if not isinstance(self._guard, Guard):
            self._guard = self._guard()
        if not (self._guard.fingerprints or self._guard.numbers):
            return None  # there is nothing to keep back, and nothing to remember
        while True:
            known = self._memory.recall()
            self._guard.restore(known)
            block = self._guard.release(text)
            if self._memory.keep(self._guard.state(), after=known):
                return block

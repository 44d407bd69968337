"""The course: assignments, what a student may have of them, and their schema.

``course.load("05")`` returns an `course.assignment.Assignment`. Importing this
package loads nothing but itself; the parts load what they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course.assignment import Assignment

__all__ = ["load"]


def load(number: str) -> Assignment:
    """Load an assignment by its number.

    Parameters
    ----------
    number : str
        Two digits, for instance ``"05"``.

    Returns
    -------
    Assignment

    Raises
    ------
    InputError
        There is no such assignment, or its card breaks the schema.
    MissingExtraError
        The extra ``course`` is not installed.

    Examples
    --------
    >>> import course
    >>> course.load("05").card.chapter
    5
    """
    from statml.errors import MissingExtraError

    try:
        from course import assignment
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in {"pydantic", "yaml"}:
            raise MissingExtraError("assignments need pydantic: pip install 'statml[course]'") from error
        raise
    return assignment.load(number)

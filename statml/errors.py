"""The errors a person is expected to meet, each one clear sentence.

`StatmlError` marks a failure caused by what came in (a wrong parameter, a
missing file, an extra that is not installed), never by a fault of ours. The
command lines print such an error as one line and exit with a non-zero code;
anything else keeps its traceback, because it is a bug.
"""

from __future__ import annotations


class StatmlError(Exception):
    """Base of every error that is the caller's to mend."""


class InputError(StatmlError, ValueError):
    """A value that is not accepted: names the parameter, what came, what is accepted."""


class InputTypeError(StatmlError, TypeError):
    """A value of a type that is not accepted."""


class DataNotFoundError(StatmlError, FileNotFoundError):
    """A data set, course file or index that is not where it could be; names where to put it."""

    def __str__(self) -> str:
        # FileNotFoundError formats (errno, text); ours carry one sentence.
        return str(self.args[0]) if self.args else ""


class MissingExtraError(StatmlError, ImportError):
    """An optional dependency is not installed; names the extra that brings it."""


class ServiceError(StatmlError, RuntimeError):
    """A service (a model endpoint, a sandbox) did not do what was asked of it."""

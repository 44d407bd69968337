"""Python code as a tree, read by one thread at a time.

Python 3.11 counts the depth of the tree it builds in a place that all threads
share. A thread that is interrupted while it builds one (by the garbage collector,
say) finds the count of another and fails with "AST constructor recursion depth
mismatch", whatever the code (https://github.com/python/cpython/issues/106905 has
the like of it). A server that looks at several texts at once must not.
"""

from __future__ import annotations

import ast
import threading
import warnings

_ONE_AT_A_TIME = threading.Lock()


def parse(code: str) -> ast.Module:
    """The tree of a text; what Python warns of in it is not shown.

    Parameters
    ----------
    code : str

    Returns
    -------
    ast.Module

    Raises
    ------
    SyntaxError, ValueError, RecursionError, MemoryError
        As `ast.parse`: it is no Python, holds a zero byte, or is nested too deeply.

    Examples
    --------
    >>> [type(statement).__name__ for statement in parse("x = 1").body]
    ['Assign']
    """
    # the filters of warnings belong to all threads too
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)

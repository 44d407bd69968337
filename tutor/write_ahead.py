"""SQLite's write-ahead log, switched on even while another thread or process does the same.

SQLite waits for other writers only where waiting cannot end in a deadlock, and a
change of the journal is not such a place: of two programs that open a new file at
once, one is told at once that it is locked, however long it was willing to wait.
"""

from __future__ import annotations

import sqlite3
import time

_PAUSE_SECONDS = 0.005


def write_ahead(connection: sqlite3.Connection, wait: float) -> None:
    """Switch the write-ahead log on.

    Parameters
    ----------
    connection : sqlite3.Connection
    wait : float
        Seconds to wait for others who are using the file.

    Raises
    ------
    sqlite3.OperationalError
        The file was still locked after that time, or cannot be written.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF  # the extended codes keep the reason in the higher bits
            if code != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)

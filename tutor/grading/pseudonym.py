"""Names that mean nothing to whoever reads the records: HMAC-SHA256 of the student's name.

The key lies beside the results with mode 0600 (or is given, for one key per
course); only who has it and the class list can go back.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from statml.errors import InputError

KEY_FILE = "pseudonym.key"
_KEY_BYTES = 32
_SHOWN = 16


def course_key(out: Path) -> bytes:
    """The key in ``out/pseudonym.key``, made on first use.

    Raises
    ------
    InputError
        The file holds something else.
    """
    path = out / KEY_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_KEY_BYTES) + "\n")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except (UnicodeDecodeError, ValueError):
        key = b""
    if len(key) < _KEY_BYTES:
        raise InputError(
            f"{path} holds no key of {2 * _KEY_BYTES} hexadecimal digits; restore it or remove it"
        )
    return key


def pseudonym(key: bytes, student: str) -> str:
    """The pseudonym of a student: 16 hexadecimal digits.

    Examples
    --------
    >>> pseudonym(b"key", "anna") == pseudonym(b"key", "anna") != pseudonym(b"key", "ben")
    True
    """
    return hmac.new(key, student.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:_SHOWN]

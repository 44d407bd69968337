"""The solution guard: nothing of an assignment's solution is shown before its due date.

>>> from tutor.guard import Guard
>>> Guard([]).check("anything") is None
True
"""

from tutor.guard.fingerprints import Fingerprint
from tutor.guard.guard import Block, Guard
from tutor.guard.sources import open_guard

__all__ = ["Block", "Fingerprint", "Guard", "open_guard"]

"""Run a student's code where it can reach nothing: bubblewrap, else namespaces of our own.

``detect()`` gives a `Sandbox` that held against its self-test on this machine;
``SandboxedSubmission(text, sandbox, limits)`` is the handle tests call.
"""

from __future__ import annotations

from tutor.sandbox.detect import detect
from tutor.sandbox.interface import Sandbox
from tutor.sandbox.session import SandboxedSubmission

__all__ = ["Sandbox", "SandboxedSubmission", "detect"]

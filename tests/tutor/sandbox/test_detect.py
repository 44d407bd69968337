"""A backend that does not isolate is refused, and the sentence names the mend."""

import os

import pytest

from statml.errors import ServiceError
from tutor.sandbox import detect as detect_function
from tutor.sandbox.bubblewrap import Bubblewrap
from tutor.sandbox.detect import refusal_of
from tutor.sandbox.interface import worker_settings
from tutor.sandbox.namespaces import Namespaces


class Leaky(Bubblewrap):
    """Bubblewrap with one hole."""

    def __init__(self, change):
        self.change = change

    def command(self, *args):
        return self.change(super().command(*args))


def without(option):
    return lambda command: [word for word in command if word != option]


def with_binding(kind, path):
    return lambda command: [*command[:1], *_late(command[1:], [kind, path, path])]


def _late(options, binding):
    at = options.index("--remount-ro")
    return [*options[:at], *binding, *options[at:]]


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("change", "escape"),
    [
        (with_binding("--ro-bind", "/etc"), "read a file of the host"),
        (without("--unshare-net"), "reach the network"),
        (without("--unshare-pid"), "see processes"),
        (lambda command: [*command[:-1], command[-1].replace("RLIMIT_CORE", "RLIMIT_NONE")], "did not start"),
    ],
)
def test_a_sandbox_with_a_hole_is_refused(change, escape):
    if Bubblewrap().missing() or refusal_of(Bubblewrap()):
        pytest.skip("bubblewrap does not work here")
    assert escape in (refusal_of(Leaky(change)) or "")


def test_without_backends_one_sentence_names_the_mend(monkeypatch):
    for backend in (Bubblewrap, Namespaces):
        monkeypatch.setattr(backend, "missing", lambda self: "is not there")
    detect_function.cache_clear()
    try:
        with pytest.raises(
            ServiceError, match=r"^no sandbox: install bubblewrap \(apt install bubblewrap\) or allow"
        ):
            detect_function()
    finally:
        detect_function.cache_clear()


def test_a_worker_that_keeps_privileges_does_not_start(monkeypatch):
    if os.getuid() != 0:
        pytest.skip("not root: there is nothing to keep")
    monkeypatch.setattr(
        "tutor.sandbox.bubblewrap.worker_settings",
        lambda *a: worker_settings(*a).replace('"uid": ', '"uid": null, "was": '),
    )
    if Bubblewrap().missing():
        pytest.skip("bwrap is not installed")
    assert "still runs as root" in (refusal_of(Bubblewrap()) or "")

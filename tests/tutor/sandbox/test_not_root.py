"""The same backends when whoever grades is not root: user namespaces instead of mounts by root."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.sandbox
ROOT = Path(__file__).resolve().parents[3]
USER = "54321"

SCRIPT = """
import os
from tutor.sandbox.bubblewrap import Bubblewrap
from tutor.sandbox.detect import refusal_of
from tutor.sandbox.namespaces import Namespaces
for backend in (Bubblewrap(), Namespaces()):
    print(backend.name, os.getuid(), refusal_of(backend))
"""


def as_user(*command):
    """`command` as an unprivileged user, with the interpreter and the checkout readable to it."""
    wrapped = ["bwrap", "--dev-bind", "/", "/"]
    paths = sorted({str(Path(path).resolve()) for path in (sys.base_prefix, sys.prefix, ROOT)})
    covered = {Path(*Path(path).parts[:2]) for path in paths} - {Path("/usr"), Path("/opt")}
    for folder in sorted(covered):
        wrapped += ["--perms", "0755", "--tmpfs", str(folder)]
    for path in paths:
        if Path(*Path(path).parts[:2]) in covered:
            for parent in reversed(Path(path).parents[:-2]):
                wrapped += ["--perms", "0755", "--dir", str(parent)]
            wrapped += ["--ro-bind", path, path]
    wrapped += ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--inh-caps=-all", *command]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    return subprocess.run(wrapped, env=environment, cwd="/", capture_output=True, text=True, timeout=120)


def test_an_unprivileged_user_gets_a_sandbox_that_holds():
    if os.getuid() != 0:
        pytest.skip("not root: every other test here already runs unprivileged")
    if not shutil.which("bwrap") or not shutil.which("setpriv"):
        pytest.skip("needs bwrap and setpriv to become an unprivileged user")
    trial = as_user(sys.executable, "-c", "import numpy")
    if trial.returncode:
        pytest.skip(f"an unprivileged user cannot run this interpreter: {trial.stderr[-200:]}")
    if as_user("unshare", "--user", "--map-user", "65534", "true").returncode:
        pytest.skip("this machine allows no user namespaces")
    found = as_user(sys.executable, "-c", SCRIPT)
    assert found.stdout.splitlines() == [f"bubblewrap {USER} None", f"namespaces {USER} None"], found.stderr

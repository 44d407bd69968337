"""What a hostile submission tries, and that it stays inside."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from course.submission import SubmissionCrashed, SubmissionError, SubmissionMemoryError, SubmissionTimeout
from tutor.sandbox.layout import layout

pytestmark = pytest.mark.sandbox
ROOT = Path(__file__).resolve().parents[3]
ADD = "def add(a, b):\n    return a + b\n"


def works(submission):
    return submission.call("add", np.array([1.0]), np.array([2.0])).tolist() == [3.0]


def refused(submission, function, *args):
    """Name of the exception the function met inside."""
    return str(submission.call(function, *args))


CATCH = """
def caught(action):
    import numpy as np
    try:
        action()
    except BaseException as error:
        return np.array(type(error).__name__)
    return np.array("it worked")
"""


def test_no_network_not_even_this_machine(submit):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        submission = submit(
            CATCH,
            "import socket\n"
            "def tcp(port): return caught(lambda: socket.create_connection(('127.0.0.1', port), timeout=1))\n"
            "def far(): return caught(lambda: socket.create_connection(('192.0.2.1', 80), timeout=1))\n"
            "def dns(): return caught(lambda: socket.getaddrinfo('example.org', 80))\n"
            "def raw(): return caught(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))\n",
        )
        assert refused(submission, "tcp", listener.getsockname()[1]) in {"ConnectionRefusedError", "OSError"}
        assert refused(submission, "far") in {"OSError", "TimeoutError"}
        assert refused(submission, "dns") == "gaierror"
        assert refused(submission, "raw") == "PermissionError"


def test_unix_sockets_of_the_host_are_out_of_reach(submit):
    # abstract sockets belong to the network namespace, not to any folder
    name = f"\0statml-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        submission = submit(
            CATCH,
            "import socket\ndef reach(name): return caught(lambda: socket.socket(socket.AF_UNIX).connect(name))",
        )
        assert refused(submission, "reach", name) == "ConnectionRefusedError"


def test_no_file_of_the_host_can_be_read(submit, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("secret")
    submission = submit(CATCH, "def read(path): return caught(lambda: open(path).read())")
    instructor = ROOT / "instructor" / "assignments" / "05_bayesian_regression" / "solution.py"
    assert instructor.is_file()
    for path in (canary, instructor, ROOT / "pyproject.toml", ROOT / "course" / "schema.py", Path(__file__)):
        assert refused(submission, "read", str(path)) in {"FileNotFoundError", "PermissionError"}, path
    for path in ("/etc/shadow", "/etc/passwd", f"/proc/{os.getpid()}/environ"):
        assert refused(submission, "read", path) in {"FileNotFoundError", "PermissionError"}, path


def test_course_and_tutor_do_not_exist_inside_but_statml_does(submit):
    submission = submit(
        "import importlib.util, numpy as np\n"
        "def there(name):\n"
        "    try: return np.array(importlib.util.find_spec(name) is not None)\n"
        "    except ModuleNotFoundError: return np.array(False)\n"
    )
    assert not submission.call("there", "instructor")
    assert not submission.call("there", "tutor.grading")
    assert submission.call("there", "statml.errors")
    assert submission.call("there", "sklearn")


def test_the_bundled_data_with_their_true_labels_are_not_inside(submit_once):
    submission = submit_once(
        "import os, numpy as np\n"
        "from statml import datasets\n"
        "def load():\n"
        "    datasets.load('gaia_xp')\n"
        "    return 1\n"
        "def found():\n"
        "    names = [n for f in ('/sandbox',) for _, _, files in os.walk(f) for n in files]\n"
        "    return np.array([n == 'gaia_xp.npz' for n in names]).sum()\n",
        seconds=30,
        memory_mb=1024,
    )
    with pytest.raises(SubmissionError):
        submission.call("load")
    assert submission.call("found") == 0


def test_an_installed_copy_hides_its_data_too(monkeypatch, tmp_path):
    package = tmp_path / "statml"
    (package / "_data").mkdir(parents=True)
    monkeypatch.setattr("tutor.sandbox.layout._package_folders", lambda: [tmp_path])
    assert layout().hidden == ("/sandbox/site0/statml/_data",)


def test_only_the_private_tmp_can_be_written(submit):
    submission = submit(
        CATCH,
        "import os\n"
        "def write(folder): return caught(lambda: open(os.path.join(folder, 'x'), 'w').write('x'))\n",
    )
    for folder in (
        "/",
        "/usr/lib",
        "/sandbox/site0",
        "/sandbox/run/inside",
        "/dev",
        "/proc",
        "/root",
        str(ROOT),
    ):
        assert refused(submission, "write", folder) in {"OSError", "PermissionError", "FileNotFoundError"}, (
            folder
        )
    before = set(os.listdir("/tmp"))
    assert refused(submission, "write", "/tmp") == "it worked"
    assert "x" not in set(os.listdir("/tmp")) - before


def test_tmp_cannot_be_filled_beyond_its_size(submit):
    submission = submit(
        "import numpy as np\n"
        "def fill():\n"
        "    written = 0\n"
        "    try:\n"
        "        for i in range(100):\n"
        "            with open(f'/tmp/{i}', 'wb', buffering=0) as file:\n"
        "                written += file.write(bytes(1 << 20))\n"
        "    except OSError:\n"
        "        pass\n"
        "    return np.array(written)\n"
    )
    assert submission.call("fill") <= 8 << 20


def test_one_file_cannot_pass_its_size(submit):
    submission = submit(
        CATCH,
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "def big(): return caught(lambda: open('/dev/shm/x', 'wb', buffering=0).truncate(1 << 30))\n",
    )
    assert refused(submission, "big") == "OSError"


def test_environment_holds_no_secret(submit, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    submission = submit(
        "import os, numpy as np\ndef env(): return np.array([f'{k}={v}' for k, v in os.environ.items()])\n"
        "def first():\n"
        "    try: return np.array(open('/proc/1/environ').read().replace(chr(0), ' '))\n"
        "    except PermissionError: return np.array('')\n"
    )
    # the first process inside was started by the grader
    told = " ".join(submission.call("env")) + str(submission.call("first"))
    assert "very-secret" not in told
    assert str(ROOT) not in told


def test_is_nobody_without_capabilities_and_cannot_get_them_back(submit):
    submission = submit(
        CATCH,
        "import ctypes, os, numpy as np\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def ids(): return np.array([os.getuid(), os.geteuid(), os.getgid(), len(os.getgroups())])\n"
        "def become_root(): return caught(lambda: os.setuid(0))\n"
        "def syscalls():\n"
        "    new_user, memory_file = libc.unshare(0x10000000), libc.memfd_create(b'x', 0)\n"
        "    return np.array([new_user, memory_file, libc.ptrace(0, 0, 0, 0)])\n"
        "def clone_user():\n"
        "    pid = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)\n"
        "    if pid == 0: os._exit(0)\n"
        "    return np.array(pid)\n"
        "def capabilities():\n"
        "    fields = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "    return np.array([int(fields[n], 16) for n in ('CapEff', 'CapPrm', 'CapInh', 'CapAmb')])\n",
    )
    ids = submission.call("ids")
    assert ids[0] != 0 and ids[1] != 0 and ids[2] != 0
    assert refused(submission, "become_root") in {"PermissionError", "OSError"}
    assert submission.call("syscalls").tolist() == [-1, -1, -1]
    assert submission.call("clone_user") == -1
    assert not submission.call("capabilities").any()


def test_two_sandboxes_of_root_run_as_different_users(submit):
    if os.getuid() != 0:
        pytest.skip("not root: all sandboxes are in user namespaces of their own")
    source = "import os, numpy as np\ndef uid(): return np.array(os.getuid())"
    assert submit(source).call("uid") != submit(source).call("uid")


def test_processes_of_the_host_are_invisible(submit):
    submission = submit(
        "import os, numpy as np\ndef pids(): return np.array([int(n) for n in os.listdir('/proc') if n.isdigit()])"
    )
    assert len(submission.call("pids")) <= 4


def test_fork_bomb_is_contained(submit):
    submission = submit(
        ADD,
        "import os, time\n"
        "def bomb():\n"
        "    while True:\n"
        "        try: os.fork()\n"
        "        except OSError: time.sleep(0.01)\n",
        seconds=2,
    )
    start = time.monotonic()
    with pytest.raises((SubmissionTimeout, SubmissionCrashed)):
        submission.call("bomb")
    assert time.monotonic() - start < 60
    assert works(submission)


def test_processes_are_counted(submit):
    submission = submit(
        "import os, signal, numpy as np\n"
        "def children():\n"
        "    born = []\n"
        "    try:\n"
        "        while len(born) < 200:\n"
        "            pid = os.fork()\n"
        "            if pid == 0: signal.pause()\n"
        "            born.append(pid)\n"
        "    except OSError: pass\n"
        "    return np.array(len(born))\n"
    )
    assert submission.call("children") < 16


def test_memory_of_one_process(submit):
    submission = submit(ADD, "import numpy as np\ndef hog(): return np.ones(10**12).sum()\n")
    with pytest.raises(SubmissionMemoryError):
        submission.call("hog")
    assert works(submission)


def test_memory_of_many_children_together(submit):
    # each child stays below the limit, together they do not
    submission = submit(
        ADD,
        "import os, time\n"
        "def hogs():\n"
        "    for _ in range(8):\n"
        "        if os.fork() == 0:\n"
        "            block = bytearray(os.urandom(1 << 20) * 100)\n"
        "            time.sleep(60)\n"
        "    time.sleep(60)\n",
        seconds=40,
    )
    with pytest.raises(SubmissionMemoryError, match="with all its processes"):
        submission.call("hogs")
    assert works(submission)


def test_memory_shared_by_forks_is_counted_once(submit_once):
    submission = submit_once(
        "import os, time, numpy as np\n"
        "block = np.ones(20_000_000)\n"  # 160 MB of the 300
        "def share():\n"
        "    pids = []\n"
        "    for _ in range(4):\n"
        "        pid = os.fork()\n"
        "        if pid == 0:\n"
        "            block.sum(); time.sleep(0.5); os._exit(0)\n"
        "        pids.append(pid)\n"
        "    for pid in pids: os.waitpid(pid, 0)\n"
        "    return block[:1]\n"
    )
    assert submission.call("share").tolist() == [1.0]


def test_hog_between_calls_is_ended_too(submit_once, wait_for):
    submission = submit_once(
        ADD,
        "import threading, time\n"
        "def arm():\n"
        "    def later():\n"
        "        time.sleep(0.2); keep.append(bytearray(b'x' * (600 << 20)))\n"
        "    keep = []\n"
        "    threading.Thread(target=later, daemon=True).start()\n"
        "    return 1\n",
    )
    assert submission.call("arm") == 1
    wait_for(lambda: submission._tree._process.poll() is not None)
    with pytest.raises(SubmissionMemoryError):
        works(submission)
    assert works(submission)


#: Other workers of the tests have daemons of their own.
DAEMON = f"sandbox-daemon-{os.getpid()}-of-a-test"


def test_sleeping_daemon_does_not_survive(submit, wait_for):
    submission = submit(
        "import os, time, numpy as np\n"
        "def daemonise():\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        f"            os.execv(os.sys.executable, ['{DAEMON}', '-S', '-c', 'import time; time.sleep(300)'])\n"
        "        os._exit(0)\n"
        "    return 1\n"
    )
    assert submission.call("daemonise") == 1
    wait_for(daemons)
    submission.close()
    assert not daemons()


def daemons():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if DAEMON.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("import sys; sys.exit(0)", SubmissionError),
        ("import os; os._exit(0)", SubmissionCrashed),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", SubmissionCrashed),
        ("import ctypes; ctypes.string_at(1)", SubmissionCrashed),
        ("raise KeyboardInterrupt", SubmissionError),
        ("raise type('Bad', (BaseException,), {'__str__': lambda self: 1 / 0})()", SubmissionError),
        ("while True: pass", SubmissionTimeout),
        ("import time; time.sleep(100)", SubmissionTimeout),
        ("import os; os.closerange(3, 4096); return 1", SubmissionCrashed),
        ("f()", SubmissionError),
        ("return lambda: 0", SubmissionError),
        ("import numpy as np; return np.array([object()])", SubmissionError),
        ("import numpy as np; return np.zeros(1 << 21)", SubmissionError),
    ],
)
def test_a_bad_call_costs_itself_and_the_next_one_works(submit_once, body, error):
    seconds = 2 if error is SubmissionTimeout else 20  # the one is waited for, the other not reached
    submission = submit_once(ADD, f"def f():\n    {body}\n", seconds=seconds)
    with pytest.raises(error):
        submission.call("f")
    assert works(submission)


def test_killing_everything_kills_only_what_is_inside(submit):
    submission = submit(ADD, "import os, signal\ndef f():\n    os.kill(-1, signal.SIGKILL)\n    return 1\n")
    with contextlib.suppress(SubmissionError):  # there may be nothing it is allowed to kill
        submission.call("f")
    assert works(submission)


@pytest.mark.parametrize("garbage", ["b'x' * 100_000", "FORGED * 3", "FORGED[:10]"])
def test_garbage_on_every_descriptor_is_never_taken_for_more_than_an_answer(submit_once, garbage):
    submission = submit_once(
        ADD,
        "import struct, json\n"
        "head = json.dumps({'id': 99, 'ok': True, 'value': {'v': 1.0}}).encode()\n"
        "FORGED = struct.pack('<4sIQ', b'SML1', len(head), 0) + head\n"
        "import os, fcntl\n"
        "def f():\n"
        "    for fd in range(256):\n"
        "        try:\n"
        "            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)\n"
        f"            os.write(fd, {garbage})\n"
        "        except OSError: pass\n"
        "    return 1\n",
        seconds=2,
    )
    with pytest.raises((SubmissionCrashed, SubmissionTimeout)):
        submission.call("f")
    assert works(submission)


def test_printing_is_captured_capped_and_harmless(submit_once):
    submission = submit_once(
        "print('hello')\n",
        "import sys\ndef f():\n    print('y' * 10_000_000); print('z' * 1000, file=sys.stderr)\n    return 7\n",
    )
    assert submission.call("f") == 7
    submission.close()
    assert submission.output.startswith("hello")
    assert len(submission.output) <= 65536


def test_what_is_patched_inside_stays_inside(submit_once):
    submission = submit_once(
        "import numpy as np, builtins\n"
        "np.allclose = lambda *a, **k: True\n"
        "builtins.AssertionError = ValueError\n"
        "builtins.sum = lambda x: 3\n"
        "def f(): return np.array([1.0, 2.0])\n"
    )
    answer = submission.call("f")
    assert not np.allclose(answer, 0.0)
    assert sum([1]) == 1
    with pytest.raises(AssertionError):
        raise AssertionError


def test_the_parent_of_a_killed_grader_leaves_nothing_behind(backend, tmp_path, wait_for):
    script = tmp_path / "grader.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from conftest import text_of, LIMITS\n"
        "from tutor.sandbox.session import SandboxedSubmission\n"
        "from tutor.sandbox.bubblewrap import Bubblewrap\n"
        "from tutor.sandbox.namespaces import Namespaces\n"
        "b = {'bubblewrap': Bubblewrap, 'namespaces': Namespaces}[sys.argv[1]]()\n"
        "s = SandboxedSubmission(text_of('def f():\\n    import os\\n'\n"
        f'  \'    os.execv(os.sys.executable, ["{DAEMON}", "-S", "-c", "while True: pass"])\'), b,\n'
        "  LIMITS.model_copy(update={'seconds': 60.0}))\n"
        "s.call('f')\n"
    )
    here = str(Path(__file__).parent)
    grader = subprocess.Popen([sys.executable, str(script), backend.name, here])
    wait_for(daemons)
    grader.send_signal(signal.SIGKILL)
    grader.wait()
    wait_for(lambda: not daemons())

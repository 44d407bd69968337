"""Headless Chromium by its DevTools protocol: enough to open a page, run a line, and take its picture."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import connect

#: Roles that need a name.
CONTROLS = {
    "button", "link", "textbox", "combobox", "spinbutton", "tab", "tabpanel", "region", "group", "log",
}  # fmt: skip

#: No host but this machine: the browser itself calls home otherwise.
OPTIONS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def port_of(profile: Path, process: subprocess.Popen[bytes], seconds: float = 60.0) -> int:
    """The port a starting browser writes into its profile."""
    file, end = profile / "DevToolsActivePort", time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if file.is_file() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise RuntimeError(f"the browser did not start (exit code {process.poll()})")


class Tab:
    """One tab; remembers dialogs, requests and errors of the console."""

    def __init__(self, address: str) -> None:
        self._open = ExitStack()
        self._socket = self._open.enter_context(connect(address, max_size=None, compression=None, proxy=None))
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its reply; events that come before it are kept."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            self.events.append(message)
            if message.get("method") == "Page.javascriptDialogOpening":
                self._socket.send(
                    json.dumps(
                        {"id": 10**9, "method": "Page.handleJavaScriptDialog", "params": {"accept": False}}
                    )
                )

    def run(self, line: str) -> Any:
        """Value of an expression in the page; promises are waited for."""
        result = self.send("Runtime.evaluate", expression=line, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{line}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = 60.0) -> None:
        """Wait until an expression is true, also across a navigation."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.run(f"Boolean({condition})"):
                    return
            except RuntimeError:
                pass  # between two documents
            time.sleep(0.01)
        raise AssertionError(f"never true: {condition}")

    def key(self, name: str, code: int) -> None:
        """Press a key where the focus is."""
        text = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **text
            )

    def nameless(self) -> list[str]:
        """Controls that a screen reader could not call by a name."""
        tree = self.send("Accessibility.getFullAXTree")["nodes"]
        shown = [(n["role"]["value"], n.get("name", {}).get("value")) for n in tree if not n["ignored"]]
        controls = [(role, name) for role, name in shown if role in CONTROLS]
        assert len(controls) > 5
        return [role for role, name in controls if not name]

    def picture(self, path: Path) -> None:
        """Save what is seen."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Size of the window, and light or dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def named(self, method: str) -> list[dict[str, Any]]:
        """Parameters of the events of one kind."""
        return [e["params"] for e in self.events if e.get("method") == method]

    def close(self) -> None:
        """Let go of the tab."""
        self._open.close()


class Browser:
    """Chromium with an empty profile, ended with the block."""

    def __init__(self, program: str, profile: Path) -> None:
        root = ("--no-sandbox",) if os.geteuid() == 0 else ()
        command = [program, *OPTIONS, *root, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._port = port_of(profile, self._process)
        except RuntimeError:
            self._process.kill()
            raise

    def tab(self) -> Tab:
        """A new tab that watches its page, network and console."""
        ask = urllib.request.Request(f"http://127.0.0.1:{self._port}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(ask, timeout=60) as reply:
            tab = Tab(json.load(reply)["webSocketDebuggerUrl"])
        for part in ("Page", "Network", "Runtime", "Log"):
            tab.send(f"{part}.enable")
        return tab

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

"""A headless Chromium for tests, over the DevTools protocol on a pipe: pages, screenshots, PDF, and events.

Needs the program `chromium`; a test that opens one is skipped by name where it is missing. The browser may reach no
host: every name resolves to nothing, and its own background services are off, so that a request in the net log is one
that a page made.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile

import pytest

PATIENCE = 120
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]


class Browser:
    """One browser process and one tab; a context manager."""

    def __init__(self, net_log):
        if shutil.which("chromium") is None:
            pytest.skip("chromium is not installed; ./setup.sh installs it")
        self.profile = tempfile.mkdtemp(prefix="chromium")
        command_read, self.command = os.pipe()
        self.answers, answers_write = os.pipe()

        def connect():  # the protocol's pipes are file descriptors 3 and 4
            os.dup2(os.dup(command_read), 103)
            os.dup2(os.dup(answers_write), 104)
            os.dup2(103, 3)
            os.dup2(104, 4)

        self.process = subprocess.Popen(
            [
                "chromium",
                *FLAGS,
                "--remote-debugging-pipe",
                f"--user-data-dir={self.profile}",
                f"--log-net-log={net_log}",
                "about:blank",
            ],
            preexec_fn=connect,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(answers_write)
        self.buffer, self.last, self.session, self.events = b"", 0, None, []
        try:
            self._attach()
        except Exception:
            self._end()
            raise

    def _attach(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        try:
            self.session = None
            self.call("Browser.close")
            self.process.wait(timeout=PATIENCE)  # it writes the net log's end
        finally:
            self._end()

    def _end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.command)
        os.close(self.answers)
        shutil.rmtree(self.profile, ignore_errors=True)

    def _message(self):
        while b"\0" not in self.buffer:
            if not select.select([self.answers], [], [], PATIENCE)[0]:
                raise RuntimeError(f"chromium said nothing for {PATIENCE} s")
            part = os.read(self.answers, 1 << 16)
            if not part:
                raise RuntimeError("chromium ended")
            self.buffer += part
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.last += 1
        request = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.command, json.dumps(request).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self.last:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def open(self, url, width):
        """Loads a page in a window so wide; returns the events of doing so."""
        self.events = []
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())
        # Images are decoded and laid out before anything is measured.
        self.value("Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() => 0)")
        return self.events

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def screenshot(self, path):
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def pdf(self):
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])

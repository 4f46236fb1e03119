"""A headless Chromium controlled through WebDriver's HTTP interface; tests are skipped if it is not installed."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def request_json(address: str, body: dict | None = None, wait: float = 60) -> dict:
    """The JSON response of a URL, once a server is listening there."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    until = time.monotonic() + wait
    while True:
        try:
            with urllib.request.urlopen(request, timeout=wait) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


class Browser:
    """One browser window; elements are selected by CSS selectors."""

    def __init__(self, session: str) -> None:
        self.session = session

    def _element(self, selector: str) -> str:
        found = request_json(f"{self.session}/element", {"using": "css selector", "value": selector})["value"]
        return f"{self.session}/element/{next(iter(found.values()))}"

    def open(self, address: str) -> None:
        request_json(f"{self.session}/url", {"url": address})

    def type(self, selector: str, text: str) -> None:
        request_json(f"{self._element(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        request_json(f"{self._element(selector)}/click", {})

    def text(self, selector: str, wait: float = 0) -> str:
        """The visible text of an element, waiting at most `wait` seconds for it."""
        until = time.monotonic() + wait
        while True:
            try:
                shown = request_json(f"{self._element(selector)}/text")["value"]
            except urllib.error.HTTPError:  # the element does not exist yet
                shown = ""
            if shown or time.monotonic() > until:
                return shown
            time.sleep(0.1)


@contextmanager
def headless_browser(folder: Path) -> Iterator[Browser]:
    """A browser whose profile is in `folder`."""
    driver = shutil.which("chromedriver")
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or binary is None:
        pytest.skip("chromium and chromedriver are not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    session = ""
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}/chromium"]
        options = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments, "binary": binary}}
        sessions = f"http://127.0.0.1:{port}/session"
        session = f"{sessions}/{request_json(sessions, {'capabilities': {'alwaysMatch': options}}, 120)['value']['sessionId']}"
        yield Browser(session)
    finally:
        if session:  # otherwise the browser outlives its driver
            urllib.request.urlopen(urllib.request.Request(session, method="DELETE"), timeout=60).close()
        process.kill()
        process.wait()

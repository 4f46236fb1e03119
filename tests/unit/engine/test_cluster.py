"""Joining a cluster leaves the process as it was. `ray` itself is replaced, so this needs neither Ray nor a cluster."""

from __future__ import annotations

import signal
import sys
from types import SimpleNamespace

import pytest

from tinybert.commands.augment import AugmentConfig
from tinybert.commands.compare import CompareConfig
from tinybert.commands.predict import PredictConfig
from tinybert.engine.cluster import ClusterWorkers
from tinybert.errors import UserError


class RayError(Exception):
    """Of a lost worker."""


class RayTaskError(RayError):
    """Of a function that raised `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"a traceback of the worker, and {cause}")
        self.cause = cause


@pytest.fixture
def ray(monkeypatch):
    """A module that installs a SIGTERM handler and records its calls, as Ray 2.60 does."""
    calls: list[str] = []

    def init(**options):
        calls.append(f"init {options['address']}")
        signal.signal(signal.SIGTERM, lambda *_: None)
        if options["address"] == "nowhere":
            raise ConnectionError("refused")

    module = SimpleNamespace(
        init=init, is_initialized=lambda: False, nodes=lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}], put=lambda value: value,
        remote=lambda **_: lambda function: SimpleNamespace(remote=lambda *_: None),
        exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError), shutdown=lambda: calls.append("shutdown"), calls=calls,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", module)
    return module


def test_sigterm_handler_is_that_of_the_caller(ray):
    before = signal.getsignal(signal.SIGTERM)
    with ClusterWorkers((), None, 1):
        assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGTERM) is before and ray.calls == ["init None", "shutdown"]


def test_missing_cluster_is_reported_with_its_address(ray):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(UserError, match="--address nowhere: there is no Ray cluster"), ClusterWorkers((), "nowhere", 1):
        pass
    assert signal.getsignal(signal.SIGTERM) is before


def test_cluster_of_the_caller_is_not_shut_down(ray):
    ray.is_initialized = lambda: True
    with ClusterWorkers((), None, 1):
        pass
    assert not ray.calls


@pytest.mark.parametrize(
    ("error", "message"),
    [(RayError("died"), "lost 4 workers at the same work"), (RayTaskError(UserError("row 3 is bad")), "^row 3 is bad$")],
)
def test_errors_of_the_cluster_are_those_of_a_command(ray, error, message):
    def get(_):
        raise error

    ray.get = get
    with ClusterWorkers((print,), None, 1) as workers, pytest.raises(UserError, match=message):
        list(workers.ordered(print, range(1)))


def test_missing_ray_is_reported_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs Ray\npip install 'tinybert-paddle\[cluster\]'"), ClusterWorkers((), None, 1):
        pass


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (PredictConfig, {"model_path": "m", "input": "i", "output": "o", "address": "auto"}, "add --runner ray"),
        (AugmentConfig, {"task_name": "demo", "pretrained_bert_model": "m", "runner": "ray", "num_workers": 2}, "--num_workers is for"),
        (CompareConfig, {"task_name": "demo", "teacher_path": "T", "output_dir": "o", "runner": "ray", "parallel": 2}, "--parallel is for"),
    ],
)
def test_options_of_the_other_runner_are_refused(config, options, message):
    with pytest.raises(UserError, match=message):
        config(**options)

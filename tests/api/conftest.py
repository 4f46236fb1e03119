"""Rows that a tiny student can learn, a matching teacher, and a separate cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiny
from tinybert.log import logger

STEPS = {"max_steps": 4, "batch_size": 8, "learning_rate": 1e-3, "logging_steps": 2, "save_steps": 2, "max_seq_length": 16, "device": "cpu"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """`SST-2` with learnable rows, and `teacher`, a model of their labels."""
    root = tmp_path_factory.mktemp("api")
    tiny.learnable_rows(root / "SST-2", {"train": 48, "dev": 24}, seed=1)
    tiny.model_folder(root / "teacher", labels=("0", "1"))
    return root


@pytest.fixture(autouse=True)
def quiet(tmp_path_factory, monkeypatch):
    """Stores and models of the session in one folder; no log output."""
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    level = logger.level
    yield
    logger.setLevel(level)

"""Rows and a teacher for runs that are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiny


@pytest.fixture(scope="package")
def world(tmp_path_factory) -> dict[str, Path]:
    """Rows with a learnable rule, and a teacher with dropout."""
    root = tmp_path_factory.mktemp("resume")
    data = root / "SST-2"
    tiny.learnable_rows(data, {"train": 44, "dev": 12}, seed=3)
    tiny.model_folder(root / "teacher", labels=("0", "1"), num_hidden_layers=4)
    return {"data": data, "teacher": root / "teacher", "cache": root / "cache"}


@pytest.fixture(autouse=True)
def _cache(world, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(world["cache"]))

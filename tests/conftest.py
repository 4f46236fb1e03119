"""What every test relies on: Paddle prepared as in real runs, and where real data lies when there is any."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tinybert import runtime  # noqa: E402

runtime.prepare()


def real_data_folder() -> Path | None:
    """The folder with real GLUE data: TEST_DATA_DIR, else `../shared/data` beside the project."""
    folder = Path(os.environ.get("TEST_DATA_DIR", ROOT.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real GLUE data, or a skip that says how to provide it."""
    folder = real_data_folder()
    if folder is None:
        pytest.skip("no real data here: set TEST_DATA_DIR to a folder with Glue/<TASK>/")
    return folder

"""The record of one job, an entry of run.json: training stages, comparisons and exports share this format.

Schema 2. Entries of version 0.1 have no schema number and are read as schema 1, which has the same fields except `kind`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from tinybert import storage
from tinybert.errors import UserError

FILE = "run.json"
SCHEMA = 2
Kind = Literal["stage", "comparison", "export"]


@dataclass(frozen=True)
class Setting:
    """A resolved setting: its value and its source (given, preset NAME, default)."""

    value: object
    source: str


@dataclass(frozen=True)
class ModelEntry:
    """A model used by the job. sha256: of its weights file, None if it has none. fresh, unused: parameter names."""

    source: str
    sha256: str | None
    type: str
    layers: int
    hidden: int
    heads: int
    parameters: int | None = None
    fresh: list[str] | None = None
    unused: list[str] | None = None


@dataclass(frozen=True)
class DataEntry:
    """The rows that were read: their number, and the sha256 of their file."""

    rows: int
    sha256: str | None


@dataclass(frozen=True)
class RunRecord:
    """The input, environment and results of one job.

    Times are ISO 8601 in UTC; `finished` is None until everything is written. scores of `best` and `last` are fractions of 1. details:
    method- or job-specific entries, such as `projection`; in the file they are at the same level as the fields.
    """

    kind: Kind = "stage"
    schema: int = SCHEMA
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    preset: str | None = None
    settings: Mapping[str, Setting | dict] | None = None
    identity: Mapping[str, str] | None = None  # identifies models and data, for resuming
    versions: Mapping[str, str] | None = None
    device: str | None = None
    precision: str | None = None
    processes: int | None = None
    threads: int | None = None
    models: Mapping[str, ModelEntry | dict] | None = None
    data: Mapping[str, DataEntry | dict] | None = None
    labels: list[str] | None = None
    objective: str | None = None
    trained_parameters: int | None = None
    not_reached: list[str] | None = None
    total_steps: int | None = None
    steps_per_epoch: int | None = None
    steps: int | None = None
    best: Mapping[str, float] | None = None
    last: Mapping[str, float] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: Mapping[str, object]) -> RunRecord:
        """The record from an entry of run.json, of any schema."""
        names = {item.name for item in fields(cls)} - {"details", "schema"}
        known = {name: value for name, value in entry.items() if name in names}
        return cls(**known, details={name: value for name, value in entry.items() if name not in names and name != "schema"})

    def as_json(self) -> dict[str, object]:
        """The entry of run.json, without unset fields."""
        values = asdict(self)
        details = values.pop("details")
        return {name: value for name, value in values.items() if value is not None or name == "finished"} | details


def now() -> str:
    """The time in UTC, as recorded."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read_entries(path: Path) -> dict[str, dict]:
    """The entries of run.json, or a file in the same format, by stage or job; empty if there is no file.

    Raises:
        UserError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it, or choose another --output_dir.") from None
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise UserError(
            f"{path} is damaged (found {json.dumps(content)[:60]}, expected one object per stage): "
            "delete it, or choose another --output_dir."
        )
    return content


def write_record(folder: Path, name: str, record: RunRecord | None) -> None:
    """Write the record of one job to a folder's run.json, keeping those of other jobs; None removes it."""
    entries = read_entries(folder / FILE)
    if record is None:
        if entries.pop(name, None) is None:
            return
    else:
        entries[name] = record.as_json()
    storage.write_json(folder / FILE, entries)

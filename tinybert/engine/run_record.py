"""The record of one job, an entry of run.json: a stage of training, a comparison and an export write the same kind.

Schema 2. Entries of version 0.1 name no schema; they are read as schema 1, which has the same fields and lacks `kind`.
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
    """A resolved setting: its value and what gave it (given, preset NAME, default)."""

    value: object
    source: str


@dataclass(frozen=True)
class ModelEntry:
    """A model that took part. sha256: of its weights file, None where it came from none. fresh, unused: names of parameters."""

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
    """Rows that were read: how many, and the sha256 of their file."""

    rows: int
    sha256: str | None


@dataclass(frozen=True)
class RunRecord:
    """What one job was given, on what it ran, and what came out.

    Times are ISO 8601 in UTC; `finished` is None until everything is written. scores of `best` and `last` are fractions of 1. details: what
    one method or one kind of job adds, such as `projection`; in the file its entries stand beside the fields.
    """

    kind: Kind = "stage"
    schema: int = SCHEMA
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    preset: str | None = None
    settings: Mapping[str, Setting | dict] | None = None
    identity: Mapping[str, str] | None = None  # what models and data are, for resuming
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
        """The record of an entry of run.json, of any schema."""
        names = {item.name for item in fields(cls)} - {"details", "schema"}
        known = {name: value for name, value in entry.items() if name in names}
        return cls(**known, details={name: value for name, value in entry.items() if name not in names and name != "schema"})

    def as_json(self) -> dict[str, object]:
        """The entry of run.json, without what was never set."""
        values = asdict(self)
        details = values.pop("details")
        return {name: value for name, value in values.items() if value is not None or name == "finished"} | details


def now() -> str:
    """The time in UTC, as recorded."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read_entries(path: Path) -> dict[str, dict]:
    """The objects of run.json, or of a file of the same form, by the name of the stage or job; empty where there is no file.

    Raises:
        UserError: it is damaged.
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
    """Write the record of one job into a folder's run.json, beside those of other jobs; None removes it."""
    entries = read_entries(folder / FILE)
    if record is None:
        if entries.pop(name, None) is None:
            return
    else:
        entries[name] = record.as_json()
    storage.write_json(folder / FILE, entries)

"""The files of a run: run.json, log.jsonl, curves, checkpoints, models.

The two stages of a task may share an output folder, so the files of each stage carry its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

import numpy as np

from tinybert import runtime, storage
from tinybert.engine import run_lock
from tinybert.engine.curves import Curves, remove_curves
from tinybert.engine.run_record import FILE, RunRecord, read_entries, write_record
from tinybert.errors import UserError

_AWAY = "this run needs {} there. Move it away, or choose another --output_dir."


class RunFolder:
    """The output folder of one stage of a run, `--output_dir`.

    The first change takes the folder's lock, so that two runs never write to the same folder; `release` releases it.
    """

    def __init__(self, path: str | Path, stage: str, writes: bool = True) -> None:
        """writes: whether this process writes; of several processes only the first does."""
        self.path = Path(path)
        self.stage = stage
        self.writes = writes and runtime.rank() == 0
        self._log = None
        self._curves = None
        self._new = False  # whether `check_existing_results` found no results of this stage, so none may have appeared since

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints of this stage are."""
        return self.path / "checkpoints" / self.stage

    def check_existing_results(self, resume: bool, overwrite: bool, models: tuple[str, ...] = ()) -> None:
        """Reject a folder with results of this stage, unless they are resumed or overwritten. Nothing is changed.

        Raises:
            UserError: the folder contains results, or cannot be written.
        """
        self.check_writable()
        run_lock.check_not_in_use(self.path)
        self._results()
        found = [entry.name for pattern in models for entry in self.path.glob(pattern)]
        files = [name for name in found if not (self.path / name).is_dir()]
        if files:
            raise UserError(f"{self.path / files[0]} is a file, {_AWAY.format('a folder')}")
        if found and not (resume or overwrite or self.done_before()):
            raise UserError(
                f"--output_dir {self.path} already holds {', '.join(sorted(found))}, which this run would replace.\n"
                "Choose another folder, or replace them with --overwrite_output_dir."
            )
        if self.done_before() and not (resume or overwrite):
            raise UserError(
                f"--output_dir {self.path} already holds results of the {self.stage} stage.\n"
                "Continue them with --resume auto, replace them with --overwrite_output_dir, or choose another folder."
            )
        self._new = not (resume or overwrite)

    def check_writable(self) -> None:
        """Reject a path that is a file or is not writable. Nothing is changed.

        Raises:
            UserError: says which.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"--output_dir {self.path} is a file; expected a folder or a new name.")
        for name in ("plots", "vdl", f"vdl/{self.stage}", "checkpoints", f"checkpoints/{self.stage}"):
            if (self.path / name).exists() and not (self.path / name).is_dir():
                raise UserError(f"{self.path / name} is a file, {_AWAY.format('a folder')}")
        for name in ("run.json", "log.jsonl", "eval_results.json"):
            if (self.path / name).is_dir():
                raise UserError(f"{self.path / name} is a folder, {_AWAY.format('a file')}")
        parent = storage.existing_parent(self.path)
        if not parent.is_dir():
            raise UserError(f"--output_dir {self.path} cannot be created: {parent} is a file.")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise UserError(f"--output_dir {self.path} cannot be written: no permission in {parent}. Choose another folder.")

    def _hold(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if run_lock.acquire(self.path) and self._new and self.done_before():
            run_lock.release(self.path)
            raise UserError(
                f"--output_dir {self.path} holds results of the {self.stage} stage: another run wrote them after this one started.\n"
                "Choose another folder, or replace them with --overwrite_output_dir."
            )

    def release(self) -> None:
        """Let other runs write to this folder."""
        run_lock.release(self.path)

    def done_before(self) -> bool:
        """Whether the folder has checkpoints or a record of this stage."""
        return self.stage in self.record() or self.checkpoints.exists()

    def replaced(self, models: tuple[str, ...]) -> list[Path]:
        """What a new start of this stage deletes: its checkpoints, curves, and model folders that match these patterns."""
        return [self.checkpoints, self.path / "vdl" / self.stage, *(folder for pattern in models for folder in self.path.glob(pattern))]

    def clear(self, models: tuple[str, ...]) -> None:
        """Delete the results of an earlier run of this stage: checkpoints, record, logs, and model folders that match these patterns."""
        if not self.writes:
            return
        self._hold()
        for folder in self.replaced(models):
            storage.remove_own(folder)
        write_record(self.path, self.stage, None)
        results = self._results()
        if results.pop(self.stage, None) is not None:
            storage.write_json(self.path / "eval_results.json", results)
        self.clear_logs()

    def clear_logs(self) -> None:
        """Delete the log lines of an attempt of this stage that saved no checkpoint."""
        if not self.writes:
            return
        remove_curves(self.path / "vdl" / self.stage)
        lines = self.log_lines()
        kept = [line for line in lines if line.get("stage") != self.stage]
        if len(kept) != len(lines):
            storage.write_file(self.path / "log.jsonl", "".join(json.dumps(line) + "\n" for line in kept))

    def record(self) -> dict:
        """The content of run.json: one entry per stage; empty if there is none yet."""
        return read_entries(self.path / FILE)

    def _results(self) -> dict:
        return read_entries(self.path / "eval_results.json")

    def update_record(self, **values: object) -> None:
        """Update this stage's entry in run.json: fields of `RunRecord`, or details by other names."""
        if not self.writes:
            return
        self._hold()
        write_record(self.path, self.stage, RunRecord.of(self.record().get(self.stage, {}) | values))

    def write_results(self, results: dict) -> None:
        """Write this stage's scores to eval_results.json."""
        if not self.writes:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        storage.write_json(self.path / "eval_results.json", {**self._results(), self.stage: results})

    # === Log and curves ===

    def open_logs(self, at_byte: int | None = None) -> None:
        """Open log.jsonl for appending; `at_byte` truncates it to its size at a checkpoint."""
        if not self.writes:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / "log.jsonl"
        if at_byte is not None and path.exists() and path.stat().st_size > at_byte:
            self._cut_back(path, at_byte)
        self._log = open(path, "a", encoding="utf-8")  # noqa: SIM115  closed by close_logs
        earlier = (line for line in self.log_lines() if line["stage"] == self.stage) if at_byte is not None else ()
        self._curves = Curves(self.path / "vdl" / self.stage, earlier)

    def _cut_back(self, path: Path, at_byte: int) -> None:
        """Remove this stage's lines after a byte position; lines of another stage are kept."""
        content = path.read_bytes()
        mark = json.dumps({"stage": self.stage})[:-1].encode()
        kept = [line for line in content[at_byte:].splitlines(keepends=True) if not line.startswith(mark) and line.endswith(b"\n")]
        storage.write_file(path, content[:at_byte] + b"".join(kept))

    def log(self, values: dict) -> None:
        """Append one object to log.jsonl and its numbers to the curves."""
        if self._log is None:
            return
        line = {"stage": self.stage, **values}
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()
        self._curves.add(line)

    def log_arrays(self, step: int, arrays: dict[str, np.ndarray]) -> None:
        """Append arrays to log.jsonl as one object (event `arrays`) and to the curves; nothing if there are none."""
        if arrays:
            self.log({"event": "arrays", "step": step, "arrays": {name: np.asarray(array).tolist() for name, array in arrays.items()}})

    def log_position(self) -> int:
        """The current size of log.jsonl in bytes, for a checkpoint."""
        return self._log.tell() if self._log is not None else 0

    def log_lines(self) -> list[dict]:
        """Every object of log.jsonl; malformed lines, e.g. the truncated last line of a killed run, are skipped."""
        path = self.path / "log.jsonl"
        if not path.exists():
            return []
        lines = []
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                line = json.loads(text)
                lines += [line] if isinstance(line, dict) and {"stage", "step"} <= set(line) else []
        return lines

    def close_logs(self) -> None:
        """Flush and close log.jsonl and the curves."""
        if self._log is not None:
            self._log.close()
            self._curves.close()
            self._log = self._curves = None


def now() -> float:
    """Seconds since the epoch, as logged."""
    return round(time.time(), 3)

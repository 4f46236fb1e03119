"""Checks whether a command may use an existing output folder, and claims it for work that can be resumed."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from tinybert import storage
from tinybert.config.options import Config
from tinybert.engine import run_lock
from tinybert.errors import UserError
from tinybert.recipes.input_protection import check_inputs_not_overwritten

PLAN = "plan.json"


def check_replaceable(output: Path, overwrite: bool, kind: str, record: str) -> None:
    """Reject replacing a folder unless it is requested and the folder contains only the command's own files.

    kind: what the command writes, with its article. record: the name of a file that every such folder has.

    Raises:
        UserError: the folder may not be replaced.
    """
    if output.is_file():
        raise UserError(f"--output_dir {output} is a file. Choose a folder.")
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not overwrite:
        raise UserError(f"--output_dir {output} is not empty. Choose another folder, or replace it with --overwrite_output_dir.")
    found = ""
    if not (output / record).is_file():
        found = f"does not contain {kind} (no {record})"
    elif others := storage.files_of_others(output):
        found = f"contains files that this program did not write ({', '.join(others[:5])})"
    if found:
        raise UserError(f"--output_dir {output} {found} and is not replaced. Choose another folder.")


def files_beside(output: Path, own: Callable[[Path], bool]) -> str:
    """The first names in a folder that are not in `own`; empty if there are none."""
    return ", ".join(sorted(entry.name for entry in output.iterdir() if not own(entry))[:5])


# === Work that can be resumed ===


class Claim:
    """A locked output folder, and what its work has recorded in `plan.json` so far; nothing for new work."""

    def __init__(self, folder: Path, plan: dict) -> None:
        self.folder, self._plan, self._begun = folder, plan, time.monotonic() - plan["seconds"]

    @property
    def seconds(self) -> float:
        """The duration of the work, with that of earlier calls."""
        return time.monotonic() - self._begun

    def get(self, name: str) -> object:
        """A recorded value; None if there is none."""
        return self._plan["state"].get(name)

    def record(self, **values: object) -> None:
        """Add JSON values to the record, and update its time."""
        self._plan["state"] |= values
        self._plan["seconds"] = round(self.seconds, 1)
        storage.write_json(self.folder / PLAN, self._plan)


@contextlib.contextmanager
def claimed(config: Config, kind: str, options: dict[str, object], written: Collection[str]) -> Iterator[Claim]:
    """Lock `--output_dir` for new work, or for the work in it that `--resume` continues.

    kind: what the folder then contains, with its article. options: must be the same when resuming. written: the names or patterns of the
    results, which `--overwrite_output_dir` deletes. A folder in which rejected work has written nothing else is left as it was.

    Raises:
        UserError: the folder contains other files, or such work that may be neither resumed nor replaced, or it is in use.
    """
    output = Path(config.output_dir).expanduser()
    if output.is_file():
        raise UserError(f"--output_dir {output} is a file\nchoose a folder")
    output.mkdir(parents=True, exist_ok=True)
    locked, claim = run_lock.acquire(output), None
    try:
        claim = _claim(config, output, kind, json.loads(json.dumps(options, default=str)), written)
        try:
            yield claim
        finally:
            claim.record()
    except UserError:
        if claim is not None and not files_beside(output, lambda entry: entry.name == PLAN or entry.name.startswith(run_lock.NAME)):
            (output / PLAN).unlink()
        raise
    finally:
        if locked:
            run_lock.release(output)
        storage.remove_empty([output])


def _claim(config: Config, output: Path, kind: str, options: dict[str, object], written: Collection[str]) -> Claim:
    new = Claim(output, {"kind": kind, "options": options, "state": {}, "seconds": 0})
    if not files_beside(output, lambda entry: entry.name.startswith(run_lock.NAME)):
        new.record()
        return new
    known = json.loads((output / PLAN).read_text(encoding="utf-8")) if (output / PLAN).is_file() else {}
    if known.get("kind") != kind:
        raise UserError(f"--output_dir {output} is not empty and does not contain {kind}\nchoose another folder")
    if config.overwrite_output_dir:
        results = [path for name in written for path in output.glob(name)]
        check_inputs_not_overwritten(config, results)
        for path in results:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        new.record()
        return new
    if not hasattr(config, "resume"):  # a command that starts over
        raise UserError(f"{output} already contains {kind}\nreplace it with --overwrite_output_dir, or choose another folder")
    if not config.resume:
        raise UserError(f"{output} already contains {kind}\nresume it with --resume, or replace it with --overwrite_output_dir")
    before = known["options"]
    different = [
        f"{name}: was {before.get(name)}, is {options.get(name)}"
        for name in sorted({*before, *options})
        if before.get(name) != options.get(name)
    ]
    if different:
        raise UserError(f"--resume: {output} has other options ({'; '.join(different)})\ngive the same options or another folder")
    return Claim(output, known)


def given_options(config: Config, changeable: Collection[str]) -> dict[str, object]:
    """The given options but those that may change when resuming."""
    return {name: getattr(config, name) for name in sorted(config.given) if name not in ("resume", "overwrite_output_dir", *changeable)}

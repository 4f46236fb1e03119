"""Checkpoints: everything needed to resume a run exactly, as plain arrays and JSON.

A checkpoint is a folder `step_<n>` with three safetensors files (weights, optimizer, participants) and `state.json`. It is complete
or invisible (see `tinybert.storage`), and its content is checked against sha256 sums before it is used.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.safetensors_file import read_safetensors, write_safetensors

_ARRAYS = ("weights", "optimizer", "participants")
# entries of a fingerprint that identify the trained model: resuming always continues that one, whatever model is given
STARTS = frozenset({"student", "student_weights", "model", "model_weights"})
_SUPERSEDED = ("superseded_", "left_")  # prefixes of set-aside checkpoints; version 0.1 wrote the second


@dataclass
class Checkpoint:
    """A saved state: `weights` and `optimizer` by structural names, `state` as JSON values, `participants` by owner and name."""

    weights: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray]
    state: dict
    participants: dict[str, np.ndarray] = field(default_factory=dict)


def write(folder: Path, step: int, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write a checkpoint; delete all but the newest `keep`, and superseded ones.

    Steps of a branch are written in ascending order, so a checkpoint with a later step is superseded, see `fork_from`.
    """
    path = folder / f"step_{step:08d}"
    with storage.new_folder(path, replace=True) as temporary:
        for name in _ARRAYS:
            write_safetensors(temporary / f"{name}.safetensors", getattr(checkpoint, name))
        storage.write_json(temporary / "state.json", checkpoint.state)
    others = [other for other in _listed(folder) if other != path]
    later = [other for other in others if _step_of(other) > step]
    for old in (*later, *others[len(later) + keep - 1 :], *(old for prefix in _SUPERSEDED for old in folder.glob(f"{prefix}*"))):
        storage.remove_own(old)
    return path


def fork_from(folder: Path, path: Path) -> Path:
    """Make a checkpoint the newest of `folder`, from which a run continues on a new branch; returns its path there.

    Later checkpoints are superseded: they are renamed to `superseded_<n>` and deleted when the next one is written, because otherwise that
    one would seem older than they are. A checkpoint of another folder is copied first and supersedes all checkpoints here. The folder
    always contains a complete checkpoint if it had one before.
    """
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    own = folder / f"step_{state['step']:08d}"
    foreign = own.resolve() != path.resolve()
    if foreign:
        with storage.new_folder(own, replace=True) as temporary:
            for name in _ARRAYS:
                shutil.copyfile(path / f"{name}.safetensors", temporary / f"{name}.safetensors")
            # a position in another folder's log is meaningless here, where this branch has no lines yet
            storage.write_json(temporary / "state.json", {**state, "log_position": 0})
    later = [other for other in _listed(folder) if other != own and (foreign or _step_of(other) > state["step"])]
    for other in later:
        aside = folder / f"{_SUPERSEDED[0]}{_step_of(other):08d}"
        storage.remove_own(aside)
        os.rename(other, aside)
    if later:
        names = ", ".join(other.name for other in later)
        logger.info(f"{folder}: {names} are newer than the resumed checkpoint and will be deleted at the next save")
    return own


def _listed(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest first."""
    if not folder.is_dir():
        return []
    steps = [entry for entry in folder.iterdir() if re.fullmatch(r"step_\d+", entry.name)]
    return sorted(steps, key=_step_of, reverse=True)


def _step_of(path: Path) -> int:
    return int(path.name[5:])


def _verify(path: Path) -> None:
    """Check a checkpoint against its manifest, and that its state is well-formed.

    Raises:
        DamagedError: says what is wrong.
    """
    storage.verify(path)
    with storage.reading(path):
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        if not isinstance(state["step"], int) or not isinstance(state.get("fingerprint", {}), dict):
            raise ValueError("state.json contains neither a step nor settings")


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint; damaged ones are reported and skipped. Leftovers of killed writers are deleted."""
    storage.recover(folder)
    for path in _listed(folder):
        try:
            _verify(path)
            return path
        except (storage.DamagedError, OSError) as error:
            logger.warning(f"skipping a damaged checkpoint: {error}")
    return None


def find(folder: Path, resume: str) -> Path | None:
    """The checkpoint selected by `--resume auto|PATH`; None if `auto` finds none.

    Raises:
        UserError: the path is not a complete checkpoint.
    """
    if resume == "auto":
        return newest(folder)
    path = Path(resume)
    if not (path / "state.json").is_file():
        inside = newest(path) if path.is_dir() else None
        if inside is None:
            raise UserError(f"--resume {resume} is not a checkpoint: expected a folder step_<n> with state.json, or `auto`.")
        path = inside
    try:
        _verify(path)
    except storage.DamagedError as error:
        raise UserError(f"--resume {resume}: the checkpoint is damaged: {error}. Use --resume auto for the newest complete one.") from None
    return path


def read(path: Path) -> Checkpoint:
    """Read a checkpoint that `find` returned."""
    state = json.loads((path / "state.json").read_text(encoding="utf-8"))
    return Checkpoint(state=state, **{name: read_safetensors(path / f"{name}.safetensors") for name in _ARRAYS})


def stage_of(path: Path) -> str | None:
    """The stage that a checkpoint belongs to, from its fingerprint; None if it names none."""
    return _fingerprint(path).get("stage")


def _fingerprint(path: Path) -> dict:
    return json.loads((path / "state.json").read_text(encoding="utf-8"))["fingerprint"]


def check(path: Path, fingerprint: dict, allow_changes: bool, assumed: dict | None = None) -> set[str]:
    """Reject a checkpoint of another stage, or of a run with other data or arguments, before anything is changed.

    Returns the names of the differences, if they are allowed.

    assumed: values for entries that a checkpoint lacks.

    Raises:
        UserError: names the stages, or lists the differences.
    """
    saved = {**(assumed or {}), **_fingerprint(path)}
    if saved.get("stage") != fingerprint.get("stage"):
        found, wanted = (f"the {entry['stage']} stage" if entry.get("stage") else "no stage" for entry in (saved, fingerprint))
        raise UserError(
            f"the checkpoint {path} belongs to {found}; expected one of {wanted}.\nGive a checkpoint of this stage, or --resume auto."
        )
    changed = differences(saved, fingerprint)
    if not allow_changes:
        raise_for_differences(
            changed,
            f"the checkpoint {path} belongs to a run with other data or arguments:",
            "Repeat the original command, or start over with --overwrite_output_dir."
            if STARTS.intersection(changed)
            else "Repeat the original command, start over with --overwrite_output_dir, or allow it with --resume_changed.",
        )
    return set(changed)


def differences(saved: dict, now: dict) -> dict[str, str]:
    """The differences between the fingerprint read from an earlier run and the current one: a line with both values by name."""
    now = json.loads(json.dumps(now))
    return {
        name: f"{name}: was {saved.get(name)!r}, is {now.get(name)!r}"
        for name in sorted({*saved, *now})
        if saved.get(name) != now.get(name)
    }


def raise_for_differences(changed: dict[str, str], found: str, advice: str) -> None:
    """Raise an error if there are differences from an earlier run.

    Raises:
        UserError: what was found, one line per difference, and what to do.
    """
    if changed:
        raise UserError("\n  ".join([found, *changed.values()]) + f"\n{advice}")

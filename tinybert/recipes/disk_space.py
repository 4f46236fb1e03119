"""Checks before a run whether its files will fit on the disks."""

from __future__ import annotations

import shutil
from pathlib import Path

from tinybert import storage
from tinybert.data.places import cache_home
from tinybert.engine.run_folder import RunFolder
from tinybert.errors import UserError

_WEIGHT = 4  # bytes of a float32
_TRAINED = 3 * _WEIGHT  # a weight and the optimizer's two moments
_MODELS = 2  # the best and the final one


def check_disk_space(run: RunFolder, models: tuple[str, ...], parameters: int, keep: int, tokens: int = 0, stages: int = 1) -> None:
    """Reject a run whose checkpoints, models and tokens will not fit; files that it will replace count as free space.

    models: the folders of the stage's models. parameters: of the trained model. keep: number of checkpoints to keep.
    tokens: bytes of tokens that are not stored yet. stages: number of stages that write checkpoints and models of this size here.

    Raises:
        UserError: says how much is needed and available.
    """
    checkpoint, model = _TRAINED * parameters, _WEIGHT * parameters
    # a new checkpoint is complete before an older one is deleted
    wanted = stages * (keep * checkpoint + _MODELS * model) + checkpoint
    present = _size(run.checkpoints) + sum(_size(folder) for pattern in models for folder in run.path.glob(pattern))
    needs = {run.path: max(checkpoint, wanted - present), cache_home(): tokens}
    for folder in needs:
        there = storage.existing_parent(folder)
        # folders on the same file system share its space
        together = sum(size for other, size in needs.items() if storage.existing_parent(other).stat().st_dev == there.stat().st_dev)
        free = shutil.disk_usage(there).free
        if needs[folder] and together > free:
            raise UserError(
                f"the disk of {folder} has {_megabytes(free)} free, but this run needs about {_megabytes(together)}: "
                f"{keep} checkpoints of {_megabytes(checkpoint)} and {_MODELS} models of {_megabytes(model)}"
                f"{' per stage' if stages > 1 else ''} in {run.path}, {_megabytes(tokens)} of tokens in {cache_home()}.\n"
                "Free disk space, choose another --output_dir (for tokens: the variable TINYBERT_CACHE), or lower --keep_checkpoints."
            )


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

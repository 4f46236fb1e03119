"""Non-finite losses and scores: save a reproducer and stop the run."""

from __future__ import annotations

from pathlib import Path

from tinybert import storage
from tinybert.data.batches import Batch
from tinybert.engine.run_folder import RunFolder
from tinybert.errors import NumericalError


def stop_on_loss(sums: dict[str, float], step: int, reproducer: Path) -> None:
    """Stop a run whose loss terms `sums` are not all finite after `step` updates.

    Raises:
        NumericalError: always.
    """
    parts = ", ".join(f"{name} {value}" for name, value in sums.items())
    raise NumericalError(
        f"the loss is not finite at step {step} ({parts}); no weight was changed.\n"
        f"The rows, the seed and the last good checkpoint are recorded in {reproducer}. {_cure(step)}"
    )


def stop_on_scores(what: str, step: int, reproducer: Path) -> None:
    """Stop a run whose evaluation after `step` updates produced the non-finite `what`.

    Raises:
        NumericalError: always.
    """
    raise NumericalError(
        f"evaluation after step {step} produced non-finite values: {what}.\n"
        f"The rows of the last step, the seed and the last good checkpoint are recorded in {reproducer}. {_cure(step)}"
    )


def write_reproducer(
    run: RunFolder, step: int, epoch: int, values: dict[str, float], micro_batches: list[Batch], seed: int, checkpoint: Path | None
) -> Path:
    """Save what is needed to reproduce the step; returns the file, written by rank 0 only."""
    report = {
        "stage": run.stage,
        "step": step,
        "epoch": epoch,
        "parts": {name: str(value) for name, value in values.items()},
        "rows": [batch.rows.tolist() for batch in micro_batches],
        "seed": seed,
        "last_good_checkpoint": str(checkpoint) if checkpoint else None,
    }
    path = run.path / f"nonfinite_{run.stage}_step_{step}.json"
    if run.writes:
        storage.write_json(path, report)
    return path


def _cure(step: int) -> str:
    if step:
        return "Try a lower --learning_rate."
    return "No update was made before, so the learning rate is not the cause: check the model weights, --T and the loss weights."

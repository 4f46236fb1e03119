"""Computes the importance of a fine-tuned model's weights for its task: one pass over the training rows, for pruning.

Supports all tasks that can be fine-tuned; with or without dropout; a part of the rows (`--max_steps`); resuming.
Limits: one process; gradients of gold labels, not of a teacher.
"""

from __future__ import annotations

import time
from pathlib import Path

from paddle import nn

from tinybert import devices, runtime, storage
from tinybert.commands.finetune import FinetuneConfig
from tinybert.config.resolved import Settings
from tinybert.data.batches import Batches
from tinybert.engine import checkpoint
from tinybert.engine.checkpoint import Checkpoint, differences, raise_for_differences
from tinybert.engine.progress import Progress
from tinybert.engine.run_folder import RunFolder
from tinybert.engine.signals import graceful_shutdown
from tinybert.errors import Interrupted, UserError
from tinybert.log import logger
from tinybert.models.limits import check_positions
from tinybert.models.loading import load_classifier
from tinybert.models.trace import Inputs
from tinybert.objectives.objective import Loss
from tinybert.prune.importance import FACTS, FOLDER, GradientSums, read_importance, task_loss_gradients, write_importance
from tinybert.recipes.preflight import open_run
from tinybert.recipes.result import Result
from tinybert.recipes.resume import RESUME_IGNORED
from tinybert.recipes.run_log import check_type, describe_model, record_end, record_start
from tinybert.recipes.settings_log import log_run_settings
from tinybert.recipes.task_data import TaskData, log_outputs, task_of

STAGE = "importance"


def importance(config: FinetuneConfig) -> Result:
    """Accumulate importance for `tinybert finetune --compute_taylor`, and write it to `importance_score` in the output folder."""
    # === Check everything before work starts ===
    if runtime.world_size() > 1:
        raise UserError("--compute_taylor supports only a single process: start it without paddle.distributed.launch.")
    task = task_of(config)
    resolved = config.resolve(task.name, task.kind)
    settings = resolved["finetune"]
    output = _output(config, task.folder)
    run = open_run(config, output, STAGE, (FOLDER,))
    resume = checkpoint.find(run.checkpoints, config.resume) if config.resume else None
    log_run_settings(f"importance of the weights of {config.model_name_or_path} on {task.name}, output in {output / FOLDER}", resolved)
    log_outputs(task, config)
    devices.set_device(config.device)
    loaded = load_classifier(
        config.model_name_or_path, labels=task.labels, needs_head=True, kind=task.kind, do_lower_case=settings.do_lower_case
    )
    check_type("model", "model_type", config, loaded)
    check_positions("model", loaded, settings.max_seq_length)
    model = describe_model("model", loaded)
    split = "train_aug" if settings.use_aug else "train"
    data = TaskData.find(task, config, [split], loaded.tokenizer, settings.max_seq_length)
    store = data.store(split)
    batches = Batches(
        store,
        settings.batch_size,
        seed=settings.seed,
        pad_to=settings.max_seq_length if settings.pad_to_max_length else None,
        drop_last=settings.drop_last,
    )
    total = min(batches.steps_per_epoch, settings.max_steps if settings.max_steps > 0 else batches.steps_per_epoch)
    used = {name: value for name, value, _ in settings.as_table() if name not in RESUME_IGNORED}
    fingerprint = {**used, **data.identity(store), "model": model.sha256, "batches": total}
    if config.resume == "auto" and _finished(run, fingerprint):
        logger.info(f"the importance scores are finished: {output / FOLDER}")
        return Result(output / FOLDER, record=run.record())
    if resume:
        checkpoint.check(resume, fingerprint, config.resume_changed)
    if config.overwrite_output_dir:
        run.clear((FOLDER,))
    record_start(run, settings, {"model": model}, {split: store}, {})

    # === Accumulate ===
    sums, loss = _accumulate(config, settings, run, loaded.model, task.kind.gold_loss(), batches, resume, fingerprint)
    facts = {
        "format": 1,
        "model": {"source": model.source, "sha256": model.sha256},
        "task": task.name,
        "data": {"split": split, "rows": len(store), "sha256": store.meta["source_sha256"]},
        "mode": settings.importance_mode,
        "batches": total,
        "batch_size": settings.batch_size,
        "mean_loss": loss,
        "fingerprint": fingerprint,
        "versions": runtime.versions(),
    }
    write_importance(output, sums.scores(), facts)
    storage.remove_own(run.checkpoints)
    record_end(run)
    logger.info(f"importance of {len(sums.sums)} matrices over {total} batches, mean loss {loss:.4f}: {output / FOLDER}")
    return Result(output / FOLDER, record=run.record())


def _output(config: FinetuneConfig, task_folder: str) -> Path:
    """The folder for the scores: as given, else the model's, else the default for fine-tuning."""
    named = Path(config.model_name_or_path).expanduser()
    output = Path(config.output_dir or (named if named.is_dir() else Path("pretrained_models") / task_folder))
    return output.parent if output.name == FOLDER else output  # ROSITA's README gives the folder of the scores itself


def _finished(run: RunFolder, fingerprint: dict) -> bool:
    if not (run.path / FOLDER / FACTS).is_file():
        return False
    raise_for_differences(
        differences(read_importance(run.path / FOLDER)[1]["fingerprint"], fingerprint),
        f"{run.path / FOLDER} is finished, with other data or arguments:",
        "Replace it with --overwrite_output_dir, or choose another --output_dir.",
    )
    return True


def _accumulate(
    config: FinetuneConfig,
    settings: Settings,
    run: RunFolder,
    model: nn.Layer,
    task_loss: Loss,
    batches: Batches,
    resume: Path | None,
    fingerprint: dict,
) -> tuple[GradientSums, float]:
    """Sum the gradients of the number of micro-batches in `fingerprint`, and their mean loss; a signal saves the current state."""
    sums, total, step, losses = GradientSums(model), fingerprint["batches"], 0, 0.0
    if resume:
        saved = checkpoint.read(resume)
        sums.load_arrays(saved.participants)
        checkpoint.fork_from(run.checkpoints, resume)
        step, losses = saved.state["step"], saved.state["losses"]
        runtime.set_threads(saved.state["threads"])
        logger.info(f"resuming from {resume} at batch {step}")
    model.train() if settings.importance_mode == "train" else model.eval()
    for parameter in model.parameters():
        parameter.stop_gradient = True
    for weight in sums.matrices.values():
        weight.stop_gradient = False

    def save() -> None:
        state = {"step": step, "losses": losses, "fingerprint": fingerprint, "threads": runtime.threads()}
        checkpoint.write(run.checkpoints, step, Checkpoint({}, {}, state, sums.arrays()), keep=1)

    progress = Progress(STAGE, total, step, shown=True)
    saved_at = started = time.monotonic()
    rows, tokens = 0, 0.0
    try:
        with graceful_shutdown() as stop:
            while step < total:
                for batch in batches.step(0, step):
                    runtime.seed_step(settings.seed, STAGE, step, 0, 0)
                    losses += task_loss_gradients(model, Inputs.of(batch), task_loss)
                    sums.add()
                    model.clear_gradients()
                    rows, tokens = rows + len(batch.rows), tokens + float(batch.attention_mask.sum())
                step += 1
                progress.advance()
                if step % settings.logging_steps == 0 or step == total:
                    seconds = max(time.monotonic() - started, 1e-9)
                    progress.report(step, {"loss": losses / step}, rows / seconds, tokens / seconds)
                due = time.monotonic() - saved_at > 60 * config.checkpoint_minutes
                if config.checkpoint_steps:
                    due = step % config.checkpoint_steps == 0
                if (due or stop.signal) and step < total:
                    save()
                    saved_at = time.monotonic()
                if stop.signal and step < total:
                    raise Interrupted(stop.signal, f"stopped after batch {step}; continue with --resume auto")
    finally:
        progress.close()
    return sums, losses / total

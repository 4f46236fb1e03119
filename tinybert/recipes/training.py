"""One training stage, independent of what is learned: from settings, a trained layer and a store to a finished loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import paddle

from tinybert import runtime
from tinybert.config.options import Config
from tinybert.config.resolved import Settings
from tinybert.data.batches import Batch
from tinybert.data.epochs import EpochBatches
from tinybert.data.store import Rows, TokenStore
from tinybert.engine import checkpoint
from tinybert.engine.loop import Best, Callbacks, Loop, LoopSettings
from tinybert.engine.optimizers import create_optimizer
from tinybert.engine.precision import Precision
from tinybert.engine.run_folder import RunFolder
from tinybert.engine.schedules import schedule
from tinybert.log import logger
from tinybert.methods.stage_objective import Learned, StageObjective
from tinybert.models.loading import LoadedModel
from tinybert.models.trace import Inputs
from tinybert.objectives.custom import loss_identity, losses_of
from tinybert.objectives.trained_layer import Teacher, TrainedLayer
from tinybert.recipes.compact_vocabulary import compact_vocabulary
from tinybert.recipes.gradual_pruning import GradualPruning
from tinybert.recipes.resume import RESUME_IGNORED, inputs_of
from tinybert.recipes.run_log import log_once, record_end
from tinybert.report.model_card import write_card
from tinybert.report.plots import plot_run


@dataclass(frozen=True)
class Evaluation:
    """How a stage is evaluated: metric, rows, and the folder of the best model.

    scored: hashes of the evaluation rows; if they have changed, earlier scores are discarded. A checkpoint without them is assumed to have
    used those in the record.
    """

    evaluate: Callable[[int], dict[str, float]]
    metric_for_best_model: tuple[str, str]
    save_best: Callable[[int], Path]
    scored: dict[str, str]


@dataclass(frozen=True)
class Start:
    """How a stage starts.

    begin: called after all checks, before anything is written. identity: hashes of data, tokenizer and models, which must match when
    resuming. resume: `auto`, the path of a checkpoint, or None for a new start. assumed: values for entries of the identity that a
    checkpoint of an older version lacks.
    """

    begin: Callable[[], None]
    identity: dict[str, str]
    resume: str | None
    assumed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Extras:
    """State and inputs besides the weights.

    texts: all rows that the student reads, to train only the embedding rows in use. learned: state that is updated every step, saved in
    checkpoints and logged. pruning: maps the number of updates to a pruning schedule.
    """

    texts: Sequence[TokenStore] = ()
    learned: Learned | None = None
    pruning: Callable[[int], GradualPruning] | None = None


def train_stage(
    config: Config,
    settings: Settings,
    run: RunFolder,
    layer: TrainedLayer,
    data: tuple[TokenStore | Sequence[Rows], Teacher | None],
    evaluation: Evaluation,
    origin: Start,
    extras: Extras = Extras(),
) -> Best:
    """Train `layer` on a store, or on one of several in each epoch, according to the settings; returns the best evaluation.

    data: the rows, and the source of their teacher traces, None if the teacher is not used.
    """
    stores, teacher = data
    evaluate, metric, save_best, scored = evaluation.evaluate, evaluation.metric_for_best_model, evaluation.save_best, evaluation.scored
    identity, resume, assumed, start = origin.identity, origin.resume, origin.assumed, origin.begin
    texts, learned, pruning = extras.texts, extras.learned, extras.pruning
    stores = [stores] if isinstance(stores, TokenStore) else stores
    batches = _batches(settings, stores)
    total = settings.max_steps if settings.max_steps > 0 else batches.steps_in(settings.num_train_epochs)
    rate = _learning_rate(settings, total, run)

    vocabulary, vocabulary_line = compact_vocabulary(config, settings, layer, texts, rate)
    if settings.get("pad_embedding") == "frozen":  # trained in fine-tuning
        layer.freeze_padding_row(vocabulary.row_of if vocabulary else int)
    first = Inputs.of(batches.step(0, 0)[0])
    unreached = layer.freeze_unreached(first, teacher(first) if teacher else None)
    precision = Precision(config.amp or "O0", config.amp_dtype, paddle.get_device())

    schedule_of_pruning = pruning(total) if pruning else None

    def replace_optimizer(step: int) -> paddle.optimizer.Optimizer | None:
        if schedule_of_pruning is None or not schedule_of_pruning.changed(step):
            return None
        layer.freeze_unreached(first, teacher(first) if teacher else None)
        return _optimizer(layer, settings)

    _, optimizer = precision.prepare(layer, _optimizer(layer, settings))
    parallel = paddle.DataParallel(layer) if runtime.world_size() > 1 else None

    def forward(batch: Batch) -> dict[str, paddle.Tensor]:
        inputs = Inputs.of(batch)
        return (parallel or layer)(inputs, teacher(inputs) if teacher else None)

    fingerprint = {**_values(config, settings), **identity, **scored, "processes": runtime.world_size(), "total_steps": total}
    fingerprint |= loss_identity(losses_of(run.stage))
    found, changed = _to_resume(config, run, resume, fingerprint, scored, assumed)
    start()
    _record_start(run, layer, unreached, precision, total, batches.steps_in(1))
    rows = " and ".join(f"{len(store):,}" for store in stores)
    log_once(f"{run.stage}: {layer.objective.describe()}; {total} steps, {batches.steps_in(1)} per epoch, {rows} rows")
    if vocabulary_line:
        log_once(vocabulary_line)
    if resume and found is None:
        run.clear_logs()
    callbacks = Callbacks(forward, evaluate, metric, save_best, parallel.no_sync if parallel else contextlib.nullcontext)
    if learned is not None:
        callbacks.after_step, callbacks.observe = learned.end_step, learned.observe
    if vocabulary is not None:
        callbacks.to_checkpoint, callbacks.from_checkpoint = vocabulary.to_checkpoint, vocabulary.from_checkpoint
        callbacks.save_best = vocabulary.whole_for(save_best)
    participants = {learned.name: learned} if learned is not None else {}
    if schedule_of_pruning is not None:
        callbacks.before_update, callbacks.replace_optimizer = schedule_of_pruning.before_update, replace_optimizer
        participants[schedule_of_pruning.name] = schedule_of_pruning
    loop = Loop(
        _loop_settings(config, settings, total), layer, optimizer, rate, batches, callbacks, run, fingerprint, precision, participants
    )
    best = loop.run(found, other_scores=not changed.isdisjoint(scored))
    if vocabulary is not None:
        vocabulary.restore(loop.step)
    run.update_record(seconds=round(loop.seconds, 1), steps=loop.step, best={"step": best.step, **best.scores}, last=loop.last_scores)
    return best


def trained_layer(student: LoadedModel, chosen: StageObjective) -> TrainedLayer:
    """Student and objective as one layer; logs the method's choices."""
    for line in chosen.lines:
        log_once(line)
    return TrainedLayer(student.model, chosen.objective)


def finish_stage(run: RunFolder, best: Best, metric: str, folder: Path, headline: str) -> None:
    """Write the scores of a trained stage, complete its record, draw its curves, and log the folder of its best model."""
    run.write_results({"best_step": best.step, "best": best.scores, "final": run.record()[run.stage]["last"]})
    write_card(folder, run.stage, run.record()[run.stage])
    record_end(run)
    plot_run(run.path)
    log_once(f"{headline} {metric} {best.scores[metric]:.4f} at step {best.step}: {folder}")


# === Before the first step ===


def _to_resume(
    config: Config, run: RunFolder, resume: str | None, fingerprint: dict, scored: dict[str, str], assumed: dict[str, str] | None
) -> tuple[Path | None, set[str]]:
    """The checkpoint to resume from, None for a new start, and the names of allowed differences from its run."""
    found = checkpoint.find(run.checkpoints, resume) if resume else None
    if found is None:
        return None, set()
    recorded = inputs_of(run.record().get(run.stage, {}))
    assumed = {**(assumed or {}), **{name: recorded.get(name, value) for name, value in scored.items()}}
    changed = checkpoint.check(found, fingerprint, config.resume_changed, assumed)
    if changed & checkpoint.STARTS and run.writes:
        logger.warning("the checkpoint was trained from another model than the given one; its weights are used")
    return found, changed


def _record_start(run: RunFolder, layer: TrainedLayer, unreached: list[str], precision: Precision, total: int, an_epoch: int) -> None:
    run.update_record(
        objective=layer.objective.describe(),
        total_steps=total,
        steps_per_epoch=an_epoch,
        trained_parameters=sum(int(p.size) for p in layer.parameters() if not p.stop_gradient),
        not_reached=unreached,
        processes=runtime.world_size(),
        threads=runtime.threads(),
        precision=f"{precision.level} {precision.dtype}" if precision.enabled else "float32",
    )


# === Settings ===


def _batches(settings: Settings, stores: Sequence[Rows]) -> EpochBatches:
    return EpochBatches(
        stores,
        settings.batch_size,
        seed=settings.seed,
        accumulation=settings.gradient_accumulation_steps,
        rank=runtime.rank(),
        world=runtime.world_size(),
        pad_to=settings.max_seq_length if settings.pad_to_max_length else None,
        drop_last=settings.drop_last,
    )


def _learning_rate(settings: Settings, total: int, run: RunFolder) -> Callable[[int], float]:
    """The learning rate by step; warns if it never rises, or never reaches its peak."""
    warmup = float(settings.warmup_steps or settings.warmup_proportion * total)
    if warmup > total and run.writes:
        logger.warning(f"{total} steps end before the warm-up of {warmup:g} steps: the learning rate never reaches its peak")
    rate = schedule(settings.lr_schedule, settings.learning_rate, total, warmup)
    if run.writes and not any(map(rate, range(min(total, 2)))):
        logger.warning(
            f"the learning rate is 0 in all {total} steps because of the warm-up: nothing is learned\n"
            "use --warmup_proportion 0 or more steps"
        )
    return rate


def _optimizer(layer: TrainedLayer, settings: Settings) -> paddle.optimizer.Optimizer:
    return create_optimizer(
        layer,
        settings.optimizer,
        weight_decay=settings.weight_decay,
        epsilon=settings.adam_epsilon,
        max_grad_norm=settings.max_grad_norm,
        grad_clip=settings.grad_clip or "global",
    )


def _loop_settings(config: Config, settings: Settings, total: int) -> LoopSettings:
    return LoopSettings(
        total_steps=total,
        seed=settings.seed,
        logging_steps=settings.logging_steps,
        evaluate_every=settings.save_steps,
        checkpoint_steps=config.checkpoint_steps,
        checkpoint_minutes=config.checkpoint_minutes,
        keep_checkpoints=config.keep_checkpoints,
    )


def _values(config: Config, settings: Settings) -> dict[str, object]:
    """The values that must match when resuming."""
    precision = {"amp": config.amp, "amp_dtype": config.amp_dtype if config.amp else None}
    return precision | {name: value for name, value in settings.as_dict().items() if name not in RESUME_IGNORED}

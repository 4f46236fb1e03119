"""One training stage, independent of what is learned: from settings, a trained layer and rows to its models, scores and record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import paddle

from tinybert import runtime
from tinybert.config.options import Config
from tinybert.config.resolved import Settings
from tinybert.data.batches import Batch
from tinybert.data.epochs import EpochBatches
from tinybert.data.store import Rows, TokenStore
from tinybert.devices import Precision
from tinybert.engine import checkpoint
from tinybert.engine.callbacks import Callbacks, LoopSettings, Stateful
from tinybert.engine.loop import Loop
from tinybert.engine.optimizers import create_optimizer
from tinybert.engine.run_folder import RunFolder
from tinybert.engine.run_record import ModelEntry
from tinybert.engine.schedules import schedule
from tinybert.log import detail, logger
from tinybert.methods.stage_objective import Learned, StageObjective
from tinybert.models.loading import LoadedModel
from tinybert.models.trace import EncoderTrace, Inputs
from tinybert.objectives.custom import loss_identity, losses_of
from tinybert.objectives.trained_layer import TrainedLayer
from tinybert.recipes.compact_vocabulary import compact_vocabulary
from tinybert.recipes.gradual_pruning import GradualPruning
from tinybert.recipes.result import Result, result_of
from tinybert.recipes.resume import RESUME_IGNORED, fingerprint_for_record, inputs_of
from tinybert.recipes.run_log import record_end, record_start
from tinybert.report import plots, transport_plots
from tinybert.report.model_card import write_card


@dataclass(frozen=True)
class Evaluation:
    """How a stage is evaluated: metric, rows, and where its models are saved.

    scored: hashes of the evaluation rows; if they have changed, earlier scores are discarded. A checkpoint without them is assumed to have
    used those in the record. stateful: what `evaluate` chooses, saved in checkpoints by name.
    """

    evaluate: Callable[[int], dict[str, float]]
    metric_for_best_model: tuple[str, str]
    save_best: Callable[[int], Path]
    save_last: Callable[[], object]
    scored: dict[str, str]
    stateful: dict[str, Stateful] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """How a stage starts, for run.json and for resuming.

    folders: of its best and final model, as patterns. models, stores: by their names in run.json. identity: hashes of data, tokenizer and
    models, which must match when resuming. resume: `auto`, the path of a checkpoint, or None for a new start. assumed: values for entries
    of the identity that a checkpoint of an older version lacks. facts: details of the method for run.json. begin: called after all checks,
    before anything is written.
    """

    folders: tuple[str, ...]
    models: dict[str, ModelEntry]
    stores: dict[str, Rows]
    identity: dict[str, str]
    resume: str | None
    assumed: dict[str, str] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    begin: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class StageData:
    """The training data of a stage.

    rows: one store per epoch, or one for all. teacher: the source of teacher traces, None if the teacher is not used. texts: all rows that
    the student reads, to train only the embedding rows in use.
    """

    rows: Sequence[Rows]
    teacher: Callable[[Inputs], EncoderTrace | None] | None = None
    texts: Sequence[TokenStore] = ()

    def trace(self, inputs: Inputs) -> EncoderTrace | None:
        """The teacher's trace of a batch; None if the teacher is not used."""
        return self.teacher(inputs) if self.teacher else None


@dataclass(frozen=True)
class Extras:
    """State and details besides the weights.

    learned: state that is updated every step, saved in checkpoints and logged. pruning: maps the number of updates to a pruning schedule.
    facts: details of the method for run.json that are known at the end of the stage.
    """

    learned: Learned | None = None
    pruning: Callable[[int], GradualPruning] | None = None
    facts: Callable[[], dict[str, object]] = dict


def train_stage(
    config: Config,
    settings: Settings,
    run: RunFolder,
    layer: TrainedLayer,
    data: StageData,
    evaluation: Evaluation,
    origin: Origin,
    extras: Extras = Extras(),
) -> Result:
    """Train `layer` according to the settings; save its models, scores, record and curves."""
    batches = _batches(settings, data.rows)
    total = settings.max_steps if settings.max_steps > 0 else batches.steps_in(settings.num_train_epochs)
    loop_settings = _loop_settings(config, settings, total)

    vocabulary, vocabulary_line = compact_vocabulary(config, settings, layer, data.texts, loop_settings.rate)
    if settings.get("pad_embedding") == "frozen":  # trained in fine-tuning
        layer.freeze_padding_row(vocabulary.row_of if vocabulary else int)
    first = Inputs.of(batches.step(0, 0)[0])
    unreached = layer.freeze_unreached(first, data.trace(first))
    precision = Precision(config.amp, config.amp_dtype)
    pruning = extras.pruning(total) if extras.pruning else None
    optimizer = precision.prepare(layer, _optimizer(layer, settings))
    parallel = paddle.DataParallel(layer) if runtime.world_size() > 1 else None
    trained = parallel or layer

    def forward(batch: Batch) -> dict[str, paddle.Tensor]:
        inputs = Inputs.of(batch)
        return trained(inputs, data.trace(inputs))

    def replace_optimizer(step: int) -> paddle.optimizer.Optimizer | None:
        if not pruning.changed(step):
            return None
        layer.freeze_unreached(first, data.trace(first))
        return _optimizer(layer, settings)

    scored = evaluation.scored
    fingerprint = {**_values(config, settings), **origin.identity, **scored, "processes": runtime.world_size(), "total_steps": total}
    fingerprint |= loss_identity(losses_of(run.stage))
    found, changed = _to_resume(config, run, origin, fingerprint, scored)
    origin.begin()
    if config.overwrite_output_dir:
        run.clear(origin.folders)
    record_start(run, settings, origin.models, origin.stores, fingerprint_for_record(origin.identity), **origin.facts)
    _record_plan(run, layer, unreached, precision, total, batches.steps_in(1))
    rows = " and ".join(f"{len(store):,}" for store in data.rows)
    logger.info(f"{run.stage}: {layer.objective.describe()}; {total} steps, {batches.steps_in(1)} per epoch, {rows} rows")
    if vocabulary_line:
        detail(vocabulary_line)
    if origin.resume and found is None:
        run.clear_logs()
    callbacks = Callbacks(forward, evaluation.evaluate, evaluation.metric_for_best_model, evaluation.save_best)
    callbacks.stateful |= evaluation.stateful
    if parallel is not None:
        callbacks.no_sync = parallel.no_sync
    if extras.learned is not None:
        callbacks.after_step, callbacks.observe = extras.learned.end_step, extras.learned.observe
        callbacks.stateful[extras.learned.name] = extras.learned
    if vocabulary is not None:
        callbacks.to_checkpoint, callbacks.from_checkpoint = vocabulary.to_checkpoint, vocabulary.from_checkpoint
        callbacks.save_best = vocabulary.whole_for(evaluation.save_best)
    if pruning is not None:
        callbacks.before_update, callbacks.replace_optimizer = pruning.before_update, replace_optimizer
        callbacks.stateful[pruning.name] = pruning
    loop = Loop(loop_settings, layer, optimizer, batches, callbacks, run, fingerprint, precision)
    best = loop.run(found, other_scores=not changed.isdisjoint(scored))
    if vocabulary is not None:
        vocabulary.restore(loop.step)
    state = loop.state
    scores = {"best": {"step": best.step, **best.scores}, "last": state.last_scores}
    early = {"stopped_early": loop.stopped_early} if loop_settings.patience else {}
    run.update_record(seconds=round(state.seconds, 1), steps=state.step, **scores, **early, **extras.facts())
    if run.writes:
        evaluation.save_last()
        run.write_results({"best_step": best.step, "best": best.scores, "final": state.last_scores})
        folder, metric = run.path / best.model[0], evaluation.metric_for_best_model[0]
        write_card(folder, run.stage, run.record()[run.stage])
        record_end(run)
        plots.plot_stage(run.path, run.stage)
        transport_plots.plot_transport(run.path, run.stage)
        logger.info(f"{run.stage}: best {metric} {best.scores[metric]:.4f} at step {best.step}: {folder}")
    return result_of(run, *origin.folders)


def trained_layer(student: LoadedModel, chosen: StageObjective) -> TrainedLayer:
    """Student and objective as one layer; logs the method's choices."""
    for line in chosen.lines:
        detail(line)
    return TrainedLayer(student.model, chosen.objective)


# === Before the first step ===


def _to_resume(config: Config, run: RunFolder, origin: Origin, fingerprint: dict, scored: dict[str, str]) -> tuple[Path | None, set[str]]:
    """The checkpoint to resume from, None for a new start, and the names of allowed differences from its run."""
    found = checkpoint.find(run.checkpoints, origin.resume) if origin.resume else None
    if found is None:
        return None, set()
    recorded = inputs_of(run.record().get(run.stage, {}))
    assumed = {**origin.assumed, **{name: recorded.get(name, value) for name, value in scored.items()}}
    changed = checkpoint.check(found, fingerprint, config.resume_changed, assumed)
    if changed & checkpoint.STARTS:
        logger.warning("the checkpoint was trained from another model than the given one; its weights are used")
    return found, changed


def _record_plan(run: RunFolder, layer: TrainedLayer, unreached: list[str], precision: Precision, total: int, an_epoch: int) -> None:
    run.update_record(
        objective=layer.objective.describe(),
        total_steps=total,
        steps_per_epoch=an_epoch,
        trained_parameters=sum(int(p.size) for p in layer.parameters() if not p.stop_gradient),
        not_reached=unreached,
        processes=runtime.world_size(),
        threads=runtime.threads(),
        precision=str(precision),
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


def _learning_rate(settings: Settings, total: int) -> Callable[[int], float]:
    """The learning rate by step; warns if it never rises, or never reaches its peak."""
    warmup = float(settings.warmup_steps or settings.warmup_proportion * total)
    if warmup > total:
        logger.warning(f"{total} steps end before the warm-up of {warmup:g} steps: the learning rate never reaches its peak")
    rate = schedule(settings.lr_schedule, settings.learning_rate, total, warmup)
    if not any(map(rate, range(min(total, 2)))):
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
        rate=_learning_rate(settings, total),
        seed=settings.seed,
        logging_steps=settings.logging_steps,
        evaluate_every=settings.save_steps,
        checkpoint_steps=config.checkpoint_steps,
        checkpoint_minutes=config.checkpoint_minutes,
        keep_checkpoints=config.keep_checkpoints,
        patience=settings.early_stopping_patience,
    )


def _values(config: Config, settings: Settings) -> dict[str, object]:
    """The values that must match when resuming."""
    precision = {"amp": config.amp, "amp_dtype": config.amp_dtype if config.amp else None}
    return precision | {name: value for name, value in settings.as_dict().items() if name not in RESUME_IGNORED}

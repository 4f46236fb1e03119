"""One stage of training, whatever is learnt: from settings, a trained layer and a store to a finished loop."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import paddle

from tinybert import runtime
from tinybert.data.batches import Batch
from tinybert.data.epochs import EpochBatches
from tinybert.data.store import Rows, TokenStore
from tinybert.engine import checkpoint
from tinybert.engine.loop import Best, Callbacks, Loop, LoopSettings
from tinybert.engine.optimizers import create_optimizer
from tinybert.engine.precision import Precision
from tinybert.engine.run_folder import RunFolder
from tinybert.engine.schedules import schedule
from tinybert.models.trace import Inputs
from tinybert.objectives.trained_layer import Teacher, TrainedLayer
from tinybert.recipes.continuing import FREE
from tinybert.recipes.pruning_on_the_way import PruningOnTheWay
from tinybert.recipes.stage_objective import Learned


def train_stage(
    arguments,
    settings,
    run: RunFolder,
    layer: TrainedLayer,
    teacher: Teacher | None,
    stores: TokenStore | Sequence[Rows],
    *,
    evaluate: Callable[[int], dict[str, float]],
    better: tuple[str, str],
    save_best: Callable[[int], Path],
    identity: dict[str, str],
    start: Callable[[], None],
    resume: str | None,
    assumed: dict[str, str] | None = None,
    learned: Learned | None = None,
    pruning: Callable[[int], PruningOnTheWay] | None = None,
) -> Best:
    """Train `layer` on a store, or on one of several in each epoch, as the settings say, and return the best evaluation.

    identity: hashes of data, tokenizer and models, which a resumed run must share. start: called once everything has been checked, before
    anything is written. resume: `auto`, the path of a checkpoint, or None for a fresh start. assumed: what a checkpoint of an older version
    that lacks these entries of the identity is taken to have had. learned: state that is told of every update, joins the checkpoints and
    gives the log its arrays. pruning: from the number of updates to a schedule of pruning.
    """
    stores = [stores] if isinstance(stores, TokenStore) else stores
    batches = EpochBatches(
        stores,
        settings.batch_size,
        seed=settings.seed,
        accumulation=settings.gradient_accumulation_steps,
        rank=runtime.rank(),
        world=runtime.world_size(),
        pad_to=settings.max_seq_length if settings.pad_to_max_length else None,
        drop_last=settings.drop_last,
    )
    total = settings.max_steps if settings.max_steps > 0 else batches.steps_in(settings.num_train_epochs)
    warmup = float(settings.warmup_steps or settings.warmup_proportion * total)
    if warmup > total and run.writes:
        print(f"warning: {total} steps end within the warm-up of {warmup:g}: the learning rate never reaches its peak", file=sys.stderr)
    rate = schedule(settings.lr_schedule, settings.learning_rate, total, warmup)

    first = Inputs.of(batches.step(0, 0)[0])
    unreached = layer.freeze_unreached(first, teacher(first) if teacher else None)
    precision = Precision(arguments.amp or "O0", arguments.amp_dtype, paddle.get_device())

    def new_optimizer() -> paddle.optimizer.Optimizer:
        return create_optimizer(
            layer,
            settings.optimizer,
            weight_decay=settings.weight_decay,
            epsilon=settings.adam_epsilon,
            max_grad_norm=settings.max_grad_norm,
            grad_clip=settings.grad_clip or "global",
        )

    schedule_of_pruning = pruning(total) if pruning else None

    def reshaped(step: int) -> paddle.optimizer.Optimizer | None:
        if schedule_of_pruning is None or not schedule_of_pruning.changed(step):
            return None
        layer.freeze_unreached(first, teacher(first) if teacher else None)
        return new_optimizer()

    _, optimizer = precision.prepare(layer, new_optimizer())
    parallel = paddle.DataParallel(layer) if runtime.world_size() > 1 else None

    def forward(batch: Batch) -> dict[str, paddle.Tensor]:
        inputs = Inputs.of(batch)
        return (parallel or layer)(inputs, teacher(inputs) if teacher else None)

    loop_settings = LoopSettings(
        total_steps=total,
        seed=settings.seed,
        logging_steps=settings.logging_steps,
        evaluate_every=settings.save_steps,
        checkpoint_steps=arguments.checkpoint_steps,
        checkpoint_minutes=arguments.checkpoint_minutes,
        keep_checkpoints=arguments.keep_checkpoints,
    )
    values: dict = {"amp": arguments.amp, "amp_dtype": arguments.amp_dtype if arguments.amp else None}
    values |= {name: value for name, value in settings.as_dict().items() if name not in FREE}
    fingerprint = {**values, **identity, "processes": runtime.world_size(), "total_steps": total}
    found: Path | None = checkpoint.find(run.checkpoints, resume) if resume else None
    if found:
        checkpoint.check(found, fingerprint, arguments.resume_changed, assumed)
    start()
    run.update_record(
        objective=layer.objective.describe(),
        total_steps=total,
        steps_per_epoch=batches.steps_in(1),
        trained_parameters=sum(int(p.size) for p in layer.parameters() if not p.stop_gradient),
        not_reached=unreached,
        processes=runtime.world_size(),
        threads=runtime.threads(),
        precision=f"{precision.level} {precision.dtype}" if precision.enabled else "float32",
    )
    if run.writes:
        if not any(map(rate, range(min(total, 2)))):
            print(
                f"warning: the learning rate is 0 in all of {total} steps, as the first step of a warm-up has it: nothing is learnt\n"
                "give --warmup_proportion 0, or more steps",
                file=sys.stderr,
            )
        rows = " and ".join(f"{len(store):,}" for store in stores)
        steps = batches.steps_in(1)
        print(f"{run.stage}: {layer.objective.describe()}; {total} steps of {steps} an epoch, {rows} rows", flush=True)
    if resume and found is None:
        run.clear_logs()
    callbacks = Callbacks(forward, evaluate, better, save_best, parallel.no_sync if parallel else contextlib.nullcontext)
    if learned is not None:
        callbacks.after_step, callbacks.observe = learned.end_step, learned.observe
    participants = {learned.name: learned} if learned is not None else {}
    if schedule_of_pruning is not None:
        callbacks.before_update, callbacks.reshaped = schedule_of_pruning.before_update, reshaped
        participants[schedule_of_pruning.name] = schedule_of_pruning
    loop = Loop(loop_settings, layer, optimizer, rate, batches, callbacks, run, fingerprint, precision, participants)
    best = loop.run(found)
    run.update_record(seconds=round(loop.seconds, 1), best={"step": best.step, **best.scores}, last=loop.last_scores)
    return best

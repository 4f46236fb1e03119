"""The training loop: micro-batches, optimizer steps, logs, evaluation, checkpoints, exact resume and a stop on non-finite values.

It handles batches, a layer that returns named loss terms, and callbacks; it does not depend on any task, model or objective.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import paddle
from paddle import nn

from tinybert import runtime, storage
from tinybert.data.batches import Batch
from tinybert.data.epochs import EpochBatches
from tinybert.engine import checkpoint as checkpoints
from tinybert.engine import nonfinite
from tinybert.engine.checkpoint import Checkpoint
from tinybert.engine.optimizers import load_optimizer_arrays, optimizer_arrays
from tinybert.engine.precision import Precision
from tinybert.engine.processes import sum_dict
from tinybert.engine.progress import Progress
from tinybert.engine.run_folder import RunFolder, now
from tinybert.engine.running_metrics import RunningMetrics
from tinybert.engine.signals import StopRequest, graceful_shutdown
from tinybert.errors import Interrupted, NumericalError, UserError
from tinybert.log import logger
from tinybert.user_objects import TrainingState, user_objects

SPIKE = 10.0  # warn about a loss this many times its running mean and twice the initial loss; a single hard row stays below
BEGINNING = 20  # steps


@dataclass(frozen=True)
class LoopSettings:
    """Number of steps, and intervals for logging (steps), evaluation (steps, 0 = once per epoch) and saving."""

    total_steps: int
    seed: int = 42
    logging_steps: int = 100
    evaluate_every: int = 0
    checkpoint_steps: int | None = None
    checkpoint_minutes: float = 10.0
    keep_checkpoints: int = 2


@dataclass
class Best:
    """The best evaluation so far: step, scores, and the folder of its model with the sha256 of the folder's manifest."""

    step: int | None = None
    scores: dict[str, float] = field(default_factory=dict)
    model: list[str] | None = None


@dataclass
class Callbacks:
    """The hooks that a recipe implements for the loop.

    forward: maps a micro-batch to loss terms including `loss` (scalar tensors, already multiplied by the batch's share). evaluate: maps the
    step to scores. metric_for_best_model: the score to compare, and `max` or `min`. save_best: called with the step when the score has
    strictly improved, returns the folder of the model. no_sync: the context for all but the last micro-batch of a step, in which data
    parallelism does not synchronise gradients. before_update: called when the gradients of a step are complete. after_step: called after
    the update. replace_optimizer: given the number of updates, returns a new optimizer if the layer's parameters have been replaced, else
    None. observe: arrays for the log, called for every log line. to_checkpoint, from_checkpoint: convert weights or optimizer states by
    name, given the number of updates, to their form in checkpoints and back.
    """

    forward: Callable[[Batch], dict[str, paddle.Tensor]]
    evaluate: Callable[[int], dict[str, float]]
    metric_for_best_model: tuple[str, str]
    save_best: Callable[[int], Path | None]
    no_sync: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    before_update: Callable[[], None] = lambda: None
    after_step: Callable[[], None] = lambda: None
    replace_optimizer: Callable[[int], paddle.optimizer.Optimizer | None] = lambda step: None
    observe: Callable[[], dict[str, np.ndarray]] = dict
    to_checkpoint: Callable[[dict[str, np.ndarray], int], dict[str, np.ndarray]] = lambda arrays, step: arrays
    from_checkpoint: Callable[[dict[str, np.ndarray], int], dict[str, np.ndarray]] = lambda arrays, step: arrays


class Stateful(Protocol):
    """Learned state besides the layer's parameters that is saved in checkpoints, such as layer weights or a pruning schedule."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The state as arrays by name."""

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the result of `arrays`."""


class Loop:
    """One training stage, from its first step or a checkpoint to its last step."""

    def __init__(
        self,
        settings: LoopSettings,
        layer: nn.Layer,
        optimizer: paddle.optimizer.Optimizer,
        rate: Callable[[int], float],
        batches: EpochBatches,
        callbacks: Callbacks,
        run: RunFolder,
        fingerprint: dict,
        precision: Precision | None = None,
        participants: dict[str, Stateful] | None = None,
    ) -> None:
        self.settings, self.layer, self.optimizer, self.rate = settings, layer, optimizer, rate
        self.batches, self.callbacks, self.run_folder, self.fingerprint = batches, callbacks, run, fingerprint
        self.precision = precision or Precision()
        self.participants = participants or {}
        self.step = 0
        self.best = Best()
        self.kept = Best()  # the best evaluation whose model is on disk; may differ after resuming
        self.last_scores: dict[str, float] = {}
        self.scored_at: int | None = None
        self.window = RunningMetrics()
        self.running_loss: float | None = None
        self.first_loss = 0.0  # the mean of the first steps
        self.jumped = False  # whether a jump of the loss has been reported
        self.seconds = 0.0
        self.data_seconds = 0.0
        self.last_checkpoint: Path | None = None
        self.listeners = user_objects().callbacks
        self.state = TrainingState(run.stage, settings.total_steps)

    # === Running ===

    def run(self, resume: Path | None = None, other_scores: bool = False) -> Best:
        """Train to the last step and return the best evaluation whose model is on disk.

        other_scores: evaluations before resuming used other rows, so their scores are discarded.

        Raises:
            NumericalError: NaN or infinite loss, before the weights are updated, or such scores; a reproducer is saved.
            Interrupted: a signal requested a stop; a checkpoint has been saved.
            UserError: the checkpoint has other parameters.
        """
        position = self._restore(resume) if resume else None
        if other_scores:
            self.best, self.kept = Best(), Best()
            if self.run_folder.writes:
                logger.info("the evaluation set changed; previous best scores are discarded")
        storage.recover(self.run_folder.path)
        if resume and self.run_folder.writes:
            self.last_checkpoint = checkpoints.fork_from(self.run_folder.checkpoints, resume)
            position = position if self.last_checkpoint.resolve() == resume.resolve() else 0
        self.run_folder.open_logs(position)
        shown = self.run_folder.writes
        progress = Progress(self.run_folder.stage, self.settings.total_steps, self.step, shown)
        try:
            with graceful_shutdown() as stop:
                self._tell("on_start")
                self._train(progress, stop)
                self._tell("on_end")
        finally:
            progress.close()
            self.run_folder.close_logs()
        if self.kept.step != self.best.step and shown:
            logger.info(
                f"the best model (step {self.best.step}) was overwritten before resuming; the best one on disk is step {self.kept.step}"
            )
        return self.kept

    def _train(self, progress: Progress, stop: StopRequest) -> None:
        self.layer.train()
        last_saved = time.monotonic()
        while self.step < self.settings.total_steps:
            started = time.monotonic()
            parts, size, stopping = self._one_step(stop)
            self.step += 1
            if optimizer := self.callbacks.replace_optimizer(self.step):
                self.optimizer, self.best, self.kept = optimizer, Best(), Best()  # a model with another shape is not comparable
            self._account(parts, size, time.monotonic() - started)
            progress.advance()
            finished = self.step == self.settings.total_steps
            if self.step % self.settings.logging_steps == 0 or finished:
                self._log(progress)
            if self._evaluation_due() or finished:
                self._evaluate()
            if self._asked_to_stop():
                finished = True
                if self.scored_at != self.step:
                    self._evaluate()
            if self._checkpoint_due(time.monotonic() - last_saved) or stopping:
                self.save_checkpoint()
                last_saved = time.monotonic()
            if stopping and not finished:
                raise Interrupted(stopping, f"stopped after step {self.step}; continue with --resume auto")
            if finished:
                break
        if self.kept.step is None:  # resumed after the last step was lowered, before any evaluation
            self._evaluate()
        # whatever fails while the last model is written, no step has to be repeated
        self.save_checkpoint()
        if stop.signal:
            raise Interrupted(stop.signal, f"stopped after the last step, {self.step}; --resume auto writes the remaining results")

    def _one_step(self, stop: StopRequest) -> tuple[dict[str, float], tuple[int, int], int]:
        """Forward and backward over the micro-batches of one step, then one update; returns terms, (rows, tokens), a signal number."""
        epoch, index = self.batches.position(self.step)
        before = time.monotonic()
        micro_batches = self.batches.step(epoch, index)
        self.data_seconds += time.monotonic() - before
        sums: dict[str, float] = {}
        for micro, batch in enumerate(micro_batches):
            runtime.seed_step(self.settings.seed, self.run_folder.stage, self.step, micro, runtime.rank())
            last = micro == len(micro_batches) - 1
            with contextlib.nullcontext() if last else self.callbacks.no_sync():
                with self.precision.autocast():
                    parts = self.callbacks.forward(batch)
                # data parallelism averages gradients over ranks, but shares already refer to all ranks, so the sum is needed
                self.precision.backward(parts["loss"] * float(runtime.world_size()))
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        own = [batch for batch in micro_batches if batch.share["rows"]]
        sums["rows"] = float(sum(len(batch.rows) for batch in own))
        sums["real_tokens"] = float(sum(batch.attention_mask.sum() for batch in own))
        sums["stop"] = float(stop.signal or 0)
        sums = sum_dict(sums)  # every rank sees the same loss and the same stop request
        size, stopping = (int(sums.pop("rows")), int(sums.pop("real_tokens"))), int(sums.pop("stop"))
        if not math.isfinite(sums["loss"]):
            nonfinite.stop_on_loss(sums, self.step, self._reproducer(sums, micro_batches, epoch))
        self.callbacks.before_update()
        self.optimizer.set_lr(self.rate(self.step))
        self.precision.update(self.optimizer)
        self.optimizer.clear_grad()
        self.callbacks.after_step()
        return sums, size, (stop.signal or signal.SIGTERM) if stopping else 0

    # === The caller's callbacks ===

    def _tell(self, event: str) -> None:
        if not self.listeners:
            return
        state = self.state
        state.step, state.epoch = self.step, round(self.batches.epochs_at(self.step), 4)
        state.scores, state.best = dict(self.last_scores), dict(self.best.scores)
        for listener in self.listeners:
            getattr(listener, event)(state)

    def _asked_to_stop(self) -> bool:
        """Whether a callback on any rank has requested a stop: all ranks must stop at the same step."""
        return bool(self.listeners) and sum_dict({"stop": float(self.state.stopping)})["stop"] > 0

    # === Logs ===

    def _account(self, parts: dict[str, float], size: tuple[int, int], seconds: float) -> None:
        self.seconds += seconds
        self.window.add(parts, *size, seconds)
        loss = parts["loss"]
        if self.step <= BEGINNING:
            self.first_loss += loss / BEGINNING
        elif not self.jumped and self.running_loss is not None and loss > max(SPIKE * self.running_loss, 2 * self.first_loss):
            self.jumped = True
            if self.run_folder.writes:
                logger.warning(f"the loss jumped to {loss:.4g} at step {self.step}, from about {self.running_loss:.4g}")
        self.running_loss = loss if self.running_loss is None else 0.98 * self.running_loss + 0.02 * loss

    def _log(self, progress: Progress) -> None:
        means, rates = self.window.means(), self.window.rates()
        values = {
            "step": self.step,
            "epoch": round(self.batches.epochs_at(self.step), 4),
            **means,
            "lr": self.rate(self.step - 1),
            **({"skipped_steps": self.precision.skipped} if self.precision.enabled else {}),
            "samples_per_second": round(rates[0], 2),
            "tokens_per_second": round(rates[1], 1),
            "data_wait_share": round(self.data_seconds / max(self.seconds, 1e-9), 4),
            "time": now(),
        }
        self.run_folder.log(values)
        self.run_folder.log_arrays(self.step, self.callbacks.observe())
        progress.report(self.step, {"loss": means["loss"], **{k: v for k, v in means.items() if k != "loss"}}, *rates)
        self.window = RunningMetrics()
        self.state.metrics = {name: value for name, value in values.items() if name not in ("step", "epoch", "time")}
        self._tell("on_log")

    def _reproducer(self, values: dict[str, float], micro_batches: list[Batch], epoch: int) -> Path:
        return nonfinite.write_reproducer(
            self.run_folder, self.step, epoch, values, micro_batches, self.settings.seed, self.last_checkpoint
        )

    # === Evaluation ===

    def _evaluation_due(self) -> bool:
        if self.settings.evaluate_every:
            return self.step % self.settings.evaluate_every == 0
        return self.batches.position(self.step)[1] == 0

    def _evaluate(self) -> None:
        self.layer.eval()
        try:
            scores = self.callbacks.evaluate(self.step)
        except NumericalError as error:
            self._stop_on_scores(str(error), {})
        self.layer.train()
        name, direction = self.callbacks.metric_for_best_model
        if not math.isfinite(scores[name]):  # it would stay the best forever: no score compares as better than NaN
            self._stop_on_scores(f"{name} {scores[name]}", scores)
        self.last_scores, self.scored_at = scores, self.step

        def better_than(best: float | None) -> bool:
            return best is None or (scores[name] > best if direction == "max" else scores[name] < best)

        improved = better_than(self.best.scores.get(name))
        self.run_folder.log({"event": "evaluation", "step": self.step, **scores, "best": improved, "time": now()})
        shown = ", ".join(f"{key} {value:.4f}" for key, value in scores.items())
        if self.run_folder.writes:
            logger.info(f"  step {self.step}: {shown}{' (best so far)' if improved else ''}")
        if better_than(self.kept.scores.get(name)):
            folder = self.callbacks.save_best(self.step) if self.run_folder.writes else None
            self.kept = Best(self.step, scores, folder and [folder.name, storage.sha256_of(folder / storage.MANIFEST)])
        if improved:
            self.best = self.kept
        self._tell("on_evaluate")

    def _stop_on_scores(self, what: str, scores: dict[str, float]) -> None:
        epoch, index = self.batches.position(max(self.step - 1, 0))  # the rows of the last update
        nonfinite.stop_on_scores(what, self.step, self._reproducer(scores, self.batches.step(epoch, index), epoch))

    # === Checkpoints ===

    def _checkpoint_due(self, seconds: float) -> bool:
        if self.settings.checkpoint_steps:
            return self.step % self.settings.checkpoint_steps == 0
        return seconds > 60 * self.settings.checkpoint_minutes

    def save_checkpoint(self) -> None:
        """Save everything needed to resume, on the writing rank only."""
        if not self.run_folder.writes:
            return
        weights = {name: parameter.numpy() for name, parameter in self.layer.named_parameters()}
        state = {
            "step": self.step,
            "best": asdict(self.best),
            "kept": asdict(self.kept),
            "last_scores": self.last_scores,
            **self.window.state(),
            "running_loss": self.running_loss,
            "first_loss": self.first_loss,
            "seconds": self.seconds,
            "data_seconds": self.data_seconds,
            "log_position": self.run_folder.log_position(),
            "fingerprint": self.fingerprint,
            "threads": runtime.threads(),
            "computing": runtime.computing(),
            "precision": self.precision.state(),
        }
        extra = {f"{who}|{name}": array for who, part in self.participants.items() for name, array in part.arrays().items()}
        states = optimizer_arrays(self.optimizer, self.layer)
        weights, states = (self.callbacks.to_checkpoint(arrays, self.step) for arrays in (weights, states))
        content = Checkpoint(weights, states, state, extra)
        keep = self.settings.keep_checkpoints
        self.last_checkpoint = checkpoints.write(self.run_folder.checkpoints, self.step, content, keep)

    def _restore(self, path: Path) -> int:
        saved = checkpoints.read(path)
        for who, part in self.participants.items():
            part.load_arrays({name.removeprefix(f"{who}|"): a for name, a in saved.participants.items() if name.startswith(f"{who}|")})
        self.optimizer = self.callbacks.replace_optimizer(saved.state["step"]) or self.optimizer
        weights, states = (self.callbacks.from_checkpoint(arrays, saved.state["step"]) for arrays in (saved.weights, saved.optimizer))
        parameters = dict(self.layer.named_parameters())
        if set(parameters) != set(saved.weights):
            raise UserError(f"the checkpoint {path} has other parameters than this model: the student or the objective has changed.")
        for name, parameter in parameters.items():
            then, here = list(weights[name].shape), list(parameter.shape)
            if then != here:
                raise UserError(
                    f"the checkpoint {path} has '{name}' of shape {then}, this model {here}: the student or the objective has changed.\n"
                    "Use the original student and objective, or start over with --overwrite_output_dir."
                )
        for name, parameter in parameters.items():
            parameter.set_value(weights[name])
        load_optimizer_arrays(self.optimizer, self.layer, states)
        state = saved.state
        runtime.set_threads(state["threads"])  # float32 sums depend on the number of threads
        self.precision.load_state(state["precision"])
        self.step = state["step"]
        self.best, self.kept = Best(**state["best"]), Best(**state.get("kept", state["best"]))
        if not self._is_there(self.kept):
            self.kept = Best()
        self.last_scores = state["last_scores"]
        self.window = RunningMetrics.of(state)
        self.running_loss, self.seconds, self.data_seconds = (state[name] for name in ("running_loss", "seconds", "data_seconds"))
        self.first_loss = state.get("first_loss", self.running_loss or 0.0)
        self.last_checkpoint = path
        if self.run_folder.writes:
            logger.info(f"resuming the {self.run_folder.stage} stage from {path} at step {self.step}")
            self._say_what_computes_now(state.get("computing"))
        return state["log_position"]

    def _say_what_computes_now(self, before: dict | None) -> None:
        """Report other versions or processor instructions: results then differ in the last bits."""
        changed = checkpoints.differences(before, runtime.computing()) if before else {}
        if changed:
            logger.warning(
                f"the run was started in another environment ({'; '.join(changed.values())}); it continues, but results may "
                "differ in the last bits"
            )

    def _is_there(self, best: Best) -> bool:
        """Whether the model of an evaluation is on disk, not overwritten by a later step of a superseded branch."""
        if best.model is None:
            return True
        folder, manifest = best.model
        path = self.run_folder.path / folder / storage.MANIFEST
        if not path.is_file() or storage.sha256_of(path) != manifest:
            return False
        return all(name.endswith((".json", ".txt")) for name in storage.changed_files(path.parent))  # users may edit text files

"""The training loop: micro-batches, optimizer steps, logs, evaluation, checkpoints, exact resume and a stop on non-finite values.

It handles batches, a layer that returns named loss terms, and callbacks; it does not depend on any task, model or objective.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from pathlib import Path

import paddle
from paddle import nn

from tinybert import runtime, storage
from tinybert.data.batches import Batch
from tinybert.data.epochs import EpochBatches
from tinybert.devices import Precision
from tinybert.engine import checkpoint as checkpoints
from tinybert.engine import nonfinite
from tinybert.engine.callbacks import Callbacks, LoopSettings
from tinybert.engine.checkpoint import Checkpoint
from tinybert.engine.loop_state import Best, LoopState, RunningMetrics
from tinybert.engine.optimizers import load_optimizer_arrays, optimizer_arrays
from tinybert.engine.processes import sum_dict
from tinybert.engine.progress import Progress
from tinybert.engine.run_folder import RunFolder, now
from tinybert.engine.signals import StopRequest, graceful_shutdown
from tinybert.errors import Interrupted, NumericalError, UserError
from tinybert.log import logger
from tinybert.user_objects import TrainingState, user_objects


class Loop:
    """One training stage, from its first step or a checkpoint to its last step."""

    def __init__(
        self,
        settings: LoopSettings,
        layer: nn.Layer,
        optimizer: paddle.optimizer.Optimizer,
        batches: EpochBatches,
        callbacks: Callbacks,
        run: RunFolder,
        fingerprint: dict,
        precision: Precision | None = None,
    ) -> None:
        self.settings, self.layer, self.optimizer, self.batches = settings, layer, optimizer, batches
        self.callbacks, self.run_folder, self.fingerprint = callbacks, run, fingerprint
        self.precision = precision or Precision()
        self.state = LoopState()
        self.last_checkpoint: Path | None = None
        self.scored_at: int | None = None
        self.saved_at = 0.0
        self.jumped = False  # whether a jump of the loss has been reported
        self.listeners = user_objects().callbacks
        self.told = TrainingState(run.stage, settings.total_steps)

    @property
    def step(self) -> int:
        """The number of updates so far."""
        return self.state.step

    @property
    def stopped_early(self) -> bool:
        """Whether the scores have not improved in as many evaluations as `patience` allows."""
        patience = self.settings.patience
        return patience is not None and self.state.not_better >= patience and self.step < self.settings.total_steps

    # === Running ===

    def run(self, resume: Path | None = None, other_scores: bool = False) -> Best:
        """Train to the last step, or until the scores stop improving, and return the best evaluation whose model is on disk.

        other_scores: evaluations before resuming used other rows, so their scores are discarded.

        Raises:
            NumericalError: NaN or infinite loss, before the weights are updated, or such scores; a reproducer is saved.
            Interrupted: a signal requested a stop; a checkpoint has been saved.
            UserError: the checkpoint has other parameters.
        """
        self.run_folder.open_logs(self._begin(resume, other_scores))
        progress = Progress(self.run_folder.stage, self.settings.total_steps, self.step, self.run_folder.writes)
        self.saved_at = time.monotonic()
        try:
            with graceful_shutdown() as stop:
                self._tell("on_start")
                self.layer.train()
                finished = self.step >= self.settings.total_steps or self.stopped_early
                while not finished:
                    stopping = self._one_step(stop)
                    finished = self._after_step(progress)
                    if self._checkpoint_due() or stopping:
                        self.save_checkpoint()
                    if stopping and not finished:
                        raise Interrupted(stopping, f"stopped after step {self.step}; continue with --resume auto")
                self._end(stop, progress)
                if self.stopped_early:
                    name = self.callbacks.metric_for_best_model[0]
                    logger.info(
                        f"early stopping after step {self.step} of {self.settings.total_steps}: no better {name} in the last "
                        f"{self.state.not_better} evaluations"
                    )
                self._tell("on_end")
        finally:
            progress.close()
            self.run_folder.close_logs()
        best, kept = self.state.best, self.state.kept
        if kept.step != best.step:
            logger.info(f"the best model (step {best.step}) was overwritten before resuming; the best one on disk is step {kept.step}")
        return kept

    def _begin(self, resume: Path | None, other_scores: bool) -> int | None:
        """Restore a checkpoint; returns the byte of the log at which the run continues."""
        position = self._restore(resume) if resume else None
        if other_scores:
            self.state.forget_scores()
            logger.info("the evaluation set changed; previous best scores are discarded")
        storage.recover(self.run_folder.path)
        if resume and self.run_folder.writes:
            self.last_checkpoint = checkpoints.fork_from(self.run_folder.checkpoints, resume)
            position = position if self.last_checkpoint.resolve() == resume.resolve() else 0
        return position

    def _one_step(self, stop: StopRequest) -> int:
        """Forward and backward over the micro-batches of one step, then one update; returns the number of a signal that requests a stop."""
        started = time.monotonic()
        epoch, index = self.batches.position(self.step)
        micro_batches = self.batches.step(epoch, index)
        self.state.data_seconds += time.monotonic() - started
        sums: dict[str, float] = {}
        for micro, batch in enumerate(micro_batches):
            runtime.seed_step(self.settings.seed, self.run_folder.stage, self.step, micro, runtime.rank())
            last = micro == len(micro_batches) - 1
            with contextlib.nullcontext() if last else self.callbacks.no_sync():
                with self.precision.autocast():
                    parts = self.callbacks.forward(batch)
                # data parallelism averages gradients over ranks, but shares already refer to all ranks, so the sum is needed
                self.precision.scaler.scale(parts["loss"] * float(runtime.world_size())).backward()
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        own = [batch for batch in micro_batches if batch.share["rows"]]
        sums["rows"] = float(sum(len(batch.rows) for batch in own))
        sums["real_tokens"] = float(sum(batch.attention_mask.sum() for batch in own))
        sums["stop"] = float(stop.signal or 0)
        sums = sum_dict(sums)  # every rank sees the same loss and the same stop request
        rows, tokens, stopping = (int(sums.pop(name)) for name in ("rows", "real_tokens", "stop"))
        if not math.isfinite(sums["loss"]):
            nonfinite.stop_on_loss(sums, self.step, self._reproducer(sums, micro_batches, epoch))
        self.callbacks.before_update()
        self.optimizer.set_lr(self.settings.rate(self.step))
        self.precision.update(self.optimizer)
        self.optimizer.clear_grad()
        self.callbacks.after_step()
        self.state.step += 1
        before = self.state.add(sums, rows, tokens, time.monotonic() - started)
        if before is not None and not self.jumped:
            self.jumped = True
            logger.warning(f"the loss jumped to {sums['loss']:.4g} at step {self.step}, from about {before:.4g}")
        return (stop.signal or signal.SIGTERM) if stopping else 0

    def _after_step(self, progress: Progress) -> bool:
        """Log and evaluate if due; returns whether the stage is finished."""
        if optimizer := self.callbacks.replace_optimizer(self.step):
            self.optimizer = optimizer
            self.state.forget_scores()  # a model with another shape is not comparable
        progress.advance()
        finished = self.step == self.settings.total_steps
        if self.step % self.settings.logging_steps == 0 or finished:
            self._log(progress)
        if self._evaluation_due() or finished:
            self._evaluate(progress)
        if self._asked_to_stop():
            if self.scored_at != self.step:
                self._evaluate(progress)
            return True
        return finished or self.stopped_early

    def _end(self, stop: StopRequest, progress: Progress) -> None:
        if self.state.kept.step is None:  # resumed after the last step was lowered, before any evaluation
            self._evaluate(progress)
        # whatever fails while the last model is written, no step has to be repeated
        self.save_checkpoint()
        if stop.signal:
            raise Interrupted(stop.signal, f"stopped after the last step, {self.step}; --resume auto writes the remaining results")

    # === The caller's callbacks ===

    def _tell(self, event: str) -> None:
        told = self.told
        told.step, told.epoch = self.step, round(self.batches.epochs_at(self.step), 4)
        told.scores, told.best = dict(self.state.last_scores), dict(self.state.best.scores)
        for listener in self.listeners:
            getattr(listener, event)(told)

    def _asked_to_stop(self) -> bool:
        """Whether a callback on any rank has requested a stop: all ranks must stop at the same step."""
        return bool(self.listeners) and sum_dict({"stop": float(self.told.stopping)})["stop"] > 0

    # === Logs ===

    def _log(self, progress: Progress) -> None:
        state, means, rates = self.state, self.state.window.means(), self.state.window.rates()
        values = {
            "step": self.step,
            "epoch": round(self.batches.epochs_at(self.step), 4),
            **means,
            "lr": self.settings.rate(self.step - 1),
            **({"skipped_steps": self.precision.skipped} if self.precision.enabled else {}),
            "samples_per_second": round(rates[0], 2),
            "tokens_per_second": round(rates[1], 1),
            "data_wait_share": round(state.data_seconds / max(state.seconds, 1e-9), 4),
            "time": now(),
        }
        self.run_folder.log(values)
        self.run_folder.log_arrays(self.step, self.callbacks.observe())
        progress.report(self.step, {"loss": means["loss"]} | means, *rates)
        state.window = RunningMetrics()
        self.told.metrics = {name: value for name, value in values.items() if name not in ("step", "epoch", "time")}
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

    def _evaluate(self, progress: Progress) -> None:
        self.layer.eval()
        try:
            with self.precision.autocast():
                scores = self.callbacks.evaluate(self.step)
        except NumericalError as error:
            self._stop_on_scores(str(error), {})
        self.layer.train()
        name, direction = self.callbacks.metric_for_best_model
        if not math.isfinite(scores[name]):  # it would stay the best forever: no score compares as better than NaN
            self._stop_on_scores(f"{name} {scores[name]}", scores)
        state = self.state
        state.last_scores, self.scored_at = scores, self.step

        def better_than(best: float | None) -> bool:
            return best is None or (scores[name] > best if direction == "max" else scores[name] < best)

        improved = better_than(state.best.scores.get(name))
        self.run_folder.log({"event": "evaluation", "step": self.step, **scores, "best": improved, "time": now()})
        progress.evaluated(self.step, scores, improved)
        if better_than(state.kept.scores.get(name)):
            folder = self.callbacks.save_best(self.step) if self.run_folder.writes else None
            state.kept = Best(self.step, scores, folder and [folder.name, storage.sha256_of(folder / storage.MANIFEST)])
        state.not_better = 0 if improved else state.not_better + 1
        if improved:
            state.best = state.kept
        self._tell("on_evaluate")

    def _stop_on_scores(self, what: str, scores: dict[str, float]) -> None:
        epoch, index = self.batches.position(max(self.step - 1, 0))  # the rows of the last update
        nonfinite.stop_on_scores(what, self.step, self._reproducer(scores, self.batches.step(epoch, index), epoch))

    # === Checkpoints ===

    def _checkpoint_due(self) -> bool:
        if self.settings.checkpoint_steps:
            return self.step % self.settings.checkpoint_steps == 0
        return time.monotonic() - self.saved_at > 60 * self.settings.checkpoint_minutes

    def save_checkpoint(self) -> None:
        """Save everything needed to resume, on the writing rank only."""
        if not self.run_folder.writes:
            return
        state = {
            **self.state.as_json(),
            "log_position": self.run_folder.log_position(),
            "fingerprint": self.fingerprint,
            "threads": runtime.threads(),
            "computing": runtime.computing(),
            "precision": self.precision.state(),
        }
        weights = {name: parameter.numpy() for name, parameter in self.layer.named_parameters()}
        moments = optimizer_arrays(self.optimizer, self.layer)
        weights, moments = (self.callbacks.to_checkpoint(arrays, self.step) for arrays in (weights, moments))
        extra = {f"{who}|{name}": array for who, part in self.callbacks.stateful.items() for name, array in part.arrays().items()}
        content = Checkpoint(weights, moments, state, extra)
        self.last_checkpoint = checkpoints.write(self.run_folder.checkpoints, self.step, content, self.settings.keep_checkpoints)
        self.saved_at = time.monotonic()

    def _restore(self, path: Path) -> int:
        saved = checkpoints.read(path)
        step = saved.state["step"]
        for who, part in self.callbacks.stateful.items():
            part.load_arrays({name.removeprefix(f"{who}|"): a for name, a in saved.participants.items() if name.startswith(f"{who}|")})
        self.optimizer = self.callbacks.replace_optimizer(step) or self.optimizer
        weights, moments = (self.callbacks.from_checkpoint(arrays, step) for arrays in (saved.weights, saved.optimizer))
        parameters = dict(self.layer.named_parameters())
        _check_parameters(path, parameters, weights)
        for name, parameter in parameters.items():
            parameter.set_value(weights[name])
        load_optimizer_arrays(self.optimizer, self.layer, moments)
        runtime.set_threads(saved.state["threads"])  # float32 sums depend on the number of threads
        self.precision.load_state(saved.state["precision"])
        self.state = LoopState.of(saved.state)
        if not self._is_there(self.state.kept):
            self.state.kept = Best()
        self.last_checkpoint = path
        logger.info(f"resuming the {self.run_folder.stage} stage from {path} at step {self.step}")
        before = saved.state.get("computing")
        if changed := checkpoints.differences(before, runtime.computing()) if before else {}:
            # results differ in the last bits with other versions or processor instructions
            logger.warning(
                f"the run was started in another environment ({'; '.join(changed.values())}); it continues, but results may "
                "differ in the last bits"
            )
        return saved.state["log_position"]

    def _is_there(self, best: Best) -> bool:
        """Whether the model of an evaluation is on disk, not overwritten by a later step of a superseded branch."""
        if best.model is None:
            return True
        folder, manifest = best.model
        path = self.run_folder.path / folder / storage.MANIFEST
        if not path.is_file() or storage.sha256_of(path) != manifest:
            return False
        return all(name.endswith((".json", ".txt")) for name in storage.changed_files(path.parent))  # users may edit text files


def _check_parameters(path: Path, parameters: dict[str, paddle.Tensor], saved: dict) -> None:
    """Reject a checkpoint whose parameters have other names or shapes.

    Raises:
        UserError: says which.
    """
    if set(parameters) != set(saved):
        raise UserError(f"the checkpoint {path} has other parameters than this model: the student or the objective has changed.")
    for name, parameter in parameters.items():
        then, here = list(saved[name].shape), list(parameter.shape)
        if then != here:
            raise UserError(
                f"the checkpoint {path} has '{name}' of shape {then}, this model {here}: the student or the objective has changed.\n"
                "Use the original student and objective, or start over with --overwrite_output_dir."
            )

"""The loop on a layer with one weight: logging, checkpoints, and what stops it."""

from __future__ import annotations

import errno
import json
import signal

import numpy as np
import paddle
import pytest
from paddle import nn

from tinybert.data.epochs import EpochBatches
from tinybert.data.store import TokenStore
from tinybert.engine import checkpoint
from tinybert.engine.callbacks import Callbacks, LoopSettings
from tinybert.engine.loop import Loop
from tinybert.engine.optimizers import create_optimizer
from tinybert.engine.run_folder import RunFolder
from tinybert.errors import Interrupted, NumericalError, UserError

ROWS = 8


class Weight(nn.Layer):
    """A single number that is trained towards the mean of the labels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = self.create_parameter([1], default_initializer=nn.initializer.Constant(4.0))

    def forward(self, batch) -> dict[str, paddle.Tensor]:
        loss = ((self.weight - paddle.to_tensor(batch.labels)) ** 2).mean() * batch.share["rows"]
        return {"part": loss, "loss": loss}


def loop(folder, *, labels=None, scores=None, accumulation=1, fingerprint=None, **settings):
    """A loop over eight rows, two per micro-batch, with a list of the steps at which the best model was saved."""
    labels = np.arange(ROWS, dtype="float32") if labels is None else labels
    store = TokenStore.from_arrays([[2, 5, 3]] * ROWS, labels=labels)
    layer, kept = Weight(), []
    optimizer = create_optimizer(layer, "adamw", weight_decay=0.0, epsilon=1e-6, max_grad_norm=0.0, grad_clip="global")
    callbacks = Callbacks(
        forward=layer,
        evaluate=lambda step: {"accuracy": (scores or {}).get(step, 0.0), "other": 1.0},
        metric_for_best_model=("accuracy", "max"),
        save_best=kept.append,
    )
    batches = EpochBatches([store], 2, seed=1, accumulation=accumulation)
    whole = LoopSettings(**{"total_steps": 8, "rate": lambda step: 0.1, "logging_steps": 2, "checkpoint_minutes": 1e9, **settings})
    made = Loop(whole, layer, optimizer, batches, callbacks, RunFolder(folder, "prediction"), fingerprint or {"seed": 1})
    return made, layer, kept


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_during_the_last_evaluation_keeps_its_step_and_score(tmp_path, number):
    made, _, kept = loop(tmp_path, total_steps=4, evaluate_every=2, scores={2: 0.5, 4: 0.75})
    plain = made.callbacks.evaluate

    def evaluate(step: int) -> dict[str, float]:
        if step == 4:
            signal.getsignal(number)(number, None)  # a real one would end all tests, if nothing handled it
        return plain(step)

    made.callbacks.evaluate = evaluate
    with pytest.raises(Interrupted, match="stopped after the last step, 4; --resume auto writes the remaining results") as stopped:
        made.run()
    assert stopped.value.exit_code == 128 + number and kept == [2, 4]
    again, _, kept = loop(tmp_path, total_steps=4, evaluate_every=2)
    best = again.run(checkpoint.newest(made.run_folder.checkpoints))
    assert (best.step, best.scores["accuracy"]) == (4, 0.75) and again.step == 4 and not kept


def test_full_disk_leaves_the_older_checkpoints(tmp_path, monkeypatch):
    def full(path, arrays):
        raise OSError(errno.ENOSPC, "No space left on device")

    made, _, _ = loop(tmp_path, total_steps=4, checkpoint_steps=2)
    made.run()
    monkeypatch.setattr(checkpoint, "write_safetensors", full)
    again, _, _ = loop(tmp_path, total_steps=6, checkpoint_steps=1)
    with pytest.raises(OSError, match="No space left on device") as problem:
        again.run(checkpoint.newest(made.run_folder.checkpoints))
    assert problem.value.errno == errno.ENOSPC
    assert {path.name for path in made.run_folder.checkpoints.iterdir()} == {"step_00000002", "step_00000004"}


def lines(folder) -> list[dict]:
    return RunFolder(folder, "").log_lines()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_loss_stops_the_run_and_leaves_weights_unchanged(tmp_path, bad):
    labels = np.arange(ROWS, dtype="float32")
    batches = EpochBatches([TokenStore.from_arrays([[2, 5, 3]] * ROWS, labels=labels)], 2, seed=1)
    poisoned = int(batches.step(0, 2)[0].rows[1])  # a row of the third step
    labels[poisoned] = bad
    made, layer, _ = loop(tmp_path, labels=labels, checkpoint_steps=1)
    before: list[float] = []
    update = made.optimizer.step

    def counted() -> None:
        update()
        before.append(float(layer.weight))

    made.optimizer.step = counted
    with pytest.raises(NumericalError, match=r"not finite at step 2 .*no weight was changed(.|\n)*nonfinite_prediction_step_2.json"):
        made.run()
    assert len(before) == 2 and float(layer.weight) == before[-1]
    report = json.loads((tmp_path / "nonfinite_prediction_step_2.json").read_text())
    assert poisoned in report["rows"][0]
    assert (report["stage"], report["step"], report["epoch"], report["seed"]) == ("prediction", 2, 0, 42)
    assert report["last_good_checkpoint"].endswith("step_00000002")
    assert set(report["parts"]) == {"part", "loss"}


@pytest.mark.parametrize("raised", [True, False])
def test_non_finite_evaluation_writes_a_reproducer(tmp_path, raised):
    def evaluate(step: int) -> dict[str, float]:
        if raised and step == 4:
            raise NumericalError("2 of 8 predictions are NaN or infinite")
        return {"accuracy": 0.5 if step < 4 else np.nan}

    made, _, kept = loop(tmp_path, evaluate_every=2, checkpoint_steps=3)
    made.callbacks.evaluate = evaluate
    what = "2 of 8 predictions" if raised else "accuracy nan"
    with pytest.raises(NumericalError, match=rf"evaluation after step 4 .*{what}(.|\n)*nonfinite_prediction_step_4.json(.|\n)*lower"):
        made.run()
    report = json.loads((tmp_path / "nonfinite_prediction_step_4.json").read_text())
    assert report["rows"] == [batch.rows.tolist() for batch in made.batches.step(0, 3)]
    assert (report["step"], report["epoch"], report["seed"]) == (4, 0, 42)
    assert report["last_good_checkpoint"].endswith("step_00000003") and kept == [2]


def test_every_evaluation_is_logged_and_only_better_models_are_saved(tmp_path):
    made, _, kept = loop(tmp_path, scores={3: 0.5, 6: 0.5, 8: 0.6}, evaluate_every=3)
    best = made.run()
    evaluated = [(line["step"], line["best"]) for line in lines(tmp_path) if line.get("event") == "evaluation"]
    assert evaluated == [(3, True), (6, False), (8, True)]  # an equal score is not an improvement; the last step is always evaluated
    assert kept == [3, 8]
    assert (best.step, best.scores) == (8, {"accuracy": 0.6, "other": 1.0})


@pytest.mark.parametrize(
    ("patience", "scores", "last"),
    [(2, {2: 0.5, 4: 0.5, 6: 0.4}, 6), (3, {2: 0.5, 4: 0.5, 6: 0.4}, 8), (2, {2: 0.5, 4: 0.4, 6: 0.6}, 10), (None, {2: 0.5}, 12)],
)
def test_early_stopping_counts_evaluations_without_improvement(tmp_path, capsys, patience, scores, last):
    made, _, _ = loop(tmp_path, scores=scores, evaluate_every=2, total_steps=12, patience=patience)
    best = made.run()
    assert made.step == last and best.scores["accuracy"] == max(scores.values())
    assert made.stopped_early == (last < 12) == (f"early stopping after step {last} of 12: no better accuracy" in capsys.readouterr().out)


@pytest.mark.parametrize("stopped", [3, 4, 5, 6, 7])
def test_interrupted_loop_stops_early_at_the_same_step(tmp_path, stopped):
    scores = {2: 0.5, 4: 0.4, 6: 0.6, 8: 0.6}
    settings = {"scores": scores, "evaluate_every": 2, "total_steps": 20, "patience": 2, "checkpoint_steps": 1, "keep_checkpoints": 99}
    made, _, _ = loop(tmp_path, **settings)
    made.run()
    again, _, _ = loop(tmp_path, **settings)
    again.run(made.run_folder.checkpoints / f"step_{stopped:08d}")
    assert made.step == again.step == 10 and again.stopped_early


def test_resuming_an_early_stopped_loop_trains_no_further(tmp_path):
    settings = {"scores": {2: 0.5}, "evaluate_every": 2, "total_steps": 20, "patience": 2}
    made, _, _ = loop(tmp_path, **settings)
    made.run()
    again, _, _ = loop(tmp_path, **settings)
    assert again.run(checkpoint.newest(made.run_folder.checkpoints)).step == 2 and again.step == made.step == 6


def test_model_is_saved_even_if_no_score_exceeds_zero(tmp_path):
    # the published scripts start at 0 and save nothing
    made, _, kept = loop(tmp_path, scores=dict.fromkeys(range(9), -0.1), evaluate_every=4)
    assert made.run().step == 4
    assert kept == [4]


def test_log_has_each_logging_step_once(tmp_path):
    made, _, _ = loop(tmp_path, total_steps=5)
    made.run()
    logged = [line for line in lines(tmp_path) if "event" not in line]
    assert [line["step"] for line in logged] == [2, 4, 5]
    assert [line["epoch"] for line in logged] == [0.5, 1.0, 1.25]
    assert all(line["lr"] == 0.1 and line["loss"] == line["part"] for line in logged)


def test_accumulated_micro_batches_equal_one_batch(tmp_path):
    weights = []
    for name, accumulation in (("one", 1), ("four", 4)):
        made, layer, _ = loop(tmp_path / name, accumulation=accumulation, total_steps=2)
        if name == "one":
            made.batches = EpochBatches([made.batches.each[0].store], 8, seed=1)
        made.run()
        weights.append(float(layer.weight))
    assert weights[0] == pytest.approx(weights[1], rel=1e-6)
    assert weights[0] != 4.0


def test_resumed_loop_equals_an_uninterrupted_one(tmp_path):
    through, layer, _ = loop(tmp_path / "through", checkpoint_steps=1, keep_checkpoints=99)
    through.run()
    again, other, _ = loop(tmp_path / "through", checkpoint_steps=1, keep_checkpoints=99)
    path = checkpoint.find(again.run_folder.checkpoints, "auto").with_name("step_00000003")
    before = [line for line in lines(tmp_path / "through") if "event" not in line]
    again.run(path)
    after = [line for line in lines(tmp_path / "through") if "event" not in line]
    assert float(other.weight) == float(layer.weight)
    assert [(line["step"], line["loss"]) for line in after] == [(line["step"], line["loss"]) for line in before]


class Total:
    """State beside the weights: the sum of the rows' numbers over all steps."""

    def __init__(self) -> None:
        self.value = np.zeros(1)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"value": self.value}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self.value = arrays["value"].copy()


def test_custom_state_is_restored_on_resume(tmp_path):
    def counted(**settings) -> tuple[Loop, Total]:
        made, layer, _ = loop(tmp_path, checkpoint_steps=2, **settings)
        total = made.callbacks.stateful["total"] = Total()

        def forward(batch):
            total.value = 0.5 * total.value + batch.rows.sum()
            return layer(batch)

        made.callbacks.forward = forward
        return made, total

    counted(total_steps=6)[0].run()
    again, resumed = counted()
    again.run(checkpoint.newest(again.run_folder.checkpoints).with_name("step_00000004"))
    through, whole = counted()
    through.run()
    assert whole.value.tobytes() == resumed.value.tobytes() and whole.value.any()


def test_checkpoint_of_another_run_is_refused_unless_changes_are_allowed(tmp_path):
    made, _, _ = loop(tmp_path, checkpoint_steps=4)
    made.run()
    path = checkpoint.find(made.run_folder.checkpoints, "auto")
    checkpoint.check(path, {"seed": 1}, allow_changes=False)
    with pytest.raises(UserError, match=r"other data or arguments:\n  seed: was 1, is 2\n(.|\n)*--resume_changed"):
        checkpoint.check(path, {"seed": 2}, allow_changes=False)
    checkpoint.check(path, {"seed": 2}, allow_changes=True)


def test_checkpoint_with_other_parameters_is_refused(tmp_path):
    made, _, _ = loop(tmp_path, checkpoint_steps=4)
    made.run()
    again, layer, _ = loop(tmp_path)
    layer.another = layer.create_parameter([1])
    with pytest.raises(UserError, match="has other parameters than this model"):
        again.run(checkpoint.find(again.run_folder.checkpoints, "auto"))


def test_checkpoint_with_other_shapes_is_refused(tmp_path):
    made, _, _ = loop(tmp_path, checkpoint_steps=4)
    made.run()
    again, layer, _ = loop(tmp_path)
    layer.weight = layer.create_parameter([3])
    with pytest.raises(UserError, match=r"has 'weight' of shape \[1\], this model \[3\]"):
        again.run(checkpoint.find(again.run_folder.checkpoints, "auto"))


def test_keep_checkpoints_limits_the_number_of_checkpoints(tmp_path):
    made, _, _ = loop(tmp_path, checkpoint_steps=1, keep_checkpoints=3)
    made.run()
    assert sorted(entry.name for entry in made.run_folder.checkpoints.iterdir()) == [f"step_{step:08d}" for step in (6, 7, 8)]


@pytest.mark.parametrize(("factors", "times"), [({25: 1e4, 27: 1e4}, 1), ({}, 0)])
def test_loss_jump_is_warned_about_once(tmp_path, capsys, factors, times):
    made, _, _ = loop(tmp_path, total_steps=30)
    forward = made.callbacks.forward
    made.callbacks.forward = lambda batch: {name: value * factors.get(made.step, 1) for name, value in forward(batch).items()}
    made.run()
    said = capsys.readouterr().err
    assert said.count("warning: the loss jumped to") == times and ("at step 26" in said) == bool(times)


def test_high_loss_that_was_seen_before_is_no_jump(tmp_path, capsys):
    made, _, _ = loop(tmp_path, total_steps=40)
    forward = made.callbacks.forward
    scale = {step: 1.0 if step < 20 or step == 35 else 1e-3 for step in range(40)}  # at step 35 as high as at the beginning
    made.callbacks.forward = lambda batch: {name: value * scale[made.step] for name, value in forward(batch).items()}
    made.run()
    assert "jumped" not in capsys.readouterr().err

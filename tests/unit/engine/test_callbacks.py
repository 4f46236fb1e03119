"""User callbacks: what they read, and how they end a stage."""

from __future__ import annotations

from tests.unit.engine.test_loop import loop
from tinybert.engine import checkpoint
from tinybert.user_objects import Callback, UserObjects, use_objects


class Recorder(Callback):
    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.seen = stop_at, []

    def on_start(self, state):
        self.seen.append(("start", state.step))

    def on_log(self, state):
        self.seen.append(("log", state.step))
        assert state.metrics["loss"] > 0 and state.metrics["lr"] == 0.1
        if self.stop_at is not None and state.step >= self.stop_at:
            state.stop()

    def on_evaluate(self, state):
        self.seen.append(("evaluate", state.step, state.scores["accuracy"], state.best["accuracy"]))

    def on_end(self, state):
        self.seen.append(("end", state.step))


def test_callbacks_read_steps_losses_and_scores(tmp_path):
    recorder = Recorder()
    with use_objects(UserObjects(callbacks=(recorder,))):
        made, _, _ = loop(tmp_path, total_steps=4, logging_steps=2, evaluate_every=2, scores={2: 0.75, 4: 0.5})
    made.run()
    assert recorder.seen == [
        ("start", 0), ("log", 2), ("evaluate", 2, 0.75, 0.75), ("log", 4), ("evaluate", 4, 0.5, 0.75), ("end", 4),
    ]  # fmt: skip


def test_stage_ended_by_a_callback_is_scored_and_saved(tmp_path):
    recorder = Recorder(stop_at=3)
    with use_objects(UserObjects(callbacks=(recorder,))):
        made, _, kept = loop(tmp_path, total_steps=8, logging_steps=1, evaluate_every=4, scores={3: 0.5})
    best = made.run()
    assert (made.step, best.step, best.scores["accuracy"], kept) == (3, 3, 0.5, [3])
    assert recorder.seen[-1] == ("end", 3)
    assert checkpoint.newest(made.run_folder.checkpoints).name == "step_00000003"


def test_loop_without_callbacks_has_no_listeners(tmp_path):
    with use_objects(UserObjects(callbacks=(Recorder(),))):
        pass
    made, _, _ = loop(tmp_path)
    assert not made.listeners

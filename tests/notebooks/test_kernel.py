"""Runs in a notebook kernel: progress bars, lines, figures, the stop button, and worker processes that die."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import tiny
from tests.notebooks.conftest import lines

manager = pytest.importorskip("jupyter_client.manager", reason="the extra dev has ipykernel")
pytest.importorskip("ipykernel")

BEGIN = """
import os
os.environ["TINYBERT_CACHE"] = "cache"
%matplotlib inline
import matplotlib, matplotlib.pyplot as plt
import tinybert as tb
backend = matplotlib.get_backend()
data, teacher = tb.load_task("SST-2", "SST-2"), tb.load("teacher")
steps = {"batch_size": 8, "max_seq_length": 16, "learning_rate": 1e-3, "device": "cpu"}
def distill(output, **more):
    given = {key: more.pop(key) for key in list(more) if key in ("callbacks", "resume")}
    return tb.distill(teacher, tb.student_from(teacher, [1, 3]), data, training=tb.Training(**{**steps, **more}), output_dir=output,
                      allow_weak_teacher=True, **given)
"""


@dataclass
class Answer:
    """The outputs of one cell."""

    error: str | None = None
    message: str | None = None
    out: str = ""
    err: str = ""
    data: list[dict] = field(default_factory=list)


class Kernel:
    """A kernel of this Python in a folder."""

    def __init__(self, folder: Path) -> None:
        self.manager, self.client = manager.start_new_kernel(cwd=str(folder))

    def run(self, code: str, stop_at: str | None = None) -> Answer:
        """Run a cell and return its outputs; the stop button is pressed when it has printed `stop_at`."""
        answer, pressed = Answer(), False

        def collect(message: dict) -> None:
            nonlocal pressed
            content = message["content"]
            if message["msg_type"] == "stream":
                name = "out" if content["name"] == "stdout" else "err"
                setattr(answer, name, getattr(answer, name) + content["text"])
            elif message["msg_type"] in ("display_data", "execute_result"):
                answer.data.append(content["data"])
            if stop_at is not None and not pressed and stop_at in answer.out:
                pressed = True
                self.manager.interrupt_kernel()

        reply = self.client.execute_interactive(code, output_hook=collect, timeout=300)
        answer.error, answer.message = reply["content"].get("ename"), reply["content"].get("evalue")
        return answer


@pytest.fixture(scope="module")
def kernel(tmp_path_factory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("kernel")
    tiny.learnable_rows(folder / "SST-2", {"train": 48, "dev": 24}, seed=1)
    tiny.model_folder(folder / "teacher", labels=("0", "1"))
    (folder / "text.txt").write_text("\n".join(f"word{i % 35} word{i % 7} word{i % 11}" if i % 9 else "" for i in range(3000)))
    started = Kernel(folder)
    begun = started.run(BEGIN)
    assert begun.error is None, begun
    yield started
    started.client.stop_channels()
    started.manager.shutdown_kernel(now=True)


def test_a_run_shows_bars_with_rate_and_time_and_few_lines(kernel):
    answer = kernel.run("run = distill('bars', max_steps=40, logging_steps=1, save_steps=1)")
    assert answer.error is None
    assert re.search(r"intermediate: 100%.*40/40 \[\d\d:\d\d<00:00, .*step/s.*loss ", answer.err), answer.err[-500:]
    assert "prediction: 100%" in answer.err and "accuracy" in answer.err
    assert len(lines(answer.out)) <= 30, answer.out
    assert "settings: max_seq_length 16" in answer.out and "teacher_mode" not in answer.out


def test_all_lines_are_shown_when_they_are_asked_for(kernel):
    answer = kernel.run("tb.set_verbosity('debug'); distill('asked', max_steps=2); tb.set_verbosity('info')")
    assert answer.error is None and "teacher_mode" in answer.out and "student layer" in answer.out


def test_figures_are_shown_once_and_the_backend_is_kept(kernel):
    answer = kernel.run("run.curves()")
    assert [sorted(data) for data in answer.data] == [["image/png", "text/plain"]]
    own = kernel.run("plt.plot([1, 2]); assert matplotlib.get_backend() == backend and 'inline' in backend")
    assert own.error is None and sum("image/png" in data for data in own.data) == 1


def test_the_stop_button_saves_and_the_run_is_resumed(kernel):
    code = """
class Tell(tb.Callback):
    def on_log(self, state):
        print(f"reached {state.step}")
distill('stopped', max_steps=100_000, logging_steps=1, save_steps=100_000, callbacks=[Tell()])
"""
    answer = kernel.run(code, stop_at="reached 3")
    assert answer.error == "Interrupted", answer
    after = kernel.run(
        "from pathlib import Path\nprint(sorted(path.name for path in Path('stopped/checkpoints/intermediate').iterdir()))\n"
        "try: distill('stopped', max_steps=100_000, save_steps=100_000, logging_steps=1, resume=True, callbacks=[Tell()])\n"
        "except KeyboardInterrupt: print('stopped again')",
        stop_at="reached",
    )
    assert after.error is None and "step_0000" in after.out and "stopped again" in after.out
    assert "reached 1\n" not in after.out.split("step_0000", 1)[1]


def test_dead_worker_ends_its_call_but_not_the_kernel(kernel):
    code = """
import multiprocessing, signal, threading, time
from tinybert.corpus.documents import TextCorpus
TextCorpus.processes = lambda corpus, most: most  # a small text has one process
def kill():
    while not (children := multiprocessing.active_children()):
        time.sleep(0.01)
    os.kill(children[0].pid, signal.SIGKILL)
threading.Thread(target=kill, daemon=True).start()
tb.pregenerate('text.txt', teacher, output_dir='rows', max_seq_len=16, epochs_to_generate=30, num_workers=2)
"""
    dead = kernel.run(code)
    assert dead.error == "UserError" and "worker process was killed" in dead.message, dead
    assert kernel.run("1 + 1").data == [{"text/plain": "2"}]
    assert kernel.run("tb.pregenerate('text.txt', teacher, output_dir='rows2', max_seq_len=16, epochs_to_generate=1)").message is None

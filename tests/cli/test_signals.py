"""Real processes that are stopped by a signal or meet non-finite values."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tinybert.cli.main import run_script
from tinybert.engine import checkpoint
from tinybert.models.weights import read_pdparams

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Rows and a model; one model whose logits are not finite."""
    root = tmp_path_factory.mktemp("signals")
    (root / "SST-2").mkdir()
    (root / "long" / "SST-2").mkdir(parents=True)
    rows = [f"word{i % 30} word{(7 * i) % 30}\t{i % 2}\n" for i in range(8000)]
    for folder, train in (("SST-2", 40), ("long/SST-2", 8000)):
        for name, count in (("train", train), ("dev", 40)):
            (root / folder / f"{name}.tsv").write_text("sentence\tlabel\n" + "".join(rows[:count]))
    tiny.model_folder(root / "model", labels=("0", "1"))
    tiny.model_folder(root / "broken", labels=("0", "1"))
    weights = read_pdparams(root / "broken" / "model_state.pdparams")
    weights["classifier.weight"] = np.full_like(weights["classifier.weight"], 3e38)  # finite, but the logits are not
    tiny.replace_weights(root / "broken", weights)
    return root


@pytest.fixture(autouse=True)
def cache(world, monkeypatch) -> None:
    monkeypatch.setenv("TINYBERT_CACHE", str(world / "cache"))


def _options(world: Path, output: Path, model: str = "model") -> list[str]:
    values = {"task_name": "SST-2", "data_dir": world / "SST-2", "model_name_or_path": world / model, "output_dir": output}
    fixed = ["--max_seq_length=16", "--batch_size=4", "--logging_steps=1", "--device=cpu", "--threads=1"]
    return [*(f"--{name}={value}" for name, value in values.items()), *fixed]


def _start(world: Path, output: Path, *more: str, before=None) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "benchmark" / "glue" / "run_glue.py"), *_options(world, output), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,
    )


def _wait_for_steps(output: Path, steps: int) -> None:
    for _ in range(1200):
        log = output / "log.jsonl"
        if log.exists() and len(log.read_text().splitlines()) >= steps:
            return
        time.sleep(0.05)
    pytest.fail("the run did not get going")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_the_state_and_sets_the_exit_code(world, tmp_path, number):
    process = _start(world, tmp_path / "run", "--max_steps=100000", "--checkpoint_minutes=1000")
    _wait_for_steps(tmp_path / "run", 3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "--resume auto" in err and "Traceback" not in err
    saved = checkpoint.read(checkpoint.newest(tmp_path / "run" / "checkpoints" / "finetune"))
    logged = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert saved.state["step"] == logged[-1]["step"] >= 3


def test_second_signal_stops_at_once(world, tmp_path):
    long_step = f"--data_dir={world / 'long' / 'SST-2'}", "--gradient_accumulation_steps=2000"
    process = _start(world, tmp_path / "run", "--max_steps=100000", "--checkpoint_minutes=1000", *long_step)
    started = tmp_path / "run" / "vdl" / "finetune"  # logs are open, so the first of many long steps has started
    for _ in range(1200):
        if started.is_dir():
            break
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "stopping at once" in err
    assert not (tmp_path / "run" / "checkpoints").exists()


def _wait_until_it_listens(process: subprocess.Popen) -> None:
    """Wait until the process has installed its own SIGTERM handler."""
    for _ in range(1200):
        caught = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    pytest.fail("the process does not listen")


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux' /proc to see the handlers of another process")
@pytest.mark.parametrize(("number", "later"), [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.0), (signal.SIGINT, 0.3), (signal.SIGTERM, 0.6)])
def test_signal_during_imports_ends_without_a_traceback(world, tmp_path, number, later):
    process = _start(world, tmp_path / "run", "--max_steps=100000")
    _wait_until_it_listens(process)
    time.sleep(later)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err and "interrupted: SIG" in err
    assert not (tmp_path / "run").exists()


def test_sigterm_after_loading_the_model_ends_with_a_message(world, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    process = _start(world, tmp_path / "run", "--max_steps=100000")
    for line in process.stdout:
        if line.startswith("model:"):  # PaddleNLP, whose import resets SIGTERM, has been imported by then
            break
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "Traceback" not in err and "interrupted: SIGTERM" in err


def test_full_disk_ends_with_a_message_and_the_run_can_be_resumed(world, tmp_path):
    import resource

    def small_files() -> None:  # like a full disk: no file may grow beyond this size, which a checkpoint's moments exceed
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    process = _start(world, tmp_path / "run", "--max_steps=4", "--checkpoint_steps=2", "--save_steps=1", before=small_files)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert "Traceback" not in err and "free disk space, or choose a folder" in err
    assert not list((tmp_path / "run").rglob(".*.tmp-*"))  # no incomplete files are left
    assert [folder.name for folder in (tmp_path / "run").glob("best_model_*")]
    more = ("--max_steps=4", "--checkpoint_steps=2", "--save_steps=1", "--resume=auto")
    assert run_script("finetune", [*_options(world, tmp_path / "run"), *more]) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finetune"]["finished"]


def test_non_finite_loss_ends_with_exit_code_3_and_a_reproducer(world, tmp_path, capsys):
    assert run_script("finetune", [*_options(world, tmp_path / "run", "broken"), "--max_steps=5"]) == 3
    err = capsys.readouterr().err
    assert "not finite at step 0" in err and "the learning rate is not the cause" in err  # no update has been made
    report = json.loads((tmp_path / "run" / "nonfinite_finetune_step_0.json").read_text())
    assert report["rows"] and report["seed"] == 42 and report["last_good_checkpoint"] is None


def test_non_finite_weights_end_with_exit_code_3_and_a_reproducer(world, tmp_path, capsys):
    nonsense = ("--learning_rate=10", "--weight_decay=1e38", "--warmup_proportion=0", "--save_steps=1", "--max_steps=4")
    assert run_script("finetune", [*_options(world, tmp_path / "run"), *nonsense]) == 3
    assert "evaluation after step 1 produced non-finite values" in capsys.readouterr().err
    report = json.loads((tmp_path / "run" / "nonfinite_finetune_step_1.json").read_text())
    assert len(report["rows"][0]) == 4 and report["seed"] == 42


def test_mixed_precision_on_the_cpu_is_refused(world, tmp_path, capsys):
    assert run_script("finetune", [*_options(world, tmp_path / "run"), "--max_steps=5", "--amp=O1", "--amp_dtype=bfloat16"]) == 2
    assert "on the CPU" in capsys.readouterr().err and not (tmp_path / "run").exists()

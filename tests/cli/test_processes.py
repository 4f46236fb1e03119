"""Several processes under `paddle.distributed.launch`: the same result as one, and a clean end when one dies."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.cli.rank_script import recorded
from tinybert.cli.main import run_script

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "cli" / "rank_script.py"
TWO = ("--nproc_per_node", "2", "--backend", "gloo")
STEPS = 7


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Rows, and a teacher without dropout: ranks draw different dropout, which a single process could not reproduce."""
    root = tmp_path_factory.mktemp("processes")
    tiny.learnable_rows(root / "SST-2", {"train": 45, "dev": 23}, seed=5)
    shape = {"num_hidden_layers": 4, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny.model_folder(root / "teacher", labels=("0", "1"), **shape)
    tiny.model_folder(root / "student", "tinybert", labels=("0", "1"), seed=4, **{**shape, "num_hidden_layers": 2})
    return root


def _arguments(world: Path, output: Path, batch: int, **more) -> list[str]:
    values = {
        "task_name": "SST-2",
        "data_dir": world / "SST-2",
        "output_dir": output,
        "teacher_path": world / "teacher",
        "student_model_name_or_path": world / "student",
        "stage": "both",
        "max_seq_length": 16,
        "batch_size": batch,
        "eval_batch_size": 4,
        "learning_rate": 1e-3,
        "max_steps": STEPS,
        "logging_steps": 1,
        "save_steps": 3,
        "checkpoint_steps": 2,
        "device": "cpu",
        "allow_weak_teacher": True,
        **more,
    }
    return [f"--{name}={value}" for name, value in values.items()]


Jobs = dict[str, tuple[str, list[str]]]  # a command and its arguments, by the name of the folder for the records of its ranks


def _launch(world: Path, name: str, jobs: Jobs, die_at: int = -1, options: tuple[str, ...] = TWO) -> subprocess.Popen:
    """Start processes that run all these jobs in order; their logs have this name."""
    logs = world / "logs" / name
    logs.mkdir(parents=True)
    (logs / "jobs.json").write_text(json.dumps([[str(world / name), command, words] for name, (command, words) in jobs.items()]))
    names = {name: value for name, value in os.environ.items() if not name.startswith(("PADDLE_", "FLAGS_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "paddle.distributed.launch", *options, "--log_dir", logs, SCRIPT, logs / "jobs.json", str(die_at)],
        env={**names, "TINYBERT_CACHE": str(world / "cache"), "PYTHONPATH": str(ROOT), "PADDLE_DISTRI_BACKEND": "gloo"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def _finish(process: subprocess.Popen, seconds: float = 240) -> None:
    text = process.communicate(timeout=seconds)[0]
    assert process.returncode == 0, text[-3000:]


def _weights(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def _compared(world: Path, job: str, stage: str, weights: float = 2e-5, learned: float = 1e-4) -> dict[str, np.ndarray]:
    """What two ranks have learned: bitwise equal on both; weights and other learned state are close to those of one process."""
    first, second = (_weights(world / f"{job}_two" / f"{stage}_{rank}.npz") for rank in (0, 1))
    alone = _weights(world / f"{job}_one" / f"{stage}_0.npz")
    assert first.keys() == second.keys() == alone.keys()
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name
        np.testing.assert_allclose(array, alone[name], atol=learned if "|" in name else weights, err_msg=name)
    return first


def _jobs(world: Path, name: str) -> Jobs:
    """Every command under test, with half of the rows per step for each of two ranks."""
    batch = {"one": 8, "two": 4}[name]

    def arguments(job: str, **more) -> list[str]:
        return _arguments(world, world / f"out_{job}_{name}", batch, **more)

    emd = {"method": "emd", "stage": "prediction", "beta": 1.0, "compact_vocabulary": True}
    mud = {"method": "mud", "token_scheme": "attention_no_sep", "keep_tokens": 4, "hidden_scheme": "importance_mask_dynamic"}
    general = {"pregenerated_data": world / "text", "student_model_name_or_path": world / "shape", "held_out_sequences": 2}
    of_tasks = ("task_name", "data_dir", "stage", "max_seq_length", "allow_weak_teacher")
    scored = [
        "--task_name=SST-2", f"--data_dir={world / 'predicted' / 'SST-2'}", f"--student_model_name_or_path={world / 'student'}",
        "--do_eval", "--do_predict", "--max_seq_length=16", "--eval_batch_size=4", "--device=cpu",
        f"--output_dir={world}/out_scored_{name}",
    ]  # fmt: skip
    augmented = [
        f"--pretrained_bert_model={world / 'mlm'}", f"--glove_embs={world / 'glove.txt'}", "--task_name=SST-2", "--N=3",
        f"--data_dir={world / 'many' / 'SST-2'}", f"--output_dir={world}/out_augmented_{name}", "--num_workers=1", "--device=cpu",
        f"--output_file={world}/augmented_{name}.tsv",
    ]  # fmt: skip
    return {
        f"plain_{name}": ("distill", arguments("plain")),
        f"emd_{name}": ("distill", arguments("emd", **emd)),
        f"stored_{name}": ("distill", arguments("stored", **mud, keep_hidden=0.2, teacher_traces=world / f"traces_{name}")),
        f"general_{name}": ("general", [word for word in arguments("general", **general) if word[2:].split("=")[0] not in of_tasks]),
        f"scored_{name}": ("distill", scored),
        f"augment_{name}": ("augment", augmented),
    }


@pytest.fixture(scope="module")
def runs(world) -> Path:
    """Every job in two processes, and also in this one with the same rows per step; a run of which one rank dies, resumed by two."""
    shape = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "hidden_size": 12}
    tiny.model_folder(world / "shape", "tinybert", labels=(), num_hidden_layers=2, **shape)
    (world / "text").mkdir()
    for number, rows in enumerate((23, 30)):
        tiny.pregenerated_epoch(world / "text", number, rows)
    data = world / "predicted" / "SST-2"
    data.parent.mkdir()
    tiny.learnable_rows(data, {"dev": 23}, seed=5)
    (data / "test.tsv").write_text("index\tsentence\n" + "".join(f"{i}\tword{i} word{2 * i}\n" for i in range(9)))
    tiny.masked_lm_folder(world / "mlm", [*tiny.SPECIAL, "##d", *map(chr, range(ord("a"), ord("z") + 1)), *(f"##{i}" for i in range(10))])
    (world / "many").mkdir()
    tiny.learnable_rows(world / "many/SST-2", {"train": 600}, seed=6)  # three parts
    text = (world / "many/SST-2/train.tsv").read_text()
    (world / "many/SST-2/train.tsv").write_text(re.sub(r"word(\d+)", lambda found: chr(ord("a") + int(found[1]) % 26), text))
    (world / "glove.txt").write_text("kale 1 2\nrice 2 1\n")
    words = _arguments(world, world / "out_died", 4)
    dying = _launch(world, "died", {"died": ("distill", words)}, die_at=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYBERT_CACHE", str(world / "cache"))
        for record, (command, given) in _jobs(world, "one").items():
            with recorded(world / record):
                assert run_script(command, given) == 0
    (world / "died.txt").write_text(dying.communicate(timeout=240)[0] + f"\ncode {dying.returncode}")
    _finish(_launch(world, "two", {**_jobs(world, "two"), "died": ("distill", [*words, "--resume=auto"])}))
    return world


@pytest.mark.parametrize("stage", ["intermediate", "prediction"])
def test_ranks_stay_equal_to_each_other_and_to_one_process(runs, stage):
    assert max(float(np.abs(array).max()) for array in _compared(runs, "plain", stage).values()) > 0


def test_emd_layer_weights_of_two_processes_equal_those_of_one(runs):
    found = _compared(runs, "emd", "prediction")
    assert sum("|" in name for name in found) == 6  # two kinds of two sides, the steps, and how many of them are not in the log yet
    assert float(np.ptp(found["layer_weights|attn_student"])) > 0.01


def test_ranks_write_the_same_augmented_file_as_one_process(runs):
    one, two = ((runs / f"augmented_{name}.tsv").read_bytes() for name in ("one", "two"))
    assert one == two and one.count(b"\n") > 1200


@pytest.mark.parametrize("stage", ["intermediate", "prediction"])
def test_two_processes_fill_one_store_of_teacher_traces(runs, stage):
    _compared(runs, "stored", stage, weights=1e-4)


def test_general_distillation_on_two_processes_equals_one(runs):
    _compared(runs, "general", "general")


def test_ranks_share_the_rows_without_loss_or_repetition(runs):
    alone = json.loads((runs / "plain_one" / "intermediate_0.json").read_text())["rows"]
    ranks = [json.loads((runs / "plain_two" / f"intermediate_{rank}.json").read_text())["rows"] for rank in (0, 1)]
    for step in range(STEPS):
        together = sorted(row for rank in ranks for batch in rank[step] for row in batch)
        assert together == sorted(row for batch in alone[step] for row in batch)
        assert len(set(together)) == len(together)


def test_scores_of_two_processes_equal_those_of_one(runs):
    logs = []
    for name in ("one", "two"):
        lines = [json.loads(line) for line in (runs / f"out_plain_{name}" / "log.jsonl").read_text().splitlines()]
        logs.append([line for line in lines if line.get("event") == "evaluation"])
    for alone, together in zip(*logs, strict=True):
        assert alone.keys() == together.keys()
        assert together["stage"] == alone["stage"]
        for name in alone.keys() - {"time", "stage", "event"}:
            assert together[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-7), name


def test_two_processes_evaluate_a_student_and_one_writes_the_scores(runs):
    one, two = (runs / f"out_scored_{name}" for name in ("one", "two"))
    alone, together = (json.loads((path / "eval_results.json").read_text())["evaluation"] for path in (one, two))
    assert together["scores"] == alone["scores"]
    assert (two / "SST-2.tsv").read_text() == (one / "SST-2.tsv").read_text()
    said = [(runs / "logs" / "two" / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    assert [text.count("SST-2: accuracy") + text.count("predictions for") for text in said] == [2, 0]


def test_two_processes_share_the_cores(runs):
    from tinybert import runtime

    facts = json.loads((runs / "plain_two" / "intermediate_0.json").read_text())
    assert facts["threads"] == max(1, runtime.available_cores() // 2)


def test_dead_rank_ends_the_run_and_it_can_be_resumed(runs):
    text = (runs / "died.txt").read_text()
    assert not text.endswith("code 0") and "exit" in text.lower()
    assert "rank" in "".join([text, *(path.read_text(errors="replace") for path in (runs / "logs/died").glob("workerlog*"))]).lower()
    for stage in ("intermediate", "prediction"):
        resumed, whole = (_weights(runs / name / f"{stage}_0.npz") for name in ("died", "plain_two"))
        assert all(resumed[name].tobytes() == array.tobytes() for name, array in whole.items())


@pytest.mark.long
def test_two_machines_equal_one(runs):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    nodes = []
    for rank in ("0", "1"):
        options = ("--master", f"127.0.0.1:{port}", "--nnodes", "2", "--rank", rank, "--nproc_per_node", "1")
        nodes.append(_launch(runs, f"node {rank}", {"nodes": ("distill", _arguments(runs, runs / "out_nodes", 4))}, options=options))
    for node in nodes:
        _finish(node)
    nodes_weights, two = (_weights(runs / name / "prediction_0.npz") for name in ("nodes", "plain_two"))
    for name, array in two.items():
        np.testing.assert_allclose(nodes_weights[name], array, atol=2e-5, err_msg=name)

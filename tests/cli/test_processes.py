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

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "cli" / "rank_script.py"
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


def _environment(world: Path) -> dict[str, str]:
    names = {name: value for name, value in os.environ.items() if not name.startswith(("PADDLE_", "FLAGS_"))}
    return {**names, "TINYBERT_CACHE": str(world / "cache"), "PYTHONPATH": str(ROOT)}


def _alone(world: Path, record: Path, arguments: list[str], script: str = "task_distill") -> None:
    record.mkdir()
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(record), "-1", script, *arguments],
        env=_environment(world),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _launch(
    world: Path, record: Path, arguments: list[str], die_at: int = -1, options: tuple[str, ...] = (), script: str = "task_distill"
) -> subprocess.Popen:
    record.mkdir(exist_ok=True)
    options = options or ("--nproc_per_node", "2", "--backend", "gloo")
    command = [sys.executable, "-m", "paddle.distributed.launch", *options, "--log_dir", str(record / f"logs{len(list(record.iterdir()))}")]
    return subprocess.Popen(
        [*command, str(SCRIPT), str(record), str(die_at), script, *arguments],
        env={**_environment(world), "PADDLE_DISTRI_BACKEND": "gloo"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def _finish(process: subprocess.Popen, seconds: float = 240) -> str:
    text = process.communicate(timeout=seconds)[0]
    assert process.returncode == 0, text[-3000:]
    return text


@pytest.fixture(scope="module")
def one_and_two(world) -> tuple[Path, Path]:
    """The same global batch of 8 rows: in one process, and as 4 + 4."""
    one, two = world / "one", world / "two"
    process = _launch(world, two, _arguments(world, world / "out_two", 4))
    _alone(world, one, _arguments(world, world / "out_one", 8))
    _finish(process)
    return one, two


def _weights(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("stage", ["intermediate", "prediction"])
def test_ranks_stay_equal_to_each_other_and_to_one_process(one_and_two, stage):
    one, two = one_and_two
    first, second, alone = (_weights(path) for path in (two / f"{stage}_0.npz", two / f"{stage}_1.npz", one / f"{stage}_0.npz"))
    assert first.keys() == second.keys() == alone.keys()
    moved = 0.0
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name
        np.testing.assert_allclose(array, alone[name], atol=2e-5, err_msg=name)
        moved = max(moved, float(np.abs(array).max()))
    assert moved > 0


def test_emd_layer_weights_of_two_processes_equal_those_of_one(world):
    one, two, more = world / "emd_one", world / "emd_two", {"method": "emd", "stage": "prediction", "beta": 1.0, "compact_vocabulary": True}
    process = _launch(world, two, _arguments(world, world / "out_emd_two", 4, **more))
    _alone(world, one, _arguments(world, world / "out_emd_one", 8, **more))
    _finish(process)
    first, second, alone = (_weights(path / f"prediction_{rank}.npz") for path, rank in ((two, 0), (two, 1), (one, 0)))
    learned = [name for name in first if name.startswith("layer_weights|")]
    assert len(learned) == 6  # two kinds of two sides, the steps, and how many of them are not in the log yet
    assert float(np.ptp(first["layer_weights|attn_student"])) > 0.01
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name
        np.testing.assert_allclose(array, alone[name], atol=1e-4 if name in learned else 2e-5, err_msg=name)


def test_ranks_write_the_same_augmented_file_as_one_process(world):
    tiny.masked_lm_folder(world / "mlm", [*tiny.SPECIAL, "##d", *map(chr, range(ord("a"), ord("z") + 1)), *(f"##{i}" for i in range(10))])
    (world / "many").mkdir()
    tiny.learnable_rows(world / "many/SST-2", {"train": 600}, seed=6)  # three parts
    text = (world / "many/SST-2/train.tsv").read_text()
    (world / "many/SST-2/train.tsv").write_text(re.sub(r"word(\d+)", lambda found: chr(ord("a") + int(found[1]) % 26), text))
    (world / "glove.txt").write_text("kale 1 2\nrice 2 1\n")
    written = []
    for name, before in (("alone", []), ("ranks", ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo"])):
        output = world / f"augmented_{name}"
        words = ["--pretrained_bert_model", world / "mlm", "--glove_embs", world / "glove.txt", "--task_name", "SST-2", "--data_dir"]
        words += [world / "many/SST-2", "--output_dir", output, "--output_file", f"{output}.tsv", "--N", "3", "--num_workers", "1"]
        before = [*before, "--log_dir", str(world / "aug_logs")] if before else []
        command = [sys.executable, *before, str(ROOT / "data_augmentation.py"), *map(str, words), "--device", "cpu"]
        environment = {**_environment(world), "PADDLE_DISTRI_BACKEND": "gloo"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=240)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        written.append(Path(f"{output}.tsv").read_bytes())
    assert written[0] == written[1] and written[0].count(b"\n") > 1200


def test_two_processes_fill_one_store_of_teacher_traces(world):
    selection = {"method": "mud", "token_scheme": "attention_no_sep", "keep_tokens": 4, "hidden_scheme": "importance_mask_dynamic"}
    one, two = world / "stored_one", world / "stored_two"

    def arguments(name: str, batch: int) -> list[str]:
        return _arguments(world, world / f"out_{name}", batch, **selection, keep_hidden=0.2, teacher_traces=world / f"traces_{name}")

    _finish(_launch(world, two, arguments("stored_two", 4)))
    _alone(world, one, arguments("stored_one", 8))
    for stage in ("intermediate", "prediction"):
        first, second, alone = (_weights(path / f"{stage}_{rank}.npz") for path, rank in ((two, 0), (two, 1), (one, 0)))
        for name, array in first.items():
            assert array.tobytes() == second[name].tobytes(), name
            np.testing.assert_allclose(array, alone[name], atol=1e-4, err_msg=name)


def test_general_distillation_on_two_processes_equals_one(world):
    shape = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "hidden_size": 12}
    tiny.model_folder(world / "shape", "tinybert", labels=(), num_hidden_layers=2, **shape)
    (world / "text").mkdir()
    for number, rows in enumerate((23, 30)):
        tiny.pregenerated_epoch(world / "text", number, rows)
    task_options = ("task_name", "data_dir", "stage", "max_seq_length", "allow_weak_teacher")
    more = {"pregenerated_data": world / "text", "student_model_name_or_path": world / "shape", "held_out_sequences": 2}
    values = [
        [word for word in _arguments(world, world / f"out_general_{batch}", batch, **more) if word[2:].split("=")[0] not in task_options]
        for batch in (4, 8)
    ]
    process = _launch(world, world / "general_two", values[0], script="general_distill")
    _alone(world, world / "general_one", values[1], script="general_distill")
    _finish(process)
    first, second = (_weights(world / "general_two" / f"general_{rank}.npz") for rank in (0, 1))
    alone = _weights(world / "general_one" / "general_0.npz")
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name
        np.testing.assert_allclose(array, alone[name], atol=2e-5, err_msg=name)


def test_ranks_share_the_rows_without_loss_or_repetition(one_and_two):
    one, two = one_and_two
    alone = json.loads((one / "intermediate_0.json").read_text())["rows"]
    ranks = [json.loads((two / f"intermediate_{rank}.json").read_text())["rows"] for rank in (0, 1)]
    for step in range(STEPS):
        together = sorted(row for rank in ranks for batch in rank[step] for row in batch)
        assert together == sorted(row for batch in alone[step] for row in batch)
        assert len(set(together)) == len(together)


def test_scores_of_two_processes_equal_those_of_one(one_and_two, world):
    logs = []
    for name in ("out_one", "out_two"):
        lines = [json.loads(line) for line in (world / name / "log.jsonl").read_text().splitlines()]
        logs.append([line for line in lines if line.get("event") == "evaluation"])
    for alone, together in zip(*logs, strict=True):
        assert alone.keys() == together.keys()
        assert together["stage"] == alone["stage"]
        for name in alone.keys() - {"time", "stage", "event"}:
            assert together[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-7), name


def test_two_processes_evaluate_a_student_and_one_writes_the_scores(world):
    data = world / "predicted" / "SST-2"
    data.parent.mkdir()
    tiny.learnable_rows(data, {"dev": 23}, seed=5)
    (data / "test.tsv").write_text("index\tsentence\n" + "".join(f"{i}\tword{i} word{2 * i}\n" for i in range(9)))

    def arguments(name: str) -> list[str]:
        return [
            "--task_name=SST-2", f"--data_dir={data}", f"--student_model_name_or_path={world / 'student'}", "--do_eval", "--do_predict",
            "--max_seq_length=16", "--eval_batch_size=4", "--device=cpu", f"--output_dir={world / name}",
        ]  # fmt: skip

    process = _launch(world, world / "scored_two", arguments("out_scored_two"))
    _alone(world, world / "scored_one", arguments("out_scored_one"))
    _finish(process)
    one, two = (world / name for name in ("out_scored_one", "out_scored_two"))
    alone, together = (json.loads((path / "eval_results.json").read_text())["evaluation"] for path in (one, two))
    assert together["scores"] == alone["scores"]
    assert (two / "SST-2.tsv").read_text() == (one / "SST-2.tsv").read_text()
    said = [next((world / "scored_two").rglob(f"workerlog.{rank}")).read_text() for rank in (0, 1)]
    assert [text.count("SST-2: accuracy") + text.count("predictions for") for text in said] == [2, 0]


def test_two_processes_share_the_cores(one_and_two):
    from tinybert import runtime

    facts = json.loads((one_and_two[1] / "intermediate_0.json").read_text())
    assert facts["threads"] == max(1, runtime.available_cores() // 2)


def test_dead_rank_ends_the_run_and_it_can_be_resumed(one_and_two, world):
    record, output = world / "died", world / "out_died"
    arguments = _arguments(world, output, 4)
    process = _launch(world, record, arguments, die_at=5)
    text = process.communicate(timeout=240)[0]
    assert process.returncode != 0
    assert "exit" in text.lower() and "rank" in (text + "".join(p.read_text(errors="replace") for p in record.rglob("workerlog*"))).lower()
    _finish(_launch(world, record, [*arguments, "--resume=auto"]))
    for stage in ("intermediate", "prediction"):
        resumed, whole = _weights(record / f"{stage}_0.npz"), _weights(one_and_two[1] / f"{stage}_0.npz")
        assert all(resumed[name].tobytes() == array.tobytes() for name, array in whole.items())


def test_two_machines_equal_one(one_and_two, world):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    nodes = []
    for rank in ("0", "1"):
        options = ("--master", f"127.0.0.1:{port}", "--nnodes", "2", "--rank", rank, "--nproc_per_node", "1")
        nodes.append(_launch(world, world / "nodes", _arguments(world, world / "out_nodes", 4), options=options))
    for node in nodes:
        _finish(node)
    nodes_weights, two = (_weights(folder / "prediction_0.npz") for folder in (world / "nodes", one_and_two[1]))
    for name, array in two.items():
        np.testing.assert_allclose(nodes_weights[name], array, atol=2e-5, err_msg=name)

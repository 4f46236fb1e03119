"""A run that is cut anywhere and resumed equals the run that was never cut, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tinybert import storage
from tinybert.engine import checkpoint
from tinybert.engine.loop import Loop
from tinybert.errors import UserError
from tinybert.recipes.finetune import finetune
from tinybert.recipes.task_distill import task_distill
from tinybert.settings.arguments import FinetuneArguments, TaskDistillArguments

CLOCKS = {"time", "samples_per_second", "tokens_per_second", "data_wait_share"}  # what no two runs share


class Cut(BaseException):
    """Stands for SIGKILL: nothing catches it and nothing is saved on the way out."""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, Path]:
    """Rows with a rule to learn, and a teacher with dropout."""
    root = tmp_path_factory.mktemp("resume")
    data = root / "SST-2"
    tiny.learnable_rows(data, {"train": 44, "dev": 12}, seed=3)
    tiny.model_folder(root / "teacher", labels=("0", "1"), num_hidden_layers=4)
    return {"data": data, "teacher": root / "teacher", "cache": root / "cache"}


@pytest.fixture(autouse=True)
def _cache(world, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(world["cache"]))


def _run(world, output: Path, kind: str, **more) -> None:
    values = {
        "task_name": "SST-2",
        "data_dir": world["data"],
        "output_dir": output,
        "max_seq_length": 16,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "logging_steps": 3,
        "save_steps": 5,
        "checkpoint_steps": 2,
        "keep_checkpoints": 3,
        "device": "cpu",
        **more,
    }
    if kind == "finetune":
        arguments = FinetuneArguments(model_name_or_path=str(world["teacher"]), **values)
        finetune(arguments, {*values, "model_name_or_path"}, {})
    else:
        values = {"student_layers": 2, "student_hidden": 12, "student_heads": 2, **values, "stage": kind}
        values["teacher_path"] = str(world["teacher"])
        values["allow_weak_teacher"] = True
        task_distill(TaskDistillArguments(**values), set(values), {"teacher_path": "teacher_path"})


def _cut_after(monkeypatch, stage: str, step: int) -> None:
    original = Loop._one_step

    def one_step(self, stop):
        if self.run_folder.stage == stage and self.step == step:
            raise Cut
        return original(self, stop)

    monkeypatch.setattr(Loop, "_one_step", one_step)


def _everything(output: Path, stage: str) -> dict:
    saved = checkpoint.read(checkpoint.newest(output / "checkpoints" / stage))
    state = {name: value for name, value in saved.state.items() if "seconds" not in name}
    state["log_position"] = None  # the clock's digits take a varying number of bytes
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    results = json.loads((output / "eval_results.json").read_text())
    weights = {path.parent.name: path.read_bytes() for path in sorted(output.glob("*/model_state.pdparams"))}
    return {
        "weights": saved.weights,
        "optimizer": saved.optimizer,
        "participants": saved.participants,
        "state": state,
        "log": [{name: value for name, value in line.items() if name not in CLOCKS} for line in log],
        "results": results,
        "models": weights,
    }


def _assert_equal(whole: dict, resumed: dict) -> None:
    for part in ("weights", "optimizer", "participants"):
        assert whole[part].keys() == resumed[part].keys()
        for name, array in whole[part].items():
            assert array.tobytes() == resumed[part][name].tobytes(), f"{part} {name}"
    for part in ("state", "log", "results", "models"):
        assert whole[part] == resumed[part], part


CASES = {
    "finetune in mid-epoch": ("finetune", "finetune", 7, {"max_steps": 16}),
    "finetune with accumulation": ("finetune", "finetune", 5, {"max_steps": 10, "gradient_accumulation_steps": 3, "batch_size": 2}),
    "intermediate stage": ("intermediate", "intermediate", 9, {"max_steps": 14}),
    "intermediate stage with BertAdam": ("intermediate", "intermediate", 5, {"max_steps": 8, "preset": "huawei"}),
    "prediction stage": ("prediction", "prediction", 3, {"max_steps": 12, "alpha": 0.5, "T": 2.0}),
    "both stages, cut in the second": ("both", "prediction", 5, {"max_steps": 8}),
    "both stages, cut in the first": ("both", "intermediate", 3, {"max_steps": 6}),
    "BERT-EMD": ("prediction", "prediction", 5, {"max_steps": 9, "method": "emd", "beta": 1.0, "gradient_accumulation_steps": 2}),
    "BERT-EMD, softmax rule": (
        "prediction",
        "prediction",
        5,
        {"max_steps": 8, "method": "emd", "preset": "emd", "emd_rule": "softmax", "emd_update_steps": 3, "seperate": True},
    ),
    "cut before the first checkpoint": ("finetune", "finetune", 1, {"max_steps": 6}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_differs_from_an_uninterrupted_one(world, tmp_path, monkeypatch, case):
    kind, stage, step, more = CASES[case]
    _run(world, tmp_path / "whole", kind, **more)
    with monkeypatch.context() as patch:
        _cut_after(patch, stage, step)
        with pytest.raises(Cut):
            _run(world, tmp_path / "resumed", kind, **more)
    _run(world, tmp_path / "resumed", kind, resume="auto", **more)
    last = "prediction" if kind == "both" else stage
    whole, resumed = (_everything(tmp_path / name, last) for name in ("whole", "resumed"))
    _assert_equal(whole, resumed)
    assert len(whole["log"]) > 3 and whole["optimizer"]


def test_dropout_is_off_while_training(world, tmp_path):
    # the proof above says nothing if nothing is random: another seed must give other losses from the same weights and rows
    losses = []
    for seed in (1, 2):
        output = tmp_path / str(seed)
        _run(world, output, "finetune", max_steps=1, logging_steps=1, batch_size=64, seed=seed)
        losses.append(json.loads((output / "log.jsonl").read_text().splitlines()[0])["loss"])
    assert losses[0] != losses[1]


def test_a_run_is_resumed_with_other_data_or_arguments(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        _cut_after(patch, "finetune", 5)
        with pytest.raises(Cut):
            _run(world, tmp_path / "run", "finetune", max_steps=8)
    with pytest.raises(UserError, match=r"learning_rate: was 0.001, is 0.002"):
        _run(world, tmp_path / "run", "finetune", max_steps=8, resume="auto", learning_rate=2e-3)
    rows = (world["data"] / "train.tsv").read_text()
    (world["data"] / "train.tsv").write_text(rows + "word1 word2\t0\n")
    try:
        with pytest.raises(UserError, match="train_data: was"):
            _run(world, tmp_path / "run", "finetune", max_steps=8, resume="auto")
    finally:
        (world["data"] / "train.tsv").write_text(rows)
    _run(world, tmp_path / "run", "finetune", max_steps=8, resume="auto", learning_rate=2e-3, resume_changed=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finetune"]["finished"]


def test_a_finished_stage_is_trained_again_by_resume(world, tmp_path, capsys):
    _run(world, tmp_path / "run", "both", max_steps=3)
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    _run(world, tmp_path / "run", "both", max_steps=3, resume="auto")
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before
    assert "the prediction stage is finished" in capsys.readouterr().out


@pytest.mark.parametrize("stage", ["finetune", "both"])
def test_a_finished_run_takes_other_rows_or_another_model_for_its_own(world, tmp_path, stage):
    _run(world, tmp_path / "run", stage, max_steps=2)
    rows = (world["data"] / "train.tsv").read_text()
    (world["data"] / "train.tsv").write_text(rows + "word1 word2\t0\n")
    try:
        with pytest.raises(UserError, match="is finished, with other settings or inputs:\n  train_rows: was"):
            _run(world, tmp_path / "run", stage, max_steps=2, resume="auto")
    finally:
        (world["data"] / "train.tsv").write_text(rows)
    other = {**world, "teacher": tmp_path / "other"}
    tiny.model_folder(tmp_path / "other", labels=("0", "1"), num_hidden_layers=4, seed=11)
    with pytest.raises(UserError, match="(model|teacher)_weights: was"):
        _run(other, tmp_path / "run", stage, max_steps=2, resume="auto")


def test_a_student_named_by_the_output_folder_starts_from_the_model_that_it_is_to_become(world, tmp_path, capsys):
    output = tmp_path / "run"
    _run(world, output, "intermediate", max_steps=3)
    named = {"student_model_name_or_path": str(output), **dict.fromkeys(("student_layers", "student_hidden", "student_heads"))}
    for more in ({}, {"overwrite_output_dir": True}):
        _run(world, output, "prediction", max_steps=2, **named, **more)
        record = json.loads((output / "run.json").read_text())["prediction"]
        assert Path(record["models"]["student"]["source"]).parent.name == "best_inter_model"
    _run(world, output, "prediction", max_steps=2, resume="auto", **named)
    assert "the prediction stage is finished" in capsys.readouterr().out
    with pytest.raises(UserError, match="final are this run's own"):
        _run(world, output, "both", max_steps=2, overwrite_output_dir=True, **named)
    named["student_model_name_or_path"] = str(output / "best_inter_model")
    with pytest.raises(UserError, match="best_inter_model lies in .*, where this run puts its own results"):
        _run(world, output, "both", max_steps=2, overwrite_output_dir=True, **named)


def _with_swapped_words(folder: Path) -> None:
    """Give two word pieces of a model each other's place; the weights stay."""
    words = (folder / "vocab.txt").read_text().split("\n")
    words[7], words[8] = words[8], words[7]
    (folder / "vocab.txt").write_text("\n".join(words))


OWN = {"task_name": "own", "text_a_column": "sentence", "label_column": "label"}
OTHER_INPUTS = {
    "another width": ("both", {}, {"student_hidden": 16}, "student: was 'tinybert 2 x 12, 2 heads"),
    "other layers of the teacher": (
        "prediction",
        {"student_init": "teacher:1,2"},
        {"student_init": "teacher:3,4"},
        "student: was .*layers 1, 2 of",
    ),
    "another folder": ("both", {"student_model_name_or_path": "a"}, {"student_model_name_or_path": "b"}, "student_weights: was"),
    "other labels": ("both", {**OWN, "labels": "0,1"}, {"labels": "1,0"}, "labels: was '0, 1', is '1, 0'"),
    "another column": ("finetune", OWN, {"label_column": "1"}, "columns: was"),
    "other word pieces": ("both", {}, {}, "tokenizer: was"),
    "other word pieces of a model": ("finetune", {}, {}, "tokenizer: was"),
}


@pytest.mark.parametrize("case", OTHER_INPUTS)
def test_a_finished_run_takes_another_student_or_other_words_or_labels_for_its_own(world, tmp_path, monkeypatch, capsys, case):
    kind, more, changed, message = OTHER_INPUTS[case]
    monkeypatch.chdir(tmp_path)
    world = {**world, "teacher": Path(shutil.copytree(world["teacher"], tmp_path / "teacher"))}
    for name, seed in (("a", 1), ("b", 2)):
        tiny.model_folder(tmp_path / name, "tinybert", ("0", "1"), seed, num_hidden_layers=2)
    if "task_name" in more:
        more = {**more, **{f"{split}_file": world["data"] / f"{split}.tsv" for split in ("train", "dev")}, "data_dir": None}
    if "student_init" in more or "student_model_name_or_path" in more:
        more = {**more, **dict.fromkeys(("student_layers", "student_hidden", "student_heads"))}
    more = {"max_steps": 2, **more}
    _run(world, tmp_path / "run", kind, **more)
    _run(world, tmp_path / "run", kind, resume="auto", **more)
    assert "is finished" in capsys.readouterr().out
    if "word pieces" in case:
        _with_swapped_words(world["teacher"])
    with pytest.raises(UserError, match=rf"is finished, with other settings or inputs:\n(.*\n)*  {message}"):
        _run(world, tmp_path / "run", kind, resume="auto", **{**more, **changed})
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    for entry in record.values():
        del entry["identity"]  # as older versions left it
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    if "word pieces" in case:
        _with_swapped_words(world["teacher"])
    _run(world, tmp_path / "run", kind, resume="auto", **more)
    assert "is finished" in capsys.readouterr().out


def test_a_finished_run_cannot_be_made_longer(world, tmp_path, capsys):
    output = tmp_path / "run"
    _run(world, output, "finetune", max_steps=3)
    with pytest.raises(UserError, match=r"is finished, with other settings or inputs:\n  max_steps: was 3, is 5\n.*--resume_changed"):
        _run(world, output, "finetune", max_steps=5, resume="auto")
    _run(world, output, "finetune", max_steps=5, resume="auto", resume_changed=True)
    assert "at step 3" in capsys.readouterr().out
    assert checkpoint.newest(output / "checkpoints" / "finetune").name == "step_00000005"


def test_how_often_is_scored_or_logged_forbids_resuming(world, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        _cut_after(patch, "finetune", 5)
        with pytest.raises(Cut):
            _run(world, tmp_path / "run", "finetune", max_steps=8)
    _run(world, tmp_path / "run", "finetune", max_steps=8, resume="auto", save_steps=7, logging_steps=3)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finetune"]["finished"]
    _run(world, tmp_path / "run", "finetune", max_steps=8, resume="auto", save_steps=2)
    assert "fine-tuning is finished" in capsys.readouterr().out


SCORES = {2: 0.5, 4: 0.6}  # step 4 lies behind the checkpoint that is resumed from, step 2 before it


@pytest.mark.parametrize("kind", ["finetune", "prediction"])
def test_the_best_step_is_one_whose_model_is_not_on_disk(world, tmp_path, monkeypatch, capsys, kind):
    output, recipe = tmp_path / "run", "finetune" if kind == "finetune" else "task_distill"
    steps: list[int] = []
    original = Loop._evaluate
    monkeypatch.setattr(Loop, "_evaluate", lambda self, progress: (steps.append(self.step), original(self, progress))[1])
    monkeypatch.setattr(f"tinybert.recipes.{recipe}.score", lambda *words: {"accuracy": SCORES.get(steps[-1], 0.1)})
    with monkeypatch.context() as patch:
        _cut_after(patch, kind, 5)
        with pytest.raises(Cut):
            _run(world, output, kind, max_steps=8, save_steps=2, checkpoint_steps=3)
    _run(world, output, kind, max_steps=8, save_steps=7, checkpoint_steps=3, resume="auto")
    assert steps == [2, 4, 7, 8]
    results = json.loads((output / "eval_results.json").read_text())[kind]
    assert (results["best_step"], results["best"]["accuracy"]) == (7, 0.1)
    assert "the model of step 2, the best, was replaced" in capsys.readouterr().out
    best = next(output.glob("best_model*"))
    assert best.name == ("best_model_7" if kind == "finetune" else "best_model") and len(list(output.glob("best_model*"))) == 1


def test_a_checkpoint_behind_the_new_last_step_ends_in_a_traceback(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        _cut_after(patch, "finetune", 5)
        with pytest.raises(Cut):
            _run(world, tmp_path / "run", "finetune", max_steps=8, save_steps=8)
    _run(world, tmp_path / "run", "finetune", max_steps=2, save_steps=8, resume="auto", resume_changed=True)
    results = json.loads((tmp_path / "run" / "eval_results.json").read_text())["finetune"]
    assert results["best_step"] == 4 and results["best"]


def test_a_damaged_newest_checkpoint_ends_the_run(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        _cut_after(patch, "finetune", 7)
        with pytest.raises(Cut):
            _run(world, tmp_path / "run", "finetune", max_steps=10)
    folder = tmp_path / "run" / "checkpoints" / "finetune"
    newest = checkpoint.newest(folder)
    assert newest.name == "step_00000006"
    (newest / "weights.safetensors").write_bytes((newest / "weights.safetensors").read_bytes()[:-5])
    assert checkpoint.newest(folder).name == "step_00000004"
    _run(world, tmp_path / "run", "finetune", max_steps=10, resume="auto")
    _run(world, tmp_path / "whole", "finetune", max_steps=10)
    _assert_equal(_everything(tmp_path / "whole", "finetune"), _everything(tmp_path / "run", "finetune"))


def test_a_run_is_resumed_with_a_teacher_whose_outputs_are_named_in_another_order(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        _cut_after(patch, "prediction", 5)
        with pytest.raises(Cut):
            _run(world, tmp_path / "run", "prediction", max_steps=6)
    saved = checkpoint.newest(tmp_path / "run" / "checkpoints" / "prediction")
    swapped = {"max_steps": 6, "resume": "auto", "teacher_labels": "1,0"}
    with pytest.raises(UserError, match="teacher_labels: was '0, 1', is '1, 0'"):
        _run(world, tmp_path / "run", "prediction", **swapped)
    state = json.loads((saved / "state.json").read_text())
    del state["fingerprint"]["teacher_labels"], state["fingerprint"]["student"]  # as older versions left it
    with storage.new_folder(saved, replace=True) as new:
        for file in saved.glob("*.safetensors"):
            shutil.copy(file, new)
        (new / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match="teacher_labels: was '0, 1', is '1, 0'"):
        _run(world, tmp_path / "run", "prediction", **swapped)
    _run(world, tmp_path / "run", "prediction", max_steps=6, resume="auto", teacher_labels="0,1")  # what the teacher's folder says
    with pytest.raises(UserError, match="is finished, with other .*\n  teacher_labels: was '0, 1', is '1, 0'"):
        _run(world, tmp_path / "run", "prediction", **swapped)


def test_a_run_is_resumed_with_a_student_of_another_shape(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        _cut_after(patch, "intermediate", 3)
        with pytest.raises(Cut):
            _run(world, tmp_path / "run", "intermediate", max_steps=4)
    wider = {"max_steps": 4, "resume": "auto", "student_hidden": 18}
    with pytest.raises(UserError, match="student: was 'tinybert 2 x 12, 2 heads, .*, is 'tinybert 2 x 18, 2 heads, "):
        _run(world, tmp_path / "run", "intermediate", **wider)
    with pytest.raises(UserError, match=r"of shape \[40, 12\], this model has \[40, 18\]"):
        _run(world, tmp_path / "run", "intermediate", resume_changed=True, **wider)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["its own", "a copy"])
def test_going_on_from_an_older_checkpoint_loses_the_state_or_goes_on_with_the_course_that_was_left(
    world, tmp_path, monkeypatch, elsewhere
):
    output = tmp_path / "run"
    folder = output / "checkpoints" / "finetune"
    _run(world, output, "finetune", max_steps=12, keep_checkpoints=9)
    older = folder / "step_00000004"
    if elsewhere:
        older = shutil.copytree(older, tmp_path / "copy")
    again = {"max_steps": 12, "learning_rate": 1e-4, "keep_checkpoints": 1, "resume_changed": True}
    for step, newest in ((5, 4), (7, 6)):  # cut before the first checkpoint of the new course, and behind it
        with monkeypatch.context() as patch:
            _cut_after(patch, "finetune", step)
            with pytest.raises(Cut):
                _run(world, output, "finetune", resume=str(older), **again)
        assert checkpoint.newest(folder).name == f"step_{newest:08d}"
    assert [path.name for path in folder.iterdir()] == ["step_00000006"]
    _run(world, output, "finetune", resume="auto", **again)
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in log if "loss" in line]
    assert steps == sorted(set(steps)) and steps[-1] == 12
    assert log[-2]["lr"] < 1e-4


def test_a_path_is_taken_for_a_checkpoint_of_every_stage(world, tmp_path, monkeypatch):
    output, more = tmp_path / "run", {"max_steps": 6}
    with monkeypatch.context() as patch:
        _cut_after(patch, "prediction", 5)
        with pytest.raises(Cut):
            _run(world, output, "both", **more)
    first, second = (output / "checkpoints" / stage / "step_00000004" for stage in ("intermediate", "prediction"))
    with pytest.raises(UserError, match="is a checkpoint of the intermediate stage, this run has prediction"):
        _run(world, output, "prediction", resume=str(first), resume_changed=True, **more)
    with pytest.raises(UserError, match="is a checkpoint of the prediction stage, but the intermediate stage in .* is not finished"):
        _run(world, tmp_path / "other", "both", resume=str(second), resume_changed=True, **more)
    log = (output / "log.jsonl").read_text().splitlines()
    _run(world, output, "both", resume=str(second), **more)  # the first stage is finished, the second goes on
    now = (output / "log.jsonl").read_text().splitlines()
    assert now[: len(log) - 1] == log[:-1]
    _run(world, tmp_path / "whole", "both", **more)
    whole = _everything(tmp_path / "whole", "prediction")
    _assert_equal(whole, _everything(output, "prediction"))
    _run(world, output, "both", resume=str(first), **more)  # the first goes on, the second starts afresh
    _assert_equal(whole, _everything(output, "prediction"))
    assert len({path.name for path in (output / "checkpoints" / "prediction").iterdir()}) == 3


def test_a_checkpoint_of_another_stage_is_trained_on(world, tmp_path):
    output = tmp_path / "run"
    _run(world, output, "prediction", max_steps=2)
    with pytest.raises(UserError, match="is one of the prediction stage, expected one of the finetune stage"):
        _run(world, tmp_path / "other", "finetune", resume=str(output / "checkpoints" / "prediction"), resume_changed=True)


class _Counter:
    """State of another recipe: it counts steps in an array."""

    def __init__(self) -> None:
        self.value = np.zeros(3)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"value": self.value}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self.value = arrays["value"]


def test_learned_state_of_another_recipe_is_lost(tmp_path):
    state = checkpoint.Checkpoint({"w": np.ones(2)}, {}, {"step": 1}, {"emd|value": np.arange(3.0)})
    path = checkpoint.write(tmp_path, 1, state)
    read = checkpoint.read(path)
    counter = _Counter()
    counter.load_arrays({name.removeprefix("emd|"): array for name, array in read.participants.items()})
    assert counter.value.tolist() == [0.0, 1.0, 2.0]

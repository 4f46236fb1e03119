"""A finished run is not trained again and never mistaken for another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.recipes.resume.killed_runs import run
from tinybert.data.store import TokenStore
from tinybert.data.tasks import get_task
from tinybert.engine import checkpoint
from tinybert.errors import UserError
from tinybert.models.loading import load_classifier
from tinybert.recipes import evaluate


def test_finished_stage_is_not_trained_again(world, tmp_path, capsys):
    run(world, tmp_path / "run", "both", max_steps=3)
    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    run(world, tmp_path / "run", "both", max_steps=3, resume="auto")
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before
    assert "the prediction stage is finished" in capsys.readouterr().out


@pytest.mark.parametrize(("stage", "best"), [("finetune", "best_model_*"), ("prediction", "best_model")])
def test_run_whose_weights_are_gone_is_not_finished(world, tmp_path, stage, best, capsys):
    run(world, tmp_path / "run", stage, max_steps=2)
    weights = next((tmp_path / "run").glob(best)) / "model_state.pdparams"
    weights.write_bytes(weights.read_bytes()[:-100])
    run(world, tmp_path / "run", stage, max_steps=2, resume="auto")
    said = capsys.readouterr()
    assert "was finished, but its model is incomplete" in said.err and "is finished:" not in said.out
    load_classifier(str(tmp_path / "run"), labels=("0", "1"), needs_head=True)


@pytest.mark.parametrize("kind", ["finetune", "prediction"])
def test_finished_run_predicts_with_its_best_model(world, tmp_path, kind):
    shutil.copy(world["data"] / "dev.tsv", tmp_path / "rows.tsv")
    more = {"max_steps": 2, "do_train": True, "do_predict": True, "test_file": tmp_path / "rows.tsv", "text_a_column": "sentence"}
    run(world, tmp_path / "run", kind, **more)
    logits: list[np.ndarray] = []
    original = evaluate.predict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "predict", lambda *words: logits.append(original(*words)) or logits[-1])
        run(world, tmp_path / "run", kind, resume="auto", **more)
        best = next((tmp_path / "run").glob("best_model*"))
        loaded = load_classifier(str(best), labels=("0", "1"), needs_head=True)
        store = TokenStore.build_or_open(get_task("SST-2"), world["data"], "dev", loaded.tokenizer, 16)
    np.testing.assert_allclose(logits[-1], original(loaded.model, store, 4), atol=1e-6)


@pytest.mark.parametrize("stage", ["finetune", "both"])
def test_finished_run_with_other_rows_or_model_is_refused(world, tmp_path, stage):
    run(world, tmp_path / "run", stage, max_steps=2)
    for split in ("train", "dev"):
        rows = (world["data"] / f"{split}.tsv").read_text()
        (world["data"] / f"{split}.tsv").write_text(rows + "word1 word2\t0\n")
        try:
            with pytest.raises(UserError, match=f"is finished, with other settings or inputs:\n  {split}_rows: was"):
                run(world, tmp_path / "run", stage, max_steps=2, resume="auto")
        finally:
            (world["data"] / f"{split}.tsv").write_text(rows)
    other = {**world, "teacher": tmp_path / "other"}
    tiny.model_folder(tmp_path / "other", labels=("0", "1"), num_hidden_layers=4, seed=11)
    with pytest.raises(UserError, match="(model|teacher)_weights: was"):
        run(other, tmp_path / "run", stage, max_steps=2, resume="auto")


def _with_swapped_words(folder: Path) -> None:
    """Swap two tokens in a model's vocabulary; the weights are unchanged."""
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
def test_finished_run_with_other_student_or_labels_is_refused(world, tmp_path, monkeypatch, capsys, case):
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
    run(world, tmp_path / "run", kind, **more)
    run(world, tmp_path / "run", kind, resume="auto", **more)
    assert "is finished" in capsys.readouterr().out
    if "word pieces" in case:
        _with_swapped_words(world["teacher"])
    with pytest.raises(UserError, match=rf"is finished, with other settings or inputs:\n(.*\n)*  {message}"):
        run(world, tmp_path / "run", kind, resume="auto", **{**more, **changed})
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    for entry in record.values():
        del entry["identity"]  # as in older versions
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    if "word pieces" in case:
        _with_swapped_words(world["teacher"])
    run(world, tmp_path / "run", kind, resume="auto", **more)
    assert "is finished" in capsys.readouterr().out


def test_finished_run_is_extended_only_with_resume_changed(world, tmp_path, capsys):
    output = tmp_path / "run"
    run(world, output, "finetune", max_steps=3)
    with pytest.raises(UserError, match=r"is finished, with other settings or inputs:\n  max_steps: was 3, is 5\n.*--resume_changed"):
        run(world, output, "finetune", max_steps=5, resume="auto")
    run(world, output, "finetune", max_steps=5, resume="auto", resume_changed=True)
    assert "at step 3" in capsys.readouterr().out
    assert checkpoint.newest(output / "checkpoints" / "finetune").name == "step_00000005"


def test_student_named_by_the_output_folder_is_its_intermediate_model(world, tmp_path, capsys):
    output = tmp_path / "run"
    run(world, output, "intermediate", max_steps=3)
    named = {"student_model_name_or_path": str(output), **dict.fromkeys(("student_layers", "student_hidden", "student_heads"))}
    for more in ({}, {"overwrite_output_dir": True}):
        run(world, output, "prediction", max_steps=2, **named, **more)
        record = json.loads((output / "run.json").read_text())["prediction"]
        assert Path(record["models"]["student"]["source"]).parent.name == "best_inter_model"
    run(world, output, "prediction", max_steps=2, resume="auto", **named)
    assert "the prediction stage is finished" in capsys.readouterr().out
    with pytest.raises(UserError, match="final are this run's own"):
        run(world, output, "both", max_steps=2, overwrite_output_dir=True, **named)
    named["student_model_name_or_path"] = str(output / "best_inter_model")
    with pytest.raises(UserError, match="best_inter_model is inside .*, which this run would overwrite"):
        run(world, output, "both", max_steps=2, overwrite_output_dir=True, **named)

"""A run killed anywhere and resumed equals an uninterrupted run, bit for bit."""

from __future__ import annotations

import json

import pytest

from tests.recipes.resume.killed_runs import Killed, assert_equal, everything, kill_after, run
from tinybert.engine import checkpoint

CASES = {
    "finetune in mid-epoch": ("finetune", "finetune", 7, {"max_steps": 16}),
    "finetune with accumulation": ("finetune", "finetune", 5, {"max_steps": 10, "gradient_accumulation_steps": 3, "batch_size": 2}),
    "intermediate stage": ("intermediate", "intermediate", 9, {"max_steps": 14}),
    "intermediate stage with BertAdam": ("intermediate", "intermediate", 5, {"max_steps": 8, "preset": "huawei"}),
    "prediction stage": ("prediction", "prediction", 3, {"max_steps": 12, "alpha": 0.5, "T": 2.0}),
    "both stages, killed in the second": ("both", "prediction", 5, {"max_steps": 8}),
    "both stages, killed in the first": ("both", "intermediate", 3, {"max_steps": 6}),
    "labels alone": ("prediction", "prediction", 5, {"max_steps": 9, "method": "none"}),
    "BERT-EMD": ("prediction", "prediction", 5, {"max_steps": 9, "method": "emd", "beta": 1.0, "gradient_accumulation_steps": 2}),
    "BERT-EMD, softmax rule": (
        "prediction",
        "prediction",
        5,
        {"max_steps": 8, "method": "emd", "preset": "emd", "emd_rule": "softmax", "emd_update_steps": 3, "seperate": True},
    ),
    "compact vocabulary": ("finetune", "finetune", 7, {"max_steps": 12, "compact_vocabulary": "True"}),
    "compact vocabulary, both stages": ("both", "prediction", 5, {"max_steps": 8, "compact_vocabulary": "True", "preset": "huawei"}),
    "finetune that stops early": ("finetune", "finetune", 7, {"max_steps": 60, "save_steps": 2, "early_stopping_patience": 3}),
    "both stages, each stops early": ("both", "prediction", 3, {"max_steps": 60, "save_steps": 2, "early_stopping_patience": 2}),
    "killed before the first checkpoint": ("finetune", "finetune", 1, {"max_steps": 6}),
}


@pytest.mark.parametrize("case", CASES)
def test_resumed_run_equals_an_uninterrupted_one(world, tmp_path, monkeypatch, case):
    kind, stage, step, more = CASES[case]
    run(world, tmp_path / "whole", kind, **more)
    with monkeypatch.context() as patch:
        kill_after(patch, stage, step)
        with pytest.raises(Killed):
            run(world, tmp_path / "resumed", kind, **more)
    run(world, tmp_path / "resumed", kind, resume="auto", **more)
    last = "prediction" if kind == "both" else stage
    whole, resumed = (everything(tmp_path / name, last) for name in ("whole", "resumed"))
    assert_equal(whole, resumed)
    assert len(whole["log"]) > 3 and whole["optimizer"]
    if "early_stopping_patience" in more:
        records = json.loads((tmp_path / "resumed" / "run.json").read_text())
        assert step < whole["state"]["step"] == records[last]["steps"] < more["max_steps"] and records[last]["stopped_early"] is True


def test_dropout_is_on_while_training(world, tmp_path):
    # the check above is only meaningful with randomness: another seed must give other losses from the same weights and rows
    losses = []
    for seed in (1, 2):
        output = tmp_path / str(seed)
        run(world, output, "finetune", max_steps=1, logging_steps=1, batch_size=64, seed=seed)
        losses.append(json.loads((output / "log.jsonl").read_text().splitlines()[0])["loss"])
    assert losses[0] != losses[1]


def test_damaged_newest_checkpoint_is_skipped_and_the_run_equals_a_whole(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_after(patch, "finetune", 7)
        with pytest.raises(Killed):
            run(world, tmp_path / "run", "finetune", max_steps=10)
    folder = tmp_path / "run" / "checkpoints" / "finetune"
    newest = checkpoint.newest(folder)
    assert newest.name == "step_00000006"
    (newest / "weights.safetensors").write_bytes((newest / "weights.safetensors").read_bytes()[:-5])
    assert checkpoint.newest(folder).name == "step_00000004"
    run(world, tmp_path / "run", "finetune", max_steps=10, resume="auto")
    run(world, tmp_path / "whole", "finetune", max_steps=10)
    assert_equal(everything(tmp_path / "whole", "finetune"), everything(tmp_path / "run", "finetune"))

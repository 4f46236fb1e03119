"""The losses of a short run of every method equal those of version 0.1.

`python -m tests.recipes.test_curves` rewrites `curves.json`.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import traceback
from pathlib import Path

import paddle
import pytest

from tests.recipes.conftest import distill, finetune, general, logged
from tests.tiny import WORDS, learnable_rows, model_folder, pregenerated_epoch

PATH = Path(__file__).with_name("curves.json")
GENERAL = (
    "--pregenerated_data text --teacher_path teacher --student_layers 2 --student_hidden 8 --student_heads 2 --relation_heads 2 "
    "--held_out_sequences 8 --max_steps 3 --batch_size 8 --logging_steps 1 --save_steps 0 --device cpu"
)
QUICK = "--logging_steps 1 --save_steps 0 --batch_size 8 --seed 3 --device cpu --max_steps 3 --max_seq_length 16 --learning_rate 1e-3"
TASK = f"--task_name sst-2 --data_dir rows --teacher_path teacher --student_model_name_or_path student --teacher_traces live {QUICK}"
RUNS = {
    "tinybert": f"{TASK} --stage both",
    "tinybert joint": f"{TASK} --stage joint --T 2 --alpha 0.5",
    "tinybert huawei": f"{TASK} --stage both --preset huawei",
    "tinybert paddlenlp": f"{TASK} --stage both --preset paddlenlp --layer_map uniform",
    "logits": f"{TASK} --method logits --T 2 --alpha 0.7",
    "none": f"{TASK} --method none",
    "emd": f"{TASK} --method emd --beta 0.5",
    "emd published": f"{TASK} --method emd --preset emd --emd_rule softmax --seperate --beta 0.5",
    "mud": f"{TASK} --method mud --stage both --token_scheme attention_no_sep --hidden_scheme importance_mask_dynamic "
    "--config_3d 2l_4t_0.3h",
    "mud published": f"{TASK} --method mud --preset mud --stage joint --hidden_scheme uniform_mask --keep_hidden 0.5",
    "pruning": f"{TASK} --stage intermediate --use_att False --prune_schedule width --keep_heads 1 --prune_period_proportion 1",
    "finetune": f"--task_name sst-2 --data_dir rows --model_name_or_path student {QUICK}",
    "general": f"{GENERAL} --relation_weight 0.5",
    "relation": f"{GENERAL} --method relation",
}


def write_inputs(folder: Path) -> None:
    """Teacher, student, rows and pre-generated text with the same values on every machine."""
    model_folder(folder / "teacher", "bert", seed=1, num_hidden_layers=4)
    model_folder(folder / "student", "tinybert", seed=2, num_hidden_layers=2, hidden_size=8)
    learnable_rows(folder / "rows", {"train": 32, "dev": 8}, seed=5)
    (folder / "text").mkdir()
    pregenerated_epoch(folder / "text", 0, 40, words=WORDS[5:])


def curve(folder: Path, name: str, output: str = "run") -> list[dict[str, float]]:
    """The values of every step of a run, in order."""
    words = shlex.split(RUNS[name])
    for word in ("teacher", "student", "rows", "text"):
        words = [str(folder / word) if entry == word else entry for entry in words]
    results = folder / f"{output} {name}"
    run = finetune if name == "finetune" else general if "--pregenerated_data" in words else distill
    run(*words, "--output_dir", results)
    lines = [line for stage in ("intermediate", "prediction", "finetune", "general") for line in logged(results, stage)]
    assert len(lines) == (6 if "both" in words else 3)
    left_out = ("samples_per_second", "tokens_per_second", "data_wait_share", "time")
    return [{key: value for key, value in line.items() if isinstance(value, float) and key not in left_out} for line in lines]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curves")
    write_inputs(folder)
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_losses_follow_the_stored_curve(inputs, name):
    stored, now = json.loads(PATH.read_text(encoding="utf-8"))[name], curve(inputs, name)
    assert len(stored) == len(now)
    for before, after in zip(stored, now, strict=True):
        assert {key: after[key] for key in before} == pytest.approx(before, rel=2e-5, abs=1e-9)


def test_backward_is_five_frames_below_a_recipe(inputs, monkeypatch):
    plain, stacks = paddle.Tensor.backward, []

    def backward(self, *arguments, **named):
        stacks.append([frame.name for frame in traceback.extract_stack() if "/tinybert/" in frame.filename])
        return plain(self, *arguments, **named)

    monkeypatch.setattr(paddle.Tensor, "backward", backward)
    curve(inputs, "logits", output="frames of")
    assert stacks[-1][stacks[-1].index("task_distill") :] == ["task_distill", "run", "train_stage", "run", "_one_step"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        write_inputs(Path(place))
        curves = {name: curve(Path(place), name) for name in RUNS}
    PATH.write_text("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(values)}" for name, values in curves.items()) + "\n}\n")
    print(PATH, file=sys.stderr)

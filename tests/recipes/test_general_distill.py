"""General distillation on tiny models: outputs, learning, resuming and refused input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.recipes.conftest import distill, logged, record
from tests.recipes.resume.killed_runs import Killed, assert_equal, everything, kill_after
from tinybert.cli.main import main
from tinybert.cli.parser import parse
from tinybert.commands.general import GeneralDistillConfig
from tinybert.errors import UserError
from tinybert.models.loading import load_encoder
from tinybert.models.weights import read_pdparams
from tinybert.recipes.general_distill import general_distill

LENGTH = 16


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, Path]:
    """Two epochs of different sizes, and a teacher with six layers, a masked-LM head and no classifier."""
    root = tmp_path_factory.mktemp("general")
    (root / "data").mkdir()
    tiny.pregenerated_epoch(root / "data", 0, 44)
    tiny.pregenerated_epoch(root / "data", 1, 60)
    tiny.model_folder(root / "teacher", num_hidden_layers=6, seed=3)
    path = root / "teacher" / "model_state.pdparams"
    arrays = {name: array for name, array in read_pdparams(path).items() if not name.startswith(("classifier", "bert.pooler"))}
    tiny.replace_weights(root / "teacher", {**arrays, "cls.predictions.transform.weight": np.ones((16, 16), "float32")})
    return {"data": root / "data", "teacher": root / "teacher", "root": root}


def run(world, output: Path, *more: object, **instead: object) -> Path:
    """`general_distill.py` in this process."""
    values = {
        "pregenerated_data": world["data"], "teacher_model": world["teacher"], "output_dir": output, "student_layers": 4,
        "student_hidden": 12, "student_heads": 2, "batch_size": 4, "learning_rate": 1e-2, "max_steps": 8, "logging_steps": 3,
        "save_steps": 5, "checkpoint_steps": 2, "keep_checkpoints": 3, "held_out_sequences": 4, "device": "cpu", **instead,
    }  # fmt: skip
    words = [word for name, value in values.items() if value is not None for word in (f"--{name}", value)]
    parsed = parse(GeneralDistillConfig, [str(word) for word in (*words, *more)])
    general_distill(parsed)
    return output


@pytest.mark.both_lanes
def test_student_learns_and_logs_every_part(world, tmp_path, capsys):
    output = run(world, tmp_path / "run", max_steps=60)
    lines, evaluations = logged(output, "general"), logged(output, "general", "evaluation")
    assert {"embd", "hidn", "attn", "loss", "tokens_per_second"} <= lines[0].keys()
    assert lines[0]["loss"] == pytest.approx(sum(lines[0][name] for name in ("embd", "hidn", "attn")), rel=1e-5)
    assert evaluations[-1]["held_out_loss"] < 0.8 * evaluations[0]["held_out_loss"]
    shown = capsys.readouterr().out
    assert "tokens/s, ETA" in shown and "student layer  4   <- teacher layer  6" in shown  # 4 of 6: uneven
    entry = record(output, "general")
    assert entry["layer_map"] == [[0, 0], [1, 2], [2, 3], [3, 4], [4, 6]]
    assert [entry["data"][name]["rows"] for name in ("epoch 0", "epoch 1", "held_out")] == [40, 56, 4]
    assert entry["steps_per_epoch"] == 10 and any("pooler" in name for name in entry["not_reached"])


def on_a_task(tmp_path: Path, student: Path, **teacher: int) -> Path:
    """`task_distill.py` for a few steps that hardly change the weights, with a fine-tuned teacher of eight layers."""
    tiny.learnable_rows(tmp_path / "SST-2", {"train": 16, "dev": 8}, seed=5)
    tiny.model_folder(tmp_path / "tuned", labels=("0", "1"), num_hidden_layers=8, **teacher)
    distill(
        "--task_name", "SST-2", "--data_dir", tmp_path / "SST-2", "--teacher_path", tmp_path / "tuned", "--stage", "both",
        "--student_model_name_or_path", student, "--output_dir", tmp_path / "task", "--max_steps", 2, "--max_seq_length", LENGTH,
        "--device", "cpu", "--learning_rate", 1e-6,
    )  # fmt: skip
    return tmp_path / "task"


@pytest.mark.parametrize("projection", ["shared", "per_layer"])
def test_task_distill_accepts_the_general_student(world, tmp_path, projection):
    general = run(world, tmp_path / "general", projection=projection)
    arrays = read_pdparams(general / "best_general_model" / "model_state.pdparams")
    assert ("tinybert.fit_denses.4.weight" in arrays) == (projection == "per_layer") != ("tinybert.fit_dense.weight" in arrays)
    assert not any(name.startswith("classifier") for name in arrays)
    task = on_a_task(tmp_path, general / "final_general_model")
    entry = record(task, "intermediate")
    assert entry["projection"] == {"mode": projection, "origin": "from the student's checkpoint"}
    assert all(name.startswith("classifier") for name in entry["models"]["student"]["fresh"])
    last = read_pdparams(general / "final_general_model" / "model_state.pdparams")
    after = read_pdparams(task / "final_inter_model" / "model_state.pdparams")
    for name, array in last.items():
        np.testing.assert_allclose(after[name], array, atol=1e-4, err_msg=name)


def test_teacher_of_another_width_gets_a_fresh_projection(world, tmp_path):
    task = on_a_task(tmp_path, run(world, tmp_path / "general", max_steps=2), hidden_size=20)
    projection = record(task, "intermediate")["projection"]
    assert projection["mode"] == "shared" and "is for a teacher of width 16, this one has 20" in projection["origin"]


@pytest.mark.both_lanes
def test_paddlenlp_reads_the_general_student(world, tmp_path):
    import paddle
    from paddlenlp.transformers import TinyBertModel

    folder = run(world, tmp_path / "run", max_steps=2, projection="per_layer") / "final_general_model"
    theirs = TinyBertModel.from_pretrained(str(folder))
    theirs.eval()
    ours = load_encoder(str(folder))
    ours.model.eval()
    batch = tiny.batch()
    states = theirs(batch.input_ids, batch.token_type_ids, attention_mask=batch.attention_mask)
    hidden = ours.model.tinybert(batch.input_ids, batch.token_type_ids, attention_mask=batch.attention_mask)
    assert paddle.allclose(states[0], hidden[0], atol=1e-6)
    np.testing.assert_array_equal(theirs.fit_denses[4].weight.numpy(), ours.projections["fit_denses.4.weight"])


# === Resuming ===


@pytest.mark.parametrize(
    "more", [{}, {"preset": "huawei", "gradient_accumulation_steps": 2}, {"preset": "paddlenlp", "layer_map": "uniform"}]
)
def test_resumed_run_equals_an_uninterrupted_one(world, tmp_path, monkeypatch, more):
    more = {"max_steps": 14, **more}  # beyond the first epoch of 10 steps
    run(world, tmp_path / "whole", **more)
    with monkeypatch.context() as patch:
        kill_after(patch, "general", 11)
        with pytest.raises(Killed):
            run(world, tmp_path / "resumed", **more)
    run(world, tmp_path / "resumed", resume="auto", **more)
    assert_equal(*(everything(tmp_path / name, "general") for name in ("whole", "resumed")))
    run(world, tmp_path / "resumed", resume="auto", **more)  # finished: nothing is trained again
    assert_equal(*(everything(tmp_path / name, "general") for name in ("whole", "resumed")))


def test_resuming_with_other_text_is_refused(world, tmp_path, monkeypatch):
    other = tmp_path / "data"
    other.mkdir()
    tiny.pregenerated_epoch(other, 0, 44)
    tiny.pregenerated_epoch(other, 1, 59)
    with monkeypatch.context() as patch:
        kill_after(patch, "general", 5)
        with pytest.raises(Killed):
            run(world, tmp_path / "run")
    with pytest.raises(UserError, match="data: was"):
        run(world, tmp_path / "run", resume="auto", pregenerated_data=other)


def test_finished_run_with_another_teacher_or_data_is_refused(world, tmp_path):
    run(world, tmp_path / "run", max_steps=2)
    tiny.model_folder(tmp_path / "teacher", num_hidden_layers=6, seed=4)
    with pytest.raises(UserError, match="teacher_weights: was"):
        run(world, tmp_path / "run", max_steps=2, resume="auto", teacher_model=tmp_path / "teacher")
    (tmp_path / "data").mkdir()
    tiny.pregenerated_epoch(tmp_path / "data", 0, 44, seed=9)
    with pytest.raises(UserError, match="data: was"):
        run(world, tmp_path / "run", max_steps=2, resume="auto", pregenerated_data=tmp_path / "data")


def shards(tmp_path: Path, world, name: str, *more: object) -> Path:
    """The output of `pregenerate` for a text of sixty lines in two documents."""
    write_text(tmp_path / "text")
    words = ("--train_corpus", tmp_path / "text", "--bert_model", world["teacher"], "--output_dir", tmp_path / name)
    words += ("--max_seq_len", LENGTH, "--num_workers", 1, "--epochs_to_generate", 2, *more)
    assert main(["pregenerate", *map(str, words)]) == 0
    return tmp_path / name


def test_resumed_run_on_shards_is_exact_and_refuses_masked_shards(world, tmp_path, monkeypatch):
    plain, masked = shards(tmp_path, world, "plain"), shards(tmp_path, world, "masked", "--masked_lm_prob", 0.3)
    run(world, tmp_path / "whole", pregenerated_data=plain, max_steps=14)
    with monkeypatch.context() as patch:
        kill_after(patch, "general", 11)
        with pytest.raises(Killed):
            run(world, tmp_path / "resumed", pregenerated_data=plain, max_steps=14)
    with pytest.raises(UserError, match="data: was"):
        run(world, tmp_path / "resumed", pregenerated_data=masked, max_steps=14, resume="auto")
    run(world, tmp_path / "resumed", pregenerated_data=plain, max_steps=14, resume="auto")
    assert_equal(*(everything(tmp_path / name, "general") for name in ("whole", "resumed")))


# === What is learned ===


def test_relations_allow_different_heads_and_widths(world, tmp_path):
    output = run(world, tmp_path / "run", method="relation", student_heads=3, relation_heads=4, relation_layers="4:5")
    assert {"rela", "loss"} <= logged(output, "general")[0].keys() and "attn" not in logged(output, "general")[0]
    entry = record(output, "general")
    assert entry["relation"] == {"layers": [4, 5], "heads": 4}
    assert any(name.endswith("layers.3.linear1.weight") for name in entry["not_reached"])  # after the values of the last layer
    assert "layer_map" not in entry["settings"]


def test_relation_loss_can_be_added_to_the_other_losses(world, tmp_path):
    output = run(world, tmp_path / "run", relation_weight=2.0, max_steps=3, relation_heads=2)
    assert record(output, "general")["objective"] == "loss = 1 embd + 1 hidn + 1 attn + 2 rela"


# === Raw text ===


def write_text(folder: Path, sentences: int = 1) -> None:
    """Sixty lines in two documents, with this many sentences each."""
    random = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)

    def sentence() -> str:
        return " ".join(f"word{i}" for i in random.integers(0, 35, random.integers(2, 9))).capitalize() + "."

    lines = [" ".join(sentence() for _ in range(sentences)) for _ in range(60)]
    (folder / "a.txt").write_text("\n".join(lines[:30]) + "\n\n" + "\n".join(lines[30:]) + "\n")


def test_resumed_run_on_raw_text_equals_an_uninterrupted_one(world, tmp_path, monkeypatch):
    write_text(tmp_path / "text")
    source = {"pregenerated_data": None, "input_dir": tmp_path / "text", "max_seq_length": LENGTH, "max_steps": 14}
    run(world, tmp_path / "whole", **source)
    with monkeypatch.context() as patch:
        kill_after(patch, "general", 11)
        with pytest.raises(Killed):
            run(world, tmp_path / "resumed", **source)
    run(world, tmp_path / "resumed", **source, resume="auto")
    assert_equal(*(everything(tmp_path / name, "general") for name in ("whole", "resumed")))


def test_lines_mode_gives_one_row_per_line_of_several_sentences(world, tmp_path):
    write_text(tmp_path / "text", sentences=3)
    source = {"pregenerated_data": None, "input_dir": tmp_path / "text", "max_seq_length": LENGTH, "max_steps": 1}
    output = run(world, tmp_path / "run", **source, preset="paddlenlp", layer_map="uniform")
    assert sum(part["rows"] for part in record(output, "general")["data"].values()) == 60


def test_small_text_starts_no_worker_processes(world, tmp_path, monkeypatch):
    monkeypatch.setattr("tinybert.corpus.workers.ProcessPoolExecutor", None)
    monkeypatch.setattr("tinybert.runtime.available_cores", lambda: 8)
    write_text(tmp_path / "text", sentences=2)
    run(world, tmp_path / "run", pregenerated_data=None, input_dir=tmp_path / "text", max_seq_length=LENGTH, max_steps=1)


def test_output_folder_inside_the_input_text_is_refused(world, tmp_path):
    write_text(tmp_path / "text")
    source = {"pregenerated_data": None, "input_dir": tmp_path / "text", "max_seq_length": LENGTH}
    with pytest.raises(UserError, match="is inside --input_dir"):
        run(world, tmp_path / "text" / "run", **source)


def test_raw_text_becomes_packed_rows_or_lines_by_preset(world, tmp_path):
    write_text(tmp_path / "text")
    source = {"pregenerated_data": None, "input_dir": tmp_path / "text", "max_seq_length": LENGTH, "max_steps": 2}
    rows = {}
    for preset in ("sound", "paddlenlp"):
        output = run(world, tmp_path / preset, **source, preset=preset, layer_map="uniform")
        entry = record(output, "general")
        rows[preset] = sum(part["rows"] for part in entry["data"].values())
    assert rows["paddlenlp"] == 60 and 20 < rows["sound"] < 50
    with pytest.raises(UserError, match="contains no text|no such file"):
        run(world, tmp_path / "none", **{**source, "input_dir": tmp_path / "nowhere"})


# === Students ===


def test_continue_train_reads_weights_and_a_shape_does_not(world, tmp_path):
    first = run(world, tmp_path / "first", max_steps=4) / "final_general_model"
    shape = {"student_layers": None, "student_hidden": None, "student_heads": None, "student_model": first, "max_steps": 1}
    more = run(world, tmp_path / "more", "--continue_train", **shape, learning_rate=1e-9) / "final_general_model"
    fresh = run(world, tmp_path / "fresh", **shape, learning_rate=1e-9) / "final_general_model"
    name = "tinybert.encoder.layers.0.linear1.weight"
    before, continued, anew = (read_pdparams(folder / "model_state.pdparams")[name] for folder in (first, more, fresh))
    np.testing.assert_allclose(continued, before, atol=1e-6)
    assert anew.shape == before.shape and np.abs(anew - before).max() > 1e-3


def test_student_spelling_decides_whether_weights_are_read(world, tmp_path, monkeypatch, capsys):
    first = run(world, tmp_path / "first", max_steps=1) / "final_general_model"
    shape = {"student_layers": None, "student_hidden": None, "student_heads": None, "max_steps": 1, "learning_rate": 1e-9, "seed": 7}
    name = "tinybert.encoder.layers.0.linear1.weight"
    capsys.readouterr()
    run(world, tmp_path / "fresh", **shape, student_model=first)
    assert "its weights are not loaded: use --continue_train to load them" in capsys.readouterr().out
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tinybert-4l-312d-v2").symlink_to(first)  # a PaddleNLP name that has been downloaded before
    monkeypatch.setenv("MODEL_HOME", str(tmp_path / "models"))
    for spelling, read in (("student_model_name_or_path", True), ("student_model", False)):
        output = run(world, tmp_path / spelling, **shape, **{spelling: "tinybert-4l-312d-v2"}) / "final_general_model"
        arrays = [read_pdparams(folder / "model_state.pdparams")[name] for folder in (first, output)]
        assert (np.abs(arrays[0] - arrays[1]).max() < 1e-5) == read, spelling


def test_layers_of_the_teacher_can_be_the_student(world, tmp_path):
    shape = dict.fromkeys(("student_layers", "student_hidden", "student_heads"))
    output = run(world, tmp_path / "run", **shape, student_init="teacher:2,4,6", max_steps=1, learning_rate=1e-9)
    arrays = read_pdparams(output / "final_general_model" / "model_state.pdparams")
    teacher = read_pdparams(world["teacher"] / "model_state.pdparams")
    np.testing.assert_allclose(arrays["bert.encoder.layers.1.linear1.bias"], teacher["bert.encoder.layers.3.linear1.bias"], atol=1e-6)


# === Bad input ===


@pytest.mark.parametrize(
    ("instead", "words"),
    [
        ({"pregenerated_data": None}, "no training data"),
        ({"input_dir": "text"}, "two sources of text"),
        ({"teacher_model": None}, "--teacher_path .* is missing"),
        ({"student_layers": None, "student_hidden": None, "student_heads": None}, "is missing"),
        ({"student_model": "x"}, "describes a new student"),
        ({"use_att": False, "use_rep": False, "use_embedding": False}, "nothing is left to learn"),
        ({"method": "relation", "relation_weight": 0}, "nothing to learn"),
        ({"method": "relation", "relation_heads": 5}, "do not divide"),
        ({"method": "relation", "relation_layers": "5:6"}, "the student has 4 layers and the teacher 6"),
        ({"student_heads": 3}, "2 attention heads and the student 3"),
        ({"layer_map": "0:0,5:6"}, "is out of range"),
        ({"max_seq_length": 12}, "length"),
        ({"continue_train": True}, "--continue_train starts from"),
        ({"max_steps": 3, "student_layers": 7, "student_hidden": 12}, "cannot map"),
    ],
)
def test_contradicting_options_are_refused_before_the_run(world, tmp_path, instead, words):
    with pytest.raises(UserError, match=words):
        run(world, tmp_path / "run", **instead)
    assert not (tmp_path / "run").exists()


def test_data_of_another_vocabulary_or_length_is_refused(world, tmp_path):
    (tmp_path / "words").mkdir()
    tiny.pregenerated_epoch(tmp_path / "words", 0, 20, words=["word1", "unheard"])
    (tmp_path / "long").mkdir()
    tiny.pregenerated_epoch(tmp_path / "long", 0, 20, length=32)  # the models have 20 positions
    for name, words in (("words", "unheard"), ("long", "32")):
        with pytest.raises(UserError, match=words):
            run(world, tmp_path / "run", pregenerated_data=tmp_path / name)
    assert not (tmp_path / "run").exists()

"""Importance scores, pruning and the distillation of pruned students, on the demo set."""

from __future__ import annotations

import json
import shutil
import signal

import numpy as np
import paddle
import pytest

from tests import tiny
from tests.recipes.conftest import QUICK, distill, finetune, record
from tinybert.cli.main import main
from tinybert.cli.parser import parse
from tinybert.commands.prune import PruneConfig
from tinybert.engine import checkpoint
from tinybert.errors import Interrupted, UserError
from tinybert.models.hub import resolve
from tinybert.models.loading import load_classifier, load_pretrained
from tinybert.models.pruned_shapes import describe_architecture
from tinybert.models.trace import base_of, layers_of
from tinybert.prune.importance import FOLDER, SCORES, read_importance
from tinybert.recipes.prune import prune as recipe

PASS = ("--task_name", "demo", "--max_seq_length", "32", "--batch_size", "32", "--compute_taylor", "True", "--logging_steps", "10")


def prune(*words: object) -> None:
    parsed = parse(PruneConfig, [*map(str, words)])
    recipe(parsed)


@pytest.fixture(scope="module")
def scored(teacher, tmp_path_factory):
    """A copy of the teacher's run with its importance scores."""
    folder = tmp_path_factory.mktemp("scored") / "teacher"
    shutil.copytree(teacher, folder)
    finetune("--model_name_or_path", folder, *PASS, "--max_steps", "6")
    return folder


@pytest.fixture(scope="module")
def student(scored, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruned") / "student"
    prune(
        "--model_path", scored, "--output_dir", folder, "--task", "demo", "--keep_heads", 2, "--num_layers", 3,
        "--ffn_hidden_dim", 24, "--emb_hidden_dim", 12,
    )  # fmt: skip
    return folder


def load(folder, needs_head=True):
    labels = tuple(json.loads((resolve(str(folder)) / "config.json").read_text())["id2label"].values())
    return load_classifier(str(folder), labels=labels, needs_head=needs_head)


def test_published_rosita_commands_find_the_importance_scores(teacher, tmp_path):
    model = shutil.copytree(resolve(str(teacher)), tmp_path / "model")
    finetune("--model_name_or_path", model, *PASS, "--max_steps", "2", "--output_dir", model / FOLDER)
    prune("--model_path", model, "--output_dir", tmp_path / "cut", "--keep_heads", 2, "--num_layers", 2)
    assert load(tmp_path / "cut").config.num_hidden_layers == 2


# === Importance ===


@pytest.mark.both_lanes
def test_importance_scores_record_their_origin(scored):
    scores, facts = read_importance(scored / FOLDER)
    assert len(scores) == 4 * 6 and scores["layers.3.linear1"].shape == (32, 64)
    assert all((array >= 0).all() and array.any() for array in scores.values())
    assert (facts["task"], facts["mode"], facts["batches"], facts["data"]["split"]) == ("demo", "eval", 6, "train")
    assert facts["model"]["sha256"] == record(scored, "importance")["models"]["model"]["sha256"]
    assert record(scored, "importance")["finished"] and "learning_rate" not in record(scored, "importance")["settings"]


def test_scores_equal_those_of_plain_backward_passes(teacher, tmp_path, monkeypatch):
    from tinybert.recipes import importance

    real, seen = importance.task_loss_gradients, []

    def remembers(model, inputs, task_loss):
        seen.append(inputs)
        return real(model, inputs, task_loss)

    monkeypatch.setattr(importance, "task_loss_gradients", remembers)
    finetune("--model_name_or_path", teacher, *PASS, "--max_steps", "3", "--output_dir", tmp_path)
    scores, _ = read_importance(tmp_path / FOLDER)
    model = load(teacher).model  # PaddleNLP's own forward pass, nothing frozen
    model.eval()
    sums = {f"layers.{i}.linear1": 0.0 for i in range(4)}
    for inputs in seen:
        logits = model(inputs.input_ids, token_type_ids=inputs.token_type_ids, attention_mask=inputs.attention_mask)
        paddle.nn.functional.cross_entropy(logits, inputs.labels).backward()
        for i in range(4):
            sums[f"layers.{i}.linear1"] += np.abs(layers_of(model)[i].linear1.weight.grad.numpy())
        model.clear_gradients()
    for i, (name, total) in enumerate(sums.items()):
        expected = np.abs(total * layers_of(model)[i].linear1.weight.numpy())
        np.testing.assert_allclose(scores[name], expected, atol=1e-4 * expected.max())


def test_stopped_importance_pass_counts_every_batch_once(scored, tmp_path, monkeypatch):
    from tinybert.recipes import importance

    line = ("--model_name_or_path", scored, *PASS, "--max_steps", "5", "--importance_mode", "train", "--checkpoint_steps", "2")
    finetune(*line, "--output_dir", tmp_path / "whole")
    real, calls = importance.task_loss_gradients, []

    def stops(*args):
        calls.append(args)
        if len(calls) == 4:
            raise RuntimeError("killed")
        return real(*args)

    monkeypatch.setattr(importance, "task_loss_gradients", stops)
    with pytest.raises(RuntimeError, match="killed"):
        finetune(*line, "--output_dir", tmp_path / "cut")
    assert not (tmp_path / "cut" / FOLDER).exists()
    assert checkpoint.newest(tmp_path / "cut" / "checkpoints" / "importance").name == "step_00000002"
    monkeypatch.setattr(importance, "task_loss_gradients", real)
    with pytest.raises(UserError, match="batches: was 5, is 4"):
        finetune(*line, "--output_dir", tmp_path / "cut", "--resume", "auto", "--max_steps", "4")
    finetune(*line, "--output_dir", tmp_path / "cut", "--resume", "auto")
    assert (tmp_path / "cut" / FOLDER / SCORES).read_bytes() == (tmp_path / "whole" / FOLDER / SCORES).read_bytes()
    assert not (tmp_path / "cut" / "checkpoints" / "importance").exists()


def test_interrupted_importance_pass_resumes(scored, tmp_path, monkeypatch):
    from tinybert.recipes import importance

    line = ("--model_name_or_path", scored, *PASS, "--max_steps", "4", "--output_dir", tmp_path)
    real = importance.task_loss_gradients
    with monkeypatch.context() as patch:
        patch.setattr(importance, "task_loss_gradients", lambda *words: (signal.raise_signal(signal.SIGINT), real(*words))[1])
        with pytest.raises(Interrupted, match="stopped after batch 1; continue with --resume auto"):
            finetune(*line)
    finetune(*line, "--resume", "auto")
    whole, cut = (read_importance(folder / FOLDER)[1] for folder in (scored, tmp_path))
    assert cut["batches"] == 4 and whole["fingerprint"].keys() == cut["fingerprint"].keys()


def test_regression_has_importance_scores(encoder, sts_folder, tmp_path):
    task = ("--task_name", "STS-B", "--data_dir", sts_folder, "--max_seq_length", "64")
    finetune("--model_name_or_path", encoder, *task, *QUICK, "--max_steps", "2", "--output_dir", tmp_path / "teacher")
    finetune("--model_name_or_path", tmp_path / "teacher", *task, "--compute_taylor", "True")
    prune("--model_path", tmp_path / "teacher", "--output_dir", tmp_path / "student", "--task", "sts-b", "--keep_heads", 1)
    assert load_pretrained(str(tmp_path / "student"))[1]["problem_type"] == "regression"


def test_dropout_affects_only_the_published_importance_pass(scored, tmp_path):
    for name, more in (("a", ("--seed", "1")), ("b", ("--seed", "2")), ("c", ("--preset", "rosita", "--seed", "1"))):
        finetune("--model_name_or_path", scored, *PASS, "--batch_size", "700", "--output_dir", tmp_path / name, *more)
    a, b, c = (read_importance(tmp_path / name / FOLDER)[0]["layers.0.linear1"] for name in "abc")
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-9)  # one batch of all rows: only their order differs
    assert np.abs(a - c).max() > 0.05 * a.max()


def test_second_importance_pass_needs_overwrite(scored, capsys):
    with pytest.raises(UserError, match="already holds results of the importance stage"):
        finetune("--model_name_or_path", scored, *PASS)
    finetune("--model_name_or_path", scored, *PASS, "--max_steps", "6", "--resume", "auto")
    assert "the importance scores are finished" in capsys.readouterr().out
    with pytest.raises(UserError, match="finished, with other data or arguments:\n  .*batch"):
        finetune("--model_name_or_path", scored, *PASS, "--max_steps", "5", "--resume", "auto")


def test_options_unused_by_the_importance_pass_are_reported(scored, tmp_path, capsys):
    finetune("--model_name_or_path", scored, *PASS, "--output_dir", tmp_path, "--max_steps", "1", "--learning_rate", "1e-4", "--do_eval")
    shown = capsys.readouterr().err
    assert "--learning_rate 0.0001 is not used: --compute_taylor makes one pass without updates" in shown
    assert "--do_eval True is not used: --compute_taylor does not evaluate" in shown
    finetune("--model_name_or_path", scored, *QUICK, "--task_name", "demo", "--max_seq_length", "32", "--do_eval", "--output_dir", tmp_path,
             "--importance_mode", "train")  # fmt: skip
    assert "--importance_mode train is not used: only --compute_taylor uses it" in capsys.readouterr().err


# === Pruning ===


def test_pruned_student_keeps_what_its_record_says(scored, student):
    small, whole = load(student), load(scored)
    assert describe_architecture(small.config) == "3 x 32, 2 heads of 8, feed-forward 24, embedding of rank 12"
    assert not small.report.fresh and not small.report.unused
    told = json.loads((student / "pruning.json").read_text())
    assert told["shape"] == {"layers": [1, 2, 3], "heads": 2, "neurons": 24, "embedding_rank": 12}
    assert told["parameters"] == small.parameters() < whole.parameters()
    source = base_of(whole.model).encoder.layers[1].self_attn.k_proj.weight.numpy().reshape(32, 4, 8)
    kept = base_of(small.model).encoder.layers[1].self_attn.k_proj.weight.numpy().reshape(32, 2, 8)
    np.testing.assert_array_equal(kept, source[:, np.array(told["kept_heads"][1]) - 1])


@pytest.mark.parametrize(
    ("more", "layers"),
    [
        (("--layers", "2,4"), [2, 4]),
        (("--layers", "uniform", "--num_layers", "2"), [2, 4]),
        (("--layers", "top", "--num_layers", "1"), [4]),
    ],
    ids=str,
)
def test_named_layers_are_kept(teacher, tmp_path, more, layers):
    prune("--model_path", teacher, "--output_dir", tmp_path / "student", *more)  # needs no importance scores
    assert json.loads((tmp_path / "student" / "pruning.json").read_text())["shape"]["layers"] == layers
    assert describe_architecture(load(tmp_path / "student").config) == f"{len(layers)} x 32, 4 heads"


def test_published_pruning_command_line_is_accepted(scored, tmp_path, capsys):
    line = f"-model_path {scored} -output_dir {tmp_path} -task demo -keep_heads 1 -num_layers 2 -ffn_hidden_dim 64 -emb_hidden_dim -1"
    assert main(["prune", *line.split(), "--preset", "rosita", "--name_by_shape"]) == 0
    assert "heads of every layer by the scores of layer 1, as published" in capsys.readouterr().out
    told = json.loads((tmp_path / "a1_l2_f64_e-1" / "pruning.json").read_text())
    assert told["kept_heads"][0] == told["kept_heads"][1]


def test_pruned_model_can_be_pruned_again(student, tmp_path):
    shutil.copytree(student, tmp_path / "first")
    with pytest.raises(UserError, match="importance_score/taylor.json is missing"):
        prune("--model_path", tmp_path / "first", "--output_dir", tmp_path / "second", "--keep_heads", 1)
    finetune("--model_name_or_path", tmp_path / "first", *PASS, "--max_steps", "2")
    prune("--model_path", tmp_path / "first", "--output_dir", tmp_path / "second", "--keep_heads", 1, "--emb_hidden_dim", 6)
    assert describe_architecture(load(tmp_path / "second").config) == "3 x 32, 1 head of 8, feed-forward 24, embedding of rank 6"
    with pytest.raises(UserError, match="--emb_hidden_dim 20 exceeds the word embedding's rank 12 from an earlier pruning"):
        prune("--model_path", tmp_path / "first", "--output_dir", tmp_path / "third", "--emb_hidden_dim", 20)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--keep_heads", 5), "--keep_heads 5 exceeds the model's 4 heads in a layer. Keep at most 4"),
        (("--ffn_hidden_dim", 65), "--ffn_hidden_dim 65 exceeds the model's 64 feed-forward neurons"),
        (("--num_layers", 5), "--num_layers 5 exceeds the model's 4 layers"),
        (("--layers", "1,5"), "--layers names layer 5, but the model has 4"),
        (("--emb_hidden_dim", 33), "--emb_hidden_dim 33 exceeds the word embedding's width 32"),
        (("--emb_hidden_dim", 0), "--emb_hidden_dim got 0"),
        (("--layers", "3,1"), "expected bottom, top, uniform, or different numbers in ascending order"),
        (("--layers", "1,2", "--num_layers", 3), "--layers 1,2 lists 2 layers, but --num_layers is 3"),
        ((), "nothing would be pruned: the model already has this shape"),
        (("--keep_heads", 2, "--task", "SST-2"), "was computed on demo, not on SST-2"),
    ],
    ids=str,
)
def test_impossible_pruning_is_refused(scored, tmp_path, more, message):
    with pytest.raises(UserError) as caught:
        prune("--model_path", scored, "--output_dir", tmp_path / "student", *more)
    assert message in str(caught.value) and not (tmp_path / "student").exists()


def test_missing_or_foreign_importance_is_refused(scored, teacher, encoder, tmp_path):
    shutil.copytree(teacher, tmp_path / "other")
    line = ("--model_path", tmp_path / "other", "--output_dir", tmp_path / "student", "--keep_heads", 2)
    with pytest.raises(UserError) as caught:
        prune(*line, "--task", "demo")
    assert f"tinybert finetune --compute_taylor True --task_name demo --model_name_or_path {tmp_path / 'other'}" in str(caught.value)
    shallow = tmp_path / "shallow"
    prune("--model_path", scored, "--output_dir", shallow, "--num_layers", 3)
    with pytest.raises(UserError, match="contains the importance scores of another model"):
        prune("--model_path", shallow, "--output_dir", tmp_path / "student", "--keep_heads", 2, "--importance", scored)
    with pytest.raises(UserError, match="has no trained classifier"):
        prune("--model_path", encoder, "--output_dir", tmp_path / "student", "--num_layers", 3)
    broken = shutil.copytree(scored / FOLDER, tmp_path / "broken")
    (broken / SCORES).write_bytes((broken / SCORES).read_bytes()[:-8])
    with pytest.raises(UserError, match="contains no complete importance scores"):
        prune("--model_path", scored, "--output_dir", tmp_path / "student", "--keep_heads", 2, "--importance", broken)


# === The student as a regular model ===


def test_pruned_student_can_be_distilled_evaluated_and_trained(teacher, student, tmp_path):
    line = ("--task_name", "demo", "--max_seq_length", "32", *QUICK, "--student_model_name_or_path", student)
    distill(*line, "--teacher_path", teacher, "--stage", "both", "--attention_heads", "average", "--max_steps", "3", "--output_dir",
            tmp_path / "both")  # fmt: skip
    assert record(tmp_path / "both", "intermediate")["projection"]["mode"] == "none"
    emd = ("--method", "emd", "--use_att", "False", "--max_steps", "3", "--output_dir", tmp_path / "emd")
    distill(*line, "--teacher_path", teacher, *emd)
    with pytest.raises(UserError, match="the teacher has 4 attention heads and the student 2"):
        distill(*line, "--teacher_path", teacher, "--stage", "intermediate", "--output_dir", tmp_path / "refused")
    mud = ("--method", "mud", "--is_rosita", "--stage", "intermediate", "--token_scheme", "attention", "--keep_tokens", "4")
    distill(*line, "--teacher_path", teacher, *mud, "--max_steps", "3", "--output_dir", tmp_path / "mud")
    for run in ("both", "emd", "mud"):
        trained = load(tmp_path / run)
        assert describe_architecture(trained.config) == "3 x 32, 2 heads of 8, feed-forward 24, embedding of rank 12"
        if run == "mud":
            continue  # its classifier has not been trained
        distill("--task_name", "demo", "--max_seq_length", "32", "--do_eval", "--student_model_name_or_path",
                tmp_path / run, "--output_dir", tmp_path / run)  # fmt: skip
    finetune("--model_name_or_path", student, "--task_name", "demo", "--max_seq_length", "32", *QUICK, "--max_steps", "2",
             "--output_dir", tmp_path / "plain")  # fmt: skip


def test_resumed_distillation_of_a_pruned_student_is_exact(teacher, student, tmp_path):
    line = (
        "--task_name", "demo", "--max_seq_length", "32", *QUICK, "--student_model_name_or_path", student, "--teacher_path", teacher,
        "--learning_rate", "1e-3", "--checkpoint_steps", "2", "--keep_checkpoints", "9", "--max_steps", "4",
    )  # fmt: skip
    distill(*line, "--output_dir", tmp_path / "run")
    final = (tmp_path / "run" / "final" / "model_state.pdparams").read_bytes()
    shutil.rmtree(tmp_path / "run" / "final")
    shutil.rmtree(tmp_path / "run" / "best_model")
    resume = tmp_path / "run" / "checkpoints" / "prediction" / "step_00000002"
    distill(*line, "--output_dir", tmp_path / "run", "--resume", resume)
    assert (tmp_path / "run" / "final" / "model_state.pdparams").read_bytes() == final


def test_outputs_without_names_stay_a_classification(tmp_path):
    tiny.model_folder(tmp_path / "model", labels=("LABEL_0", "LABEL_1", "LABEL_2"))
    prune("--model_path", tmp_path / "model", "--output_dir", tmp_path / "student", "--emb_hidden_dim", 4)
    model, config = load_pretrained(str(tmp_path / "student"))
    assert model.config.num_labels == 3 and model.labels is None and config["problem_type"] == "single_label_classification"

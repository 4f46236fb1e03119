"""Whole runs without a teacher: `--cache_knowledge` and `--cache_teacher` on the demo set."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests.recipes.conftest import QUICK, distill, logged, record
from tests.tiny import replace_weights
from tinybert.errors import UserError
from tinybert.models.weights import read_pdparams, write_pdparams
from tinybert.recipes import teacher_source

STUDENT = ("--student_layers", "2", "--student_hidden", "16", "--student_heads", "4", "--max_seq_length", "32")
SCHEMES = ("--token_scheme", "attention_no_sep", "--hidden_scheme", "importance_mask_dynamic", "--config_3d", "2l_4t_0.2h")


def run(teacher, output, *more, stage="both", student=STUDENT) -> None:
    words = ("--task_name", "demo", "--teacher_path", teacher, "--output_dir", output, "--stage", stage)
    distill(*words, "--max_steps", "4", "--logging_steps", "1", *student, *QUICK[2:], *more)


@pytest.fixture
def no_teacher(monkeypatch):
    """Loading a teacher's weights is an error from now on."""

    def forbid():
        def refuse(path, **more):
            raise AssertionError(f"{path} was loaded")

        monkeypatch.setattr(teacher_source, "load_classifier", refuse)

    return forbid


def losses(folder, stage: str) -> np.ndarray:
    return np.array([line["loss"] for line in logged(folder, stage)])


@pytest.mark.parametrize(
    "more", [("--method", "mud", *SCHEMES), ("--method", "mud"), ("--method", "tinybert", "--use_att", "False")], ids=" ".join
)
def test_training_without_a_teacher_learns_something_else(teacher, tmp_path, no_teacher, capsys, more):
    run(teacher, tmp_path / "live", *more)
    stored = (*more, "--cache_knowledge", tmp_path / "knowledge")
    run(teacher, tmp_path / "built", *stored)
    assert "% of all hidden states in float16" in capsys.readouterr().out
    no_teacher()
    run(teacher, tmp_path / "run", *stored)
    for stage, tolerance in (("intermediate", 2e-3), ("prediction", 1e-2)):
        np.testing.assert_array_equal(losses(tmp_path / "run", stage), losses(tmp_path / "built", stage))
        np.testing.assert_allclose(losses(tmp_path / "run", stage), losses(tmp_path / "live", stage), rtol=tolerance)
    facts = record(tmp_path / "run", "intermediate")
    assert facts["knowledge"]["train"]["bytes"] > facts["knowledge"]["dev"]["bytes"] > 0
    assert facts["teacher_scores"] == record(tmp_path / "live", "intermediate")["teacher_scores"]
    assert facts["models"]["teacher"]["sha256"] == record(tmp_path / "live", "intermediate")["models"]["teacher"]["sha256"]


def test_logits_are_computed_again_or_taken_from_another_teacher(teacher, tmp_path, no_teacher, monkeypatch, capsys):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    options = ("--method", "logits", "--cache_teacher")
    run(teacher, tmp_path / "live", "--method", "logits", stage="prediction")
    run(teacher, tmp_path / "built", *options, stage="prediction")
    no_teacher()
    run(teacher, tmp_path / "run", *options, stage="prediction")
    np.testing.assert_allclose(losses(tmp_path / "run", "prediction"), losses(tmp_path / "live", "prediction"), rtol=1e-5)
    assert "not loaded unless its knowledge is missing" in capsys.readouterr().out
    for changed in ("--max_seq_length 16", "--teacher_head relu"):
        with pytest.raises(AssertionError, match="was loaded"):
            run(teacher, tmp_path / "other", *options, *changed.split(), stage="prediction")


def test_the_folder_of_another_teacher_or_selection_is_learnt_from(teacher, tmp_path):
    stored = ("--method", "mud", *SCHEMES, "--cache_knowledge", tmp_path / "knowledge")
    run(teacher, tmp_path / "built", *stored, stage="intermediate")
    other = tmp_path / "teacher"
    shutil.copytree(teacher / "best_model", other) if (teacher / "best_model").is_dir() else shutil.copytree(teacher, other)
    weights = next(other.rglob("model_state.pdparams"))
    arrays = read_pdparams(weights)
    replace_weights(weights.parent, {name: array + 1e-3 for name, array in arrays.items()})
    with pytest.raises(UserError, match="teacher: stored .* wanted"):
        run(weights.parent, tmp_path / "refused", *stored, stage="intermediate")
    write_pdparams(weights, arrays)
    config = weights.with_name("config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_act": "relu"}))  # the same weights, another function
    with pytest.raises(UserError, match="teacher_architecture: stored .*gelu.* wanted .*relu"):
        run(weights.parent, tmp_path / "refused", *stored, stage="intermediate")
    with pytest.raises(UserError, match="selection: stored .*attention_no_sep 4.* wanted .*attention_no_sep 5"):
        run(teacher, tmp_path / "refused", *stored, "--config_3d", "2l_5t_0.2h", stage="intermediate")
    assert not (tmp_path / "refused").exists()


CONFIGURATIONS = [
    ({"classifier_activation": "relu"}, "family bert, .* wanted family tinybert"),  # the same weights, with a ReLU before the classifier
    ({"model_type": "tinybert"}, "family bert, .* wanted family tinybert"),
    ({"model_type": "ernie"}, "family bert, .* wanted family ernie"),
    ({"use_task_id": True, "task_id": 1}, "wanted .*task_id 1, .*use_task_id True"),
    ({"layer_norm_eps": 1e-5}, "layer_norm_eps 1e-12, .* wanted .*layer_norm_eps 1e-05"),
]


def test_knowledge_of_a_teacher_whose_configuration_has_changed_is_learnt_from(teacher, tmp_path, no_teacher, capsys):
    other = shutil.copytree(next(teacher.glob("best_model_*")), tmp_path / "teacher")
    config = other / "config.json"
    plain = json.loads(config.read_text())
    stored = ("--method", "logits", "--cache_knowledge", tmp_path / "knowledge")
    run(other, tmp_path / "built", *stored, stage="prediction")
    no_teacher()
    for changes, message in CONFIGURATIONS:
        config.write_text(json.dumps(plain | changes))
        with pytest.raises(UserError, match=f"teacher_architecture: stored .*{message}"):
            run(other, tmp_path / "refused", *stored, stage="prediction")
    config.write_text(json.dumps(plain | {"hidden_dropout_prob": 0.3}))  # a teacher in eval mode drops nothing
    run(other, tmp_path / "taken", *stored, stage="prediction")
    assert not (tmp_path / "refused").exists()


def test_a_student_may_start_from_layers_of_a_teacher_that_is_then_let_go(teacher, tmp_path, capsys):
    stored = ("--method", "mud", *SCHEMES, "--cache_knowledge", tmp_path / "knowledge")
    student = ("--student_init", "teacher:2,4", "--max_seq_length", "32")
    run(teacher, tmp_path / "run", *stored, student=student)
    assert record(tmp_path / "run", "prediction")["knowledge"]["train"]["rows"] > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--method", "emd"), "cannot serve --method emd"),
        (("--method", "tinybert"), "attention scores are not stored\nadd --use_att False"),
        (("--method", "tinybert", "--use_att", "False", "--teacher_mode", "train"), "add --teacher_mode eval"),
        (
            ("--method", "mud", "--preset", "mud", "--hidden_scheme", "importance_mask_dynamic", "--keep_hidden", "0.1"),
            "add --hidden_reduction masked --mask_threshold example --teacher_mode eval",
        ),
        (("--method", "mud", "--cache_teacher"), "give one of"),
    ],
)
def test_what_cannot_be_stored_is_stored(teacher, tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        run(teacher, tmp_path / "run", *more, "--cache_knowledge", tmp_path / "knowledge", stage="prediction" if "emd" in more else "both")
    assert not (tmp_path / "knowledge").exists()

"""Whole runs with `--teacher_traces`: the teacher runs once per row, and later epochs, stages and runs read the store."""

from __future__ import annotations

import contextlib
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from tests.recipes.conftest import QUICK, distill, logged, record, rows_of
from tinybert.data.places import demo_folder
from tinybert.devices import Precision
from tinybert.errors import UserError
from tinybert.models.weights import read_pdparams, write_pdparams
from tinybert.objectives.trained_layer import Teacher
from tinybert.recipes import teacher_source

STUDENT = ("--student_layers", "2", "--student_hidden", "16", "--student_heads", "4", "--max_seq_length", "32")
SCHEMES = ("--token_scheme", "attention_no_sep", "--hidden_scheme", "importance_mask_dynamic", "--config_3d", "2l_4t_0.2h")
METHODS = {
    "tinybert": ("--method", "tinybert", "--stage", "both"),
    "joint": ("--method", "tinybert", "--stage", "joint"),
    "emd": ("--method", "emd"),
    "mud": ("--method", "mud", "--stage", "both", *SCHEMES),
    "logits": ("--method", "logits"),
}


def run(teacher, output, *more, student=STUDENT) -> None:
    words = ("--task_name", "demo", "--teacher_path", teacher, "--output_dir", output, "--max_steps", "4", "--logging_steps", "1")
    distill(*words, *student, *QUICK[2:], *more)


@pytest.fixture
def no_teacher(monkeypatch):
    """Make loading a teacher's weights an error."""

    def forbid():
        def refuse(path, **more):
            raise AssertionError(f"{path} was loaded")

        monkeypatch.setattr(teacher_source, "load_classifier", refuse)

    return forbid


def losses(folder, stage: str) -> np.ndarray:
    return np.array([line["loss"] for line in logged(folder, stage)])


@pytest.mark.parametrize("name", METHODS)
def test_run_from_a_store_equals_the_run_that_filled_it(teacher, tmp_path, no_teacher, name):
    stages = ("intermediate", "prediction") if "both" in METHODS[name] else ("prediction",)
    run(teacher, tmp_path / "live", *METHODS[name], "--teacher_traces", "live")
    stored = (*METHODS[name], "--teacher_traces", tmp_path / "traces")
    run(teacher, tmp_path / "filled", *stored)
    no_teacher()
    run(teacher, tmp_path / "found", *stored)
    for stage in stages:
        np.testing.assert_array_equal(losses(tmp_path / "found", stage), losses(tmp_path / "filled", stage))
        np.testing.assert_allclose(losses(tmp_path / "filled", stage), losses(tmp_path / "live", stage), rtol=1e-2)
        facts = record(tmp_path / "found", stage)
        assert facts["teacher_traces"]["rows_computed"] == 0 < facts["teacher_traces"]["rows_read"]
        assert facts["teacher_scores"] == record(tmp_path / "live", stage)["teacher_scores"]
    weights = [tmp_path / folder / "final" / "model_state.pdparams" for folder in ("filled", "found")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_float32_traces_give_the_live_losses(teacher, tmp_path):
    run(teacher, tmp_path / "live", *METHODS["joint"], "--teacher_traces", "live")
    run(teacher, tmp_path / "stored", *METHODS["joint"], "--teacher_traces", tmp_path / "t", "--teacher_traces_dtype", "float32")
    np.testing.assert_allclose(losses(tmp_path / "stored", "prediction"), losses(tmp_path / "live", "prediction"), rtol=1e-6)


@pytest.mark.both_lanes
def test_stage_two_reads_the_logits_that_stage_one_stored(teacher, tmp_path):
    run(teacher, tmp_path / "run", *METHODS["tinybert"], "--teacher_traces", "store", "--save_steps", "0")
    first, second = (record(tmp_path / "run", stage)["teacher_traces"] for stage in ("intermediate", "prediction"))
    assert first["rows_computed"] > 0
    assert second["rows_computed"] < first["rows_computed"]


def test_another_student_seed_or_method_reads_the_same_store(teacher, tmp_path):
    stored = ("--teacher_traces", tmp_path / "traces")
    run(teacher, tmp_path / "filled", *METHODS["emd"], *stored, "--max_steps", "90")
    for number, more in enumerate((METHODS["joint"], (*METHODS["logits"], "--seed", "5"))):
        run(teacher, tmp_path / f"run{number}", *more, *stored)
        assert record(tmp_path / f"run{number}", "prediction")["teacher_traces"]["rows_computed"] == 0


def test_filled_store_replaces_a_teacher_without_weights(teacher, tmp_path):
    stored = ("--method", "logits", "--teacher_traces", tmp_path / "traces")
    run(teacher, tmp_path / "filled", *stored, "--max_steps", "90")
    light = shutil.copytree(next(teacher.glob("best_model_*")), tmp_path / "light")
    (light / "model_state.pdparams").unlink()
    (light / "manifest.json").unlink()
    run(light, tmp_path / "run", *stored)
    with pytest.raises(UserError, match="has no weights"):
        run(light, tmp_path / "refused", *stored, "--max_seq_length", "9")


@pytest.mark.parametrize(
    ("more", "mode", "reason"),
    [
        (("--max_steps", "14", "--batch_size", "64"), "stored", "passes"),
        (("--max_steps", "4"), "live", "a single epoch"),
        (("--max_steps", "14", "--batch_size", "64", "--preset", "paper"), "live", "preset paper"),
        (("--max_steps", "14", "--batch_size", "64", "--teacher_traces_gb", "1e-6"), "live", "more than 0.0 GB"),
        (("--max_steps", "14", "--batch_size", "64", "--teacher_mode", "train"), "live", "dropout"),
    ],
)
def test_auto_stores_where_it_pays_and_names_the_reason(teacher, tmp_path, monkeypatch, capsys, more, mode, reason):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    run(teacher, tmp_path / "run", "--method", "logits", *more)
    facts = record(tmp_path / "run", "prediction")["teacher_traces"]
    assert facts["mode"] == mode
    assert reason in facts["reason"]
    assert f"teacher traces: {mode}" in capsys.readouterr().out


def test_auto_counts_only_rows_that_are_not_stored_yet(teacher, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    more = ("--method", "logits", "--batch_size", "64")
    run(teacher, tmp_path / "part", *more, "--max_steps", "1", "--teacher_traces", "store")
    facts = record(tmp_path / "part", "prediction")["teacher_traces"]
    rows = sum(len(rows_of(demo_folder() / f"{split}.tsv")) - 1 for split in ("train", "dev"))
    room = SimpleNamespace(free=2 * facts["bytes_per_row"] * (rows - 32))
    monkeypatch.setattr(teacher_source, "shutil", SimpleNamespace(disk_usage=lambda place: room))
    run(teacher, tmp_path / "all", *more, "--max_steps", "14")
    found = record(tmp_path / "all", "prediction")["teacher_traces"]
    assert found["mode"] == "stored" and 0 < found["rows_computed"] < rows
    room.free = 0
    for number, few in enumerate(((*more, "--max_steps", "14"), (*more, "--max_steps", "1"))):
        run(teacher, tmp_path / str(number), *few)
        found = record(tmp_path / str(number), "prediction")["teacher_traces"]
        assert (found["mode"], found["reason"], found["rows_computed"]) == ("stored", "all rows are already stored", 0)


def test_resumed_run_does_not_store_what_cannot_be_stored(teacher, tmp_path):
    more = ("--method", "logits", "--batch_size", "64", "--output_dir", tmp_path / "run")
    run(teacher, tmp_path / "run", *more, "--max_steps", "14")
    run(teacher, tmp_path / "run", *more, "--max_steps", "15", "--resume", "auto", "--resume_changed", "--teacher_mode", "train")
    facts = record(tmp_path / "run", "prediction")["teacher_traces"]
    assert facts["mode"] == "live" and "dropout" in facts["reason"]


def test_several_teachers_store_their_traces_in_one_folder(teacher, tmp_path):
    other = shutil.copytree(next(teacher.glob("best_model_*")), tmp_path / "other")
    (other / "manifest.json").unlink()
    arrays = read_pdparams(other / "model_state.pdparams")
    write_pdparams(other / "model_state.pdparams", {name: array + 1e-3 for name, array in arrays.items()})
    more = ("--method", "logits", "--teacher_path", teacher, other, "--teacher_traces", tmp_path / "traces")
    for name in ("filled", "found"):
        run(teacher, tmp_path / name, *more)
    assert all((tmp_path / "traces" / name / "store.json").is_file() for name in ("teacher_1", "teacher_2"))
    assert [entry["teacher_traces"]["rows_computed"] for entry in record(tmp_path / "found", "prediction")["teachers"]] == [0, 0]


def test_folder_that_cannot_be_created_is_refused(teacher, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is not a folder in which files can be written"):
        run(teacher, tmp_path / "run", "--method", "logits", "--teacher_traces", tmp_path / "file" / "traces")


def test_stored_rows_are_all_computed_in_the_precision_of_the_steps(teacher, tmp_path, monkeypatch):
    inside, seen, call = [], [], Teacher.__call__

    @contextlib.contextmanager
    def autocast(precision):
        inside.append(precision)
        yield
        inside.pop()

    monkeypatch.setattr(Precision, "autocast", autocast)
    monkeypatch.setattr(Teacher, "__call__", lambda self, inputs: seen.append(bool(inside)) or call(self, inputs))
    run(teacher, tmp_path / "run", "--method", "logits", "--teacher_traces", tmp_path / "traces")
    assert seen and all(seen)


def test_store_of_another_teacher_is_refused(teacher, tmp_path):
    other = shutil.copytree(next(teacher.glob("best_model_*")), tmp_path / "teacher")
    (other / "manifest.json").unlink()
    stored = ("--method", "logits", "--teacher_traces", tmp_path / "traces")
    run(other, tmp_path / "filled", *stored)
    weights, config = other / "model_state.pdparams", other / "config.json"
    arrays, plain = read_pdparams(weights), json.loads(config.read_text())
    write_pdparams(weights, {name: array + 1e-3 for name, array in arrays.items()})
    with pytest.raises(UserError, match="teacher: stored .* wanted"):
        run(other, tmp_path / "refused", *stored)
    write_pdparams(weights, arrays)
    for changes, message in (
        ({"hidden_act": "relu"}, "hidden_act gelu.* wanted .*hidden_act relu"),
        ({"classifier_activation": "relu"}, "family bert, .* wanted family tinybert"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps 1e-12, .* wanted .*layer_norm_eps 1e-05"),
    ):
        config.write_text(json.dumps(plain | changes))  # the same weights, but another function
        with pytest.raises(UserError, match=f"teacher_architecture: stored .*{message}"):
            run(other, tmp_path / "refused", *stored)
    config.write_text(json.dumps(plain | {"hidden_dropout_prob": 0.3}))  # a teacher in eval mode has no dropout
    run(other, tmp_path / "taken", *stored)
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--teacher_mode", "train"), "add --teacher_mode eval"),
        (("--attention_reduction", "raw"), "add --attention_reduction masked"),
        (("--preset", "huawei"), "add --teacher_mode eval --attention_reduction masked --hidden_reduction masked"),
    ],
)
def test_store_is_refused_for_what_differs_between_passes(teacher, tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        run(teacher, tmp_path / "run", "--stage", "intermediate", *more, "--teacher_traces", "store")


def test_options_of_version_0_1_enable_a_store(teacher, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    run(teacher, tmp_path / "a", "--method", "logits", "--cache_knowledge", tmp_path / "traces")
    run(teacher, tmp_path / "b", "--method", "logits", "--cache_teacher")
    assert (tmp_path / "traces" / "store.json").is_file()
    assert len(list((tmp_path / "cache" / "traces").glob("*/store.json"))) == 1


def test_student_started_from_teacher_layers_trains_from_a_store(teacher, tmp_path):
    student = ("--student_init", "teacher:2,4", "--max_seq_length", "32")
    run(teacher, tmp_path / "run", *METHODS["mud"], "--teacher_traces", tmp_path / "traces", student=student)
    assert record(tmp_path / "run", "prediction")["teacher_traces"]["mode"] == "stored"

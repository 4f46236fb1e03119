"""Several teachers, and a file of soft labels among them, whose logits are averaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tinybert as tb
from tests.recipes.conftest import DEMO, SHORT, distill, logged, record
from tinybert.data.places import demo_folder
from tinybert.data.tasks import get_task
from tinybert.errors import UserError
from tinybert.kinds.registry import KINDS
from tinybert.models.loading import load_classifier
from tinybert.models.weights import read_pdparams, write_pdparams
from tinybert.recipes.averaged_traces import AveragedTraces
from tinybert.recipes.evaluate import predict
from tinybert.recipes.task_data import TaskData

LOSSES = ("--method", "logits", "--logging_steps", "1", "--T", "2", "--teacher_traces", "live", *SHORT)


def copied(teacher: Path, folder: Path, change, **config: object) -> Path:
    """A copy of a teacher with other weights and settings."""
    shutil.copytree(next(teacher.glob("best_model_*")), folder)
    (folder / "manifest.json").unlink()
    weights = folder / "model_state.pdparams"
    write_pdparams(weights, {name: change(name, array) for name, array in read_pdparams(weights).items()})
    known = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**known, **config}))
    return folder


@pytest.fixture
def second(teacher, tmp_path) -> Path:
    """A second teacher, less certain than the first one."""
    return copied(teacher, tmp_path / "second", lambda name, array: array * 0.3 if name.startswith("classifier") else array)


@pytest.fixture
def words(tinybert_folder, tmp_path) -> tuple[object, ...]:
    return "--student_model_name_or_path", tinybert_folder, *DEMO


def losses(folder: Path) -> np.ndarray:
    return np.array([line["pred"] for line in logged(folder, "prediction")])


def test_loss_of_averaged_probabilities_is_the_mean_of_the_losses(teacher, second, tmp_path):
    student = ("--student_model_name_or_path", teacher, *DEMO)  # its outputs are far from uniform
    for name, more in {
        "first": (teacher,),
        "second": (second,),
        "both": (teacher, second, "--teacher_weights", "2", "1"),
        "logits": (teacher, second, "--teacher_weights", "2", "1", "--teacher_average", "logits"),
    }.items():
        distill("--teacher_path", *more, *student, *LOSSES, "--output_dir", tmp_path / f"from-{name}")
    first, other, both, logits = (losses(tmp_path / f"from-{name}")[0] for name in ("first", "second", "both", "logits"))
    assert both == pytest.approx((2 * first + other) / 3, rel=1e-5)
    assert abs(first - other) > 0.1 and abs(logits - both) > 0.01
    found = record(tmp_path / "from-both", "prediction")
    assert found["averaged"] == {"of": "probabilities", "weights": [0.666667, 0.333333]}
    assert [entry["teacher_traces"]["mode"] for entry in found["teachers"]] == ["live", "live"]
    assert len(found["scores_of_teachers"]) == 2 and {"teacher", "teacher_2"} < set(found["models"])


def test_soft_labels_can_be_one_of_several_teachers(teacher, second, words, tmp_path):
    loaded = load_classifier(str(second), labels=("0", "1"), needs_head=True)
    store = TaskData(get_task("demo"), demo_folder(), loaded.tokenizer, 32).store("train")
    np.save(tmp_path / "a.npy", predict(loaded.model, store, 64).astype("float32"))
    weights = ("--teacher_weights", "1", "3")
    distill("--teacher_path", teacher, second, *weights, *words, *LOSSES, "--output_dir", tmp_path / "models")
    distill("--teacher_path", teacher, "--teacher_logits", tmp_path / "a.npy", *weights, *words, *LOSSES, "--output_dir", tmp_path / "file")
    np.testing.assert_allclose(losses(tmp_path / "file"), losses(tmp_path / "models"), rtol=1e-4)


def test_teachers_with_labels_in_another_order_agree(teacher, words, tmp_path):
    swapped = copied(
        teacher,
        tmp_path / "swapped",
        lambda name, array: array[..., ::-1].copy() if name.startswith("classifier") else array,
        id2label={"0": "1", "1": "0"},
        label2id={"1": 0, "0": 1},
    )
    distill("--teacher_path", teacher, *words, *LOSSES, "--output_dir", tmp_path / "one")
    distill("--teacher_path", teacher, swapped, *words, *LOSSES, "--output_dir", tmp_path / "two")
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-4)


def test_run_with_several_stored_teachers_resumes_exactly(teacher, second, words, tmp_path):
    line = ("--teacher_path", teacher, second, "--method", "logits", "--teacher_traces", "store", *words, "--max_steps", "6")
    distill(*line, "--output_dir", tmp_path / "whole")
    distill(*line, "--output_dir", tmp_path / "run", "--checkpoint_steps", "2")
    first = sorted((tmp_path / "run" / "checkpoints" / "prediction").glob("step_*"))[0]
    distill(*line, "--output_dir", tmp_path / "run", "--resume", first)
    weights = [(tmp_path / name / "final" / "model_state.pdparams").read_bytes() for name in ("whole", "run")]
    assert weights[0] == weights[1]
    with pytest.raises(UserError, match="teachers_averaged"):
        distill(*line, "--output_dir", tmp_path / "run", "--resume", "auto", "--teacher_weights", "1", "2")
    known = json.loads((second / "config.json").read_text())
    swapped = {"id2label": {"0": "1", "1": "0"}, "label2id": {"1": 0, "0": 1}}
    (second / "config.json").write_text(json.dumps({**known, **swapped}))
    left = sorted((tmp_path / "run" / "checkpoints" / "prediction").glob("step_*"))[0]
    with pytest.raises(UserError, match="teacher_2_labels"):
        distill(*line, "--output_dir", tmp_path / "run", "--resume", left)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--method", "emd"), "only the logits of several teachers are averaged, but --method emd learns"),
        (("--stage", "both"), "--method tinybert in --stage both learns the teacher's hidden states or attention"),
        (("--teacher_weights", "1"), "--teacher_weights has 1 numbers for 2 teachers"),
        (("--teacher_labels", "0,1"), "describes the outputs of one teacher"),
    ],
)
def test_what_cannot_be_averaged_is_refused(teacher, second, words, tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        distill("--teacher_path", teacher, second, *words, *more, "--output_dir", tmp_path / "run")


def test_teacher_of_other_labels_or_kind_is_refused(teacher, words, tmp_path):
    other = copied(teacher, tmp_path / "labels", lambda _, array: array, id2label={"0": "5", "1": "6"}, label2id={"5": 0, "6": 1})
    scores = copied(teacher, tmp_path / "scores", lambda _, array: array, problem_type="regression")
    for folder, message in ((other, "was trained with the labels 5, 6, but the task has 0, 1"), (scores, "was trained for regression")):
        with pytest.raises(UserError, match=message):
            distill("--teacher_path", teacher, folder, *words, *LOSSES, "--output_dir", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_scores_are_averaged_and_sets_of_labels_by_their_probabilities():
    one, other = np.array([[2.0, -1.0]]), np.array([[0.0, 3.0]])

    def average(kind: str, of: str = "probabilities") -> np.ndarray:
        return AveragedTraces([None, None], [3.0, 1.0], KINDS[kind], of, 2.0).of_logits([one, other])

    np.testing.assert_allclose(average("regression"), [[1.5, 0.0]])
    np.testing.assert_allclose(average("classification", "logits"), [[1.5, 0.0]])
    shares = (3 / (1 + np.exp(-one / 2)) + 1 / (1 + np.exp(-other / 2))) / 4
    np.testing.assert_allclose(1 / (1 + np.exp(-average("multi_label") / 2)), shares, rtol=1e-6)


def test_python_takes_a_list_of_teachers(teacher, second, tinybert_folder, tmp_path):
    training = tb.Training(max_steps=4, batch_size=8, max_seq_length=32, device="cpu")
    soft = tb.SoftLabels(logits=np.eye(2)[[int(row["label"]) for row in tb.load_task("demo").rows("train")]] * 3, labels=["0", "1"])
    run = tb.distill(
        [teacher, second, soft], tinybert_folder, tb.load_task("demo"), training=training, output_dir=tmp_path / "run",
        teacher_weights=[2, 1, 1],
    )  # fmt: skip
    assert run.record["prediction"]["averaged"]["weights"] == [0.5, 0.25, 0.25]
    assert run.teacher.path == tb.load(teacher).path
    with pytest.raises(UserError, match="soft labels that are not last"):
        tb.distill([soft, teacher], tinybert_folder, tb.load_task("demo"), training=training, output_dir=tmp_path / "other")

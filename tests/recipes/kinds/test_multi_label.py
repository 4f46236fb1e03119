"""Multi-label tasks: fine-tuning, distillation by every method, thresholds, predictions and label formats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.recipes.conftest import distill, record
from tests.recipes.kinds.conftest import QUICK, assert_compares, assert_resumes_exactly, train_teacher, write_files
from tinybert.data.custom_files import CustomFiles, custom_task
from tinybert.data.label_sets import of_label_sets
from tinybert.data.readers import read_split
from tinybert.deploy.predictor import Predictor
from tinybert.errors import UserError
from tinybert.kinds.registry import KINDS

LABELS = ("joy", "love", "pain")
OWN = ("--task_name", "moods", "--kind", "multi_label", "--text_a_column", "text", "--label_column", "moods")


def write_rows(path: Path, count: int, seed: int, labelled: bool = True) -> Path:
    """Rows in which each of three words implies its own label; a fifth of them have no label."""
    random = np.random.default_rng(seed)
    lines = ["text\tmoods" if labelled else "text"]
    for _ in range(count):
        has = random.random(3) < 0.4
        words = [f"word{i}" for i in np.flatnonzero(has)] + [f"word{i}" for i in random.integers(3, 30, 5)]
        random.shuffle(words)
        lines.append(" ".join(words) + ("\t" + "|".join(np.array(LABELS)[has]) if labelled else ""))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    return write_files(tmp_path_factory.mktemp("moods"), "{}.tsv", write_rows, 160, 60, 12)


@pytest.fixture(scope="module")
def teacher(words_encoder, files, tmp_path_factory) -> Path:
    return train_teacher(words_encoder, OWN, files, 120, tmp_path_factory.mktemp("runs") / "teacher")


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


def test_teacher_learns_several_labels_per_row_and_stores_its_threshold(teacher, files):
    best = next(teacher.glob("best_model_*"))
    scores = record(teacher, "finetune")["best"]
    assert scores["micro_f1"] > 0.9 and set(scores) >= {"micro_f1", "macro_f1", "accuracy"}
    config = config_of(best)
    assert config["problem_type"] == "multi_label_classification" and 0 < config["threshold"] < 1
    lines = (teacher / "moods.tsv").read_text().splitlines()
    task = custom_task("moods", CustomFiles(files["train"], text_a_column="text", label_column="moods", kind="multi_label"))
    assert len(lines) == 13 and all(set(filter(None, line.split("\t")[1].split("|"))) <= set(task.labels) for line in lines[1:])
    assert any("|" in line for line in lines[1:])


def test_predictions_follow_the_models_threshold(teacher):
    found = Predictor.open(next(teacher.glob("best_model_*"))).predict(["word0 word1 word9", "word2 word8", "word8 word9"])
    assert [prediction.label for prediction in found] == ["joy|love", "pain", ""]
    assert all(0 <= share <= 1 for prediction in found for share in prediction.probabilities.values())


@pytest.mark.parametrize(
    ("method", "stage"), [("tinybert", "both"), ("logits", "prediction"), ("emd", "prediction"), ("mud", "both"), ("none", "prediction")]
)
def test_every_method_distils_a_multi_label_teacher(method, stage, teacher, rows, tmp_path):
    more = () if method != "mud" else ("--keep_hidden", "0.5", "--hidden_scheme", "uniform_mask")
    distill(
        "--teacher_path", teacher, "--student_init", "teacher:1", *rows, *QUICK, "--max_steps", 60, "--method", method, "--stage", stage,
        *more, "--output_dir", tmp_path, "--alpha", "0.5",
    )  # fmt: skip
    assert record(tmp_path, "prediction")["best"]["micro_f1"] > 0.8
    assert config_of(tmp_path / "best_model")["problem_type"] == "multi_label_classification"


def test_stopped_run_resumes_exactly(teacher, rows, tmp_path):
    line = ("--teacher_path", teacher, "--student_init", "teacher:1", *rows, *QUICK, "--method", "logits", "--checkpoint_steps", 10)
    assert_resumes_exactly(line, tmp_path)


def test_teacher_of_another_kind_is_refused(teacher, words_encoder, rows, files, tmp_path):
    single = ("--task_name", "moods", "--labels", ",".join(LABELS), *rows[4:])
    single_rows = tmp_path / "single.tsv"
    single_rows.write_text("text\tmoods\n" + "".join(f"word{i % 3} word9\t{LABELS[i % 3]}\n" for i in range(12)))
    own = [*single[:8], "--train_file", single_rows, "--dev_file", single_rows]
    with pytest.raises(UserError, match="trained for multi-label classification.*\n.*--kind multi_label"):
        distill("--teacher_path", teacher, "--student_init", "teacher:1", *own, *QUICK, "--max_steps", 2, "--output_dir", tmp_path / "out")


# === Reading and scoring ===


def test_labels_are_read_from_bars_commas_and_lists(tmp_path):
    texts = {"bars.tsv": "text\tmoods\na\tjoy|love\nb\t\nc\tpain\nd\tlove|pain\ne\tjoy\n"}
    texts["commas.tsv"] = texts["bars.tsv"].replace("|", ",")
    values = (["joy", "love"], [], ["pain"], ["love", "pain"], ["joy"])
    texts["lists.jsonl"] = "".join(json.dumps({"text": t, "moods": m}) + "\n" for t, m in zip("abcde", values, strict=True))
    expected = [[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0]]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        files = CustomFiles(tmp_path / name, text_a_column="text", label_column="moods", kind="multi_label")
        task = custom_task("moods", files)
        assert task.labels == LABELS and task.num_outputs == 3
        assert read_split(task, tmp_path, "train").labels.tolist() == expected


def test_unknown_label_beside_a_known_one_is_refused_with_its_line(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tmoods\na\tjoy|love\nb\tjoy|anger\n")
    files = CustomFiles(tmp_path / "a.tsv", text_a_column="text", label_column="moods", kind="multi_label", labels="joy,love")
    with pytest.raises(UserError, match="line 3.*'joy|anger'.*any of joy, love"):
        read_split(custom_task("moods", files), tmp_path, "train")


def test_scores_match_scikit_learn_with_zero_division_0():
    from sklearn.metrics import accuracy_score, f1_score

    random = np.random.default_rng(0)
    gold, predicted = random.random((50, 4)) < 0.3, random.random((50, 4)) < 0.3
    gold[:, 3] = predicted[:, 3] = False
    found = of_label_sets(("micro_f1", "macro_f1", "accuracy"), predicted, gold.astype(np.uint8))
    assert found["micro_f1"] == pytest.approx(f1_score(gold, predicted, average="micro", zero_division=0))
    assert found["macro_f1"] == pytest.approx(f1_score(gold, predicted, average="macro", zero_division=0))
    assert found["accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    perfect = of_label_sets(("macro_f1",), np.array([[True, False]]), np.array([[1, 0]], np.uint8))
    assert perfect["macro_f1"] == 0.5  # a label that is neither gold nor predicted counts as 0


def test_threshold_is_the_best_one_on_the_dev_set():
    kind, gold = KINDS["multi_label"], np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.uint8)
    shares = np.array([[0.4, 0.1], [0.3, 0.2], [0.1, 0.25], [0.2, 0.1]])
    logits = np.log(shares / (1 - shares))
    task = type("T", (), {"name": "t", "num_outputs": 2, "metrics": ("micro_f1",), "labels": ("a", "b"), "metric": "micro_f1"})
    decision = kind.decide(task, logits, gold)
    assert decision == {"threshold": pytest.approx(0.25)}
    assert kind.score(task, logits, gold, decision)["micro_f1"] == 1.0
    assert kind.score(task, logits, gold)["micro_f1"] == 0.0


def test_constant_multi_label_teacher_is_weak_and_a_good_one_is_not():
    kind, random = KINDS["multi_label"], np.random.default_rng(1)
    gold = (random.random((400, 3)) < [0.6, 0.3, 0.2]).astype(np.uint8)
    task = own = type("T", (), {"name": "t", "num_outputs": 3, "metrics": ("micro_f1",), "labels": LABELS, "metric": "micro_f1"})
    assert kind.score_teacher(own, np.tile([3.0, -1, -2], (400, 1)), gold).weak
    good = kind.score_teacher(task, 4.0 * gold - 2 + random.standard_normal(gold.shape), gold)
    assert not good.weak and good.better_order is None
    turned = kind.score_teacher(task, (4.0 * gold - 2)[:, [1, 2, 0]], gold)
    assert turned.better_order == ("love", "pain", "joy")


def test_multi_label_students_are_compared(teacher, rows, runs_in_this_process, tmp_path):
    assert_compares(teacher, rows, 32, tmp_path / "out")

"""The task table agrees with PaddleNLP's reader, and tasks are found in any spelling."""

import subprocess
import sys

import pytest

from tinybert.data.tasks import GLUE_TASKS, TASKS, get_task
from tinybert.errors import UserError


@pytest.mark.parametrize("name", GLUE_TASKS)
def test_columns_and_label_order_match_paddlenlp(name):
    table = pytest.importorskip("paddlenlp.datasets.glue").Glue.BUILDER_CONFIGS[name.lower()]
    task = get_task(name)
    assert list(task.labels) == (table["labels"] or [])
    assert set(task.splits) - {"train_aug"} == set(table["splits"])
    for split, (member, _, columns, skipped_lines) in table["splits"].items():
        ours = task.splits[split]
        assert [c for c in (ours.text_a, ours.text_b, ours.label) if c is not None] == list(columns), split
        assert f"{task.folder}/{ours.file}" == member.replace("\\", "/")
        assert ours.header == bool(skipped_lines)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("sst-2", "SST-2"),
        ("SST2", "SST-2"),
        ("STS-b", "STS-B"),
        ("mnli-mm", "MNLI"),
        ("cola", "CoLA"),
        ("Demo", "demo"),
    ],
)
def test_task_is_found_in_any_published_spelling(spelled, name):
    assert get_task(spelled).name == name


def test_mistyped_task_is_answered_with_the_nearest_and_the_list():
    with pytest.raises(UserError, match=r"Did you mean QNLI\?") as error:
        get_task("qnil")
    assert all(name in str(error.value) for name in TASKS)


def test_mnli_is_evaluated_on_matched_and_mismatched_separately():
    assert get_task("mnli").eval_splits == ("dev_matched", "dev_mismatched")
    assert get_task("mnli").test_splits == ("test_matched", "test_mismatched")


def test_augmented_file_is_read_like_train_for_every_task():
    for task in TASKS.values():
        train, aug = task.splits["train"], task.splits["train_aug"]
        assert aug.file.replace("_aug", "") == train.file and aug.file.count("_aug.") == 1
        assert (aug.text_a, aug.text_b, aug.label, aug.header) == (
            train.text_a,
            train.text_b,
            train.label,
            train.header,
        )


def test_selection_metric_is_one_of_the_reported_metrics():
    assert all(task.metric in task.metrics for task in TASKS.values())
    assert {task.name for task in TASKS.values() if task.kind.name == "regression"} == {"STS-B"}


def test_unknown_split_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="dev_matched"):
        get_task("mnli").split("dev")


def test_data_modules_do_not_import_paddle():
    modules = ["tasks", "places", "download", "readers", "tokenizer", "layout", "store", "batches", "metrics"]
    code = "import sys\n" + "\n".join(f"import tinybert.data.{name}" for name in modules)
    code += "\nprint([name for name in ('paddle', 'paddlenlp', 'sklearn', 'scipy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

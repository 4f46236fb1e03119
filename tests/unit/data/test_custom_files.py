"""Own files become the intended task, and a wrong description of them is refused before work begins."""

import numpy as np
import pytest

from tinybert.cli.parser import parse
from tinybert.commands.distill import TaskDistillConfig
from tinybert.commands.finetune import FinetuneConfig
from tinybert.data.custom_files import CustomFiles, custom_task, in_order, listed_labels, with_custom_files, with_metric
from tinybert.data.places import locate
from tinybert.data.readers import read_split
from tinybert.data.store import TokenStore
from tinybert.data.tasks import get_task
from tinybert.errors import UserError


def written(folder, **files):
    """Write files by name; the last underscore of a name stands for the dot. Returns their paths by stem."""
    paths = {}
    for name, text in files.items():
        stem, suffix = name.rsplit("_", 1)
        paths[f"{stem}_file"] = folder / f"{stem}.{suffix}"
        paths[f"{stem}_file"].write_text(text, encoding="utf-8", newline="")
    return paths


NAMED = {"text_a_column": "text", "label_column": "label"}


def own(folder, files, **more):
    """The task of newly written files."""
    return custom_task("own", CustomFiles(**written(folder, **files), **{**NAMED, **more}))


def labels_from(folder, labels, **more):
    """The labels found in a training file whose rows have these."""
    return own(folder, {"train_csv": "text,label\n" + "".join(f"a,{label}\n" for label in labels)}, **more).labels


# === Labels ===


def test_labels_are_sorted_naturally(folder):
    assert labels_from(folder, ["10", "9", "-1", "10"]) == ("-1", "9", "10")
    assert labels_from(folder, ["b", "a", "10", "9"]) == ("10", "9", "a", "b")
    assert labels_from(folder, ["1.0", "1", "0"], allow_suspicious_labels=True) == ("0", "1", "1.0")
    assert in_order(["nan", "1", "inf"]) == ("1", "inf", "nan")
    assert labels_from(folder, ["中", "文"]) == ("中", "文")


def test_label_order_does_not_depend_on_the_file_order(folder):
    assert labels_from(folder, ["b", "a", "c"]) == labels_from(folder, ["c", "b", "a"])


def test_given_labels_keep_their_order_and_may_hold_commas(folder):
    task = own(folder, {"dev_tsv": "text\tlabel\na\tnot, related\nb\tvery good\n"}, labels='very good,"not, related",new')
    assert task.labels == ("very good", "not, related", "new")
    assert read_split(task, "", "dev").labels.tolist() == [1, 0]


@pytest.mark.parametrize("text", ["a", "a,a", "a,,b", "", 'a,"b', "a,b\tc"])
def test_labels_that_make_no_classification_are_refused(text):
    with pytest.raises(UserError, match="--labels"):
        listed_labels(text)


def test_single_label_is_refused_with_a_hint_at_regression(folder):
    with pytest.raises(UserError, match=r"only the label 'yes'.*--kind regression"):
        labels_from(folder, ["yes", "yes"])


def test_column_of_texts_is_not_accepted_as_labels(folder, monkeypatch):
    monkeypatch.setattr("tinybert.data.custom_files.MAX_LABELS", 3)
    with pytest.raises(UserError, match="more than 3 different labels in 'label'"):
        labels_from(folder, "abcd")


def test_row_without_a_label_is_reported(folder):
    with pytest.raises(UserError, match=r"train\.csv, line 3: found an empty label"):
        labels_from(folder, ["a", "", "b"])


def test_dev_label_missing_from_training_is_reported(folder):
    task = own(folder, {"train_csv": "text,label\na,0\nb,1\n", "dev_csv": "text,label\na,0\nb,2\n"})
    with pytest.raises(UserError, match=r"dev\.csv, line 3: found the label '2' in column 'label', expected one of 0, 1"):
        read_split(task, locate(task, splits=["dev"]), "dev")


# === Columns and formats ===


def test_all_four_formats_give_the_same_rows(folder):
    contents = {
        "train_tsv": "label\ttext\nb\tone\na\ttwo\n",
        "train_csv": 'label,text\r\nb,"one"\r\na,two\r\n',
        "train_jsonl": '{"label": "b", "text": "one"}\n{"text": "two", "label": "a"}\n',
        "train_json": '[{"label": "b", "text": "one"}, {"text": "two", "label": "a"}]',
    }
    for name, text in contents.items():
        task = own(folder, {name: text})
        examples = read_split(task, "", "train")
        assert (task.labels, examples.text_a, examples.labels.tolist()) == (("a", "b"), ["one", "two"], [1, 0]), name
        assert task.split("train_aug").file == str(folder / f"train_aug.{name.split('_')[1]}")


def test_columns_by_number_work_without_a_header(folder):
    task = own(folder, {"train_tsv": "b\tone\nc\ttwo\n"}, header=False, text_a_column="1", label_column="0")
    assert task.labels == ("b", "c") and read_split(task, "", "train").text_a == ["one", "two"]


def test_header_name_takes_precedence_over_a_column_number(folder):
    task = own(folder, {"train_csv": "1,0\na,x\nb,y\n"}, text_a_column="1", label_column="0")
    assert task.labels == ("x", "y") and read_split(task, "", "train").text_a == ["a", "b"]


def test_columns_are_found_by_each_files_own_header(folder):
    files = {"train_csv": "text,label\na,0\nb,1\n", "dev_csv": "id,label,text\n7,1,c\n", "test_csv": "id,text\n7,d\n8,e\n"}
    task = own(folder, files)
    assert read_split(task, "", "dev").text_a == ["c"]
    test = read_split(task, "", "test")
    assert (test.text_a, test.labels, test.ids) == (["d", "e"], None, ["0", "1"])


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ({"text_a_column": None}, ["--text_a_column is missing", "columns text, label"]),
        ({"label_column": None}, ["--label_column is missing", "columns text, label"]),
        ({"text_a_column": "body"}, ["--text_a_column body", "columns text, label"]),
        ({"label_column": "2"}, ["--label_column 2", "numbered from 0"]),
        ({"header": False}, ["--text_a_column text", "--header False"]),
        ({"header": False, "text_a_column": "0", "label_column": "5"}, ["line 1", "2 columns", "at least 6"]),
        ({"file_format": "json"}, ["line 1", "bracket"]),
        ({"file_format": "tsv"}, ["--text_a_column text", "columns text,label"]),
    ],
)
def test_wrong_column_options_are_reported_with_the_columns_found(folder, more, parts):
    with pytest.raises(UserError) as error:
        own(folder, {"train_csv": "text,label\na,0\nb,1\n"}, **more)
    for part in (*parts, "train.csv" if "header" not in more else ""):
        assert part in str(error.value)


def test_missing_file_or_key_is_reported(folder):
    with pytest.raises(UserError, match=r"gone\.csv does not exist"):
        custom_task("own", CustomFiles(train_file=folder / "gone.csv", **NAMED))
    with pytest.raises(UserError, match="is a folder"):
        custom_task("own", CustomFiles(train_file=folder, **NAMED))
    with pytest.raises(UserError, match=r"train\.jsonl, line 2: found the keys 'text', expected the key 'label'"):
        own(folder, {"train_jsonl": '{"text": "a", "label": 1}\n{"text": "b"}\n'})
    task = own(folder, {"train_csv": "text,label\na,0\nb,1\n"})
    with pytest.raises(UserError, match=r"train_aug\.csv does not exist: --use_aug"):
        locate(task, splits=["train_aug"])


def test_own_files_are_never_looked_up_elsewhere(folder, monkeypatch):
    monkeypatch.setattr("tinybert.data.download.download_task", lambda *_: pytest.fail("nothing may be downloaded"))
    task = custom_task("demo", CustomFiles(**written(folder, train_csv="text,label\na,0\nb,1\n"), **NAMED))
    assert read_split(task, locate(task, splits=["train"]), "train").text_a == ["a", "b"]
    (folder / "train.csv").unlink()
    with pytest.raises(UserError, match=r"train\.csv does not exist"):
        locate(task, splits=["train"])


def test_other_columns_or_labels_give_a_new_token_store(folder, word_pieces, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    files = {"train_csv": "text,other,label\na,b,0\nb,c,1\n"}
    built = [
        TokenStore.build_or_open(own(folder, files, **more), "", "train", word_pieces, 16)
        for more in ({}, {"text_a_column": "other"}, {"text_b_column": "other"}, {"labels": "1,0"}, {"quoting": "none"}, {})
    ]
    assert sum(path.is_dir() for path in (tmp_path / "cache" / "tokens").iterdir()) == 5
    assert built[0].labels.tolist() == [0, 1] and built[3].labels.tolist() == [1, 0]


# === Scores and metrics ===


def test_regression_scores_are_read_unchanged(folder):
    task = own(folder, {"train_csv": "text,label\na,-12.5\nb,300\n"}, kind="regression")
    examples = read_split(task, "", "train")
    assert examples.labels.tolist() == [-12.5, 300] and examples.labels.dtype == np.float32
    assert (task.num_outputs, task.metric) == (1, "pearson_and_spearman")


def test_only_sts_b_predictions_are_clipped_to_0_and_5(folder, tmp_path):
    from tinybert.report.submission import write_submission

    logits = np.array([[-12.5], [300.0]])
    task = own(folder, {"train_csv": "text,label\na,-12.5\nb,300\n"}, kind="regression")
    assert "-12.500" in write_submission(tmp_path, task, "test", None, logits).read_text()
    assert "5.000" in write_submission(tmp_path, get_task("sts-b"), "test", None, logits).read_text()


def test_metric_must_fit_the_kind_of_task(folder):
    two, three = (own(folder, {"train_csv": "text,label\n" + "".join(f"a,{i}\n" for i in range(n))}) for n in (2, 3))
    assert (two.metrics, three.metrics, three.metric) == (("accuracy", "macro_f1", "f1"), ("accuracy", "macro_f1"), "accuracy")
    assert with_metric(three, "mcc").metrics == ("accuracy", "macro_f1", "mcc") and with_metric(three, "mcc").metric == "mcc"
    assert with_metric(three, None) is three
    for task, metric in ((three, "f1"), (three, "pearson"), (get_task("sts-b"), "accuracy")):
        with pytest.raises(UserError, match=f"--metric got '{metric}'"):
            with_metric(task, metric)


def test_known_task_predicts_own_rows(folder):
    files = CustomFiles(**written(folder, test_tsv="id\tbody\n7\tgood film\n"), text_a_column="body")
    task = with_custom_files(get_task("mnli"), files)
    assert task.test_splits == ("test",) and task.eval_splits == ("dev_matched", "dev_mismatched")
    assert read_split(task, folder, "test").text_a == ["good film"]


# === Contradictions on the command line ===

FILES = ["--train_file", "t.csv", "--dev_file", "d.csv", "--text_a_column", "text", "--label_column", "label"]
CONTRADICTIONS = [
    (["--labels", "a,b"], "--labels applies only to your own files"),
    (["--header", "False"], "--header applies only to your own files"),
    (["--kind", "regression"], "--kind applies only to your own files"),
    ([*FILES, "--regression", "--labels", "a,b"], "--kind regression and --labels contradict"),
    ([*FILES, "--data_dir", "x"], "--data_dir and your own files contradict"),
    ([*FILES, "--glue_dir", "x"], "--glue_dir and your own files contradict"),
    ([*FILES, "--text_b_column", "text"], "--text_a_column and --text_b_column are both text"),
    ([*FILES, "--file_format", "jsonl", "--header", "True"], "--header applies only to TSV and CSV"),
    ([*FILES, "--do_train", "--do_predict"], "--do_predict has nothing to predict"),
    (["--train_file", "t.csv"], "--dev_file is missing"),
    (["--dev_file", "t.csv"], "--train_file is missing"),
    (["--train_file", "t.csv", "--do_eval"], "--dev_file is missing"),
    (["--train_file", "t.json", "--dev_file", "d.jsonl", "--quoting", "csv"], "--quoting applies only to TSV and CSV"),
    (["--test_file", "t.csv"], "--test_file is only used by --do_predict"),
    ([*FILES, "--task_name", "../x"], "is used in folder and file names"),
    ([*FILES, "--task_name", ".."], "is used in folder and file names"),
    ([*FILES, "--metric", "bleu"], "--metric got 'bleu'"),
]


@pytest.mark.parametrize("which", [FinetuneConfig, TaskDistillConfig])
@pytest.mark.parametrize(("words", "message"), CONTRADICTIONS, ids=[str(i) for i in range(len(CONTRADICTIONS))])
def test_contradicting_options_are_refused_before_opening_files(which, words, message):
    models = ["--model_name_or_path", "m"]
    if which is TaskDistillConfig:
        models = ["--teacher_path", "t", "--student_model_name_or_path", "s", "--output_dir", "o"]
    with pytest.raises(UserError) as error:
        parse(which, ["--task_name", "sst-2"] * ("--task_name" not in words) + models + words)
    assert message in str(error.value)


def test_validation_file_is_an_alias_of_dev_file():
    words = ["--task_name", "my reviews", "--model_name_or_path", "m", "--train_file", "t.csv", "--validation_file", "d.csv"]
    assert parse(FinetuneConfig, words).dev_file.name == "d.csv"

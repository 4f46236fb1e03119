"""The Chinese tasks agree with PaddleNLP's readers and with the published files."""

import json

import numpy as np
import pytest

from tinybert.config.preset import read_preset
from tinybert.data.custom_files import CustomFiles, custom_task
from tinybert.data.readers import read_split
from tinybert.data.rewriting import Rewriter
from tinybert.data.tasks import CLUE_TASKS, get_task
from tinybert.errors import UserError
from tinybert.report.submission import write_submission

REAL = [
    ("TNEWS", "train", 53360, "108", "上课时学生手机响个不停", None),
    ("TNEWS", "dev", 10000, "102", "江疏影甜甜圈自拍", None),
    ("TNEWS", "test", 10000, None, "A股：2个细分领域龙头", None),
    ("AFQMC", "train", 34334, "0", "蚂蚁借呗等额还款", "借呗有先息到期"),
    ("AFQMC", "dev", 4316, "0", "双十一花呗提额在哪", "里可以提花呗额度"),
    ("AFQMC", "test", 3861, None, "借呗什么时候会取消", "蚂蚁借呗什么时候"),
    ("ChnSentiCorp", "train", 9600, "1", "选择珠江花园的原因", None),
    ("ChnSentiCorp", "dev", 1200, "1", "這間酒店環境", None),
    ("ChnSentiCorp", "test", 1200, None, "这个宾馆比较陈旧", None),
]


@pytest.mark.parametrize(("name", "split", "rows", "label", "text_a", "text_b"), REAL)
def test_official_files_give_the_official_rows_and_columns(real_data, name, split, rows, label, text_a, text_b):
    task = get_task(name)
    folder = real_data / task.home / task.folder
    if not (folder / task.split(split).file).is_file():
        pytest.skip(f"no {name} {split} here: put it into {folder}")
    examples = read_split(task, folder, split)
    assert len(examples) == rows and examples.text_a[0].startswith(text_a)
    assert (examples.text_b is None) == (text_b is None) and (text_b is None or examples.text_b[0].startswith(text_b))
    if label is None:
        assert examples.labels is None and examples.ids == [str(i) for i in range(rows)]
    else:
        assert task.labels[examples.labels[0]] == label and set(examples.labels) == set(range(len(task.labels)))


def test_labels_of_tnews_are_those_of_its_labels_file(real_data):
    file = real_data / "Clue" / "TNEWS" / "labels.json"
    if not file.is_file():
        pytest.skip(f"no {file} here")
    assert get_task("tnews").labels == tuple(json.loads(line)["label"] for line in file.read_text("utf-8").splitlines())


@pytest.mark.parametrize("name", CLUE_TASKS)
def test_files_labels_and_folders_match_paddlenlp(name):
    entry = pytest.importorskip("paddlenlp.datasets.clue").Clue.BUILDER_CONFIGS[name.lower()]
    task = get_task(name)
    assert list(task.labels) == entry["labels"]
    for split in ("train", "dev", "test"):
        assert f"{task.also[0]}/{task.split(split).file}" == entry["splits"][split][0]


def test_files_of_chnsenticorp_match_paddlenlp():
    published = pytest.importorskip("paddlenlp.datasets.chnsenticorp").ChnSentiCorp.SPLITS
    task = get_task("ChnSentiCorp")
    assert {split: published[split].file.split("/")[-1] for split in published} == {
        split: task.split(split).file for split in ("train", "dev", "test")
    }


def made_up(folder, task, split, rows):
    """A file of JSON lines."""
    file = folder / task.split(split).file
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("name", ["ocnli", "cmnli"])
@pytest.mark.parametrize("split", ["train", "dev"])
def test_rows_without_annotator_agreement_are_skipped_and_counted(folder, capsys, name, split):
    task = get_task(name)
    rows = [{"sentence1": f"句{i}", "sentence2": "子", "label": label} for i, label in enumerate(["neutral", "-", "entailment", "-"])]
    made_up(folder, task, split, rows)
    examples = read_split(task, folder, split)
    assert examples.text_a == ["句0", "句2"] and [task.labels[i] for i in examples.labels] == ["neutral", "entailment"]
    assert "2 rows labelled - were skipped" in capsys.readouterr().err


def test_task_with_119_labels_is_read(folder):
    task = get_task("iflytek")
    made_up(folder, task, "train", [{"label": str(i), "label_des": "x", "sentence": "应用"} for i in (118, 0, 7)])
    assert read_split(task, folder, "train").labels.tolist() == [118, 0, 7]
    made_up(folder, task, "test", [{"id": 0, "sentence": "应用"}])
    assert read_split(task, folder, "test").ids == ["0"]


def test_chnsenticorp_copies_with_an_id_column_are_read_by_name(folder):
    task = get_task("chnsenticorp")
    (folder / "dev.tsv").write_text("qid\tlabel\ttext_a\n0\t1\t很好\n", encoding="utf-8")
    (folder / "test.tsv").write_text("qid\ttext_a\n0\t很差\n", encoding="utf-8")
    assert read_split(task, folder, "dev").text_a == ["很好"] and read_split(task, folder, "test").text_a == ["很差"]


@pytest.mark.parametrize("preset", ["sound", "paper", "huawei", "paddlenlp"])
def test_chinese_tasks_have_a_max_seq_length_of_128(preset):
    for name in (*CLUE_TASKS, "ChnSentiCorp"):
        for stage in ("intermediate", "finetune"):
            assert read_preset(preset).values("finetune" if stage == "finetune" else "distill", stage, name)["max_seq_length"] == 128
    assert read_preset("sound").values("distill", "intermediate", "SST-2")["max_seq_length"] == 64


# === Records and predictions of CLUE ===

CSL = {"id": 1, "abst": "为解决问题，提出方法。", "keyword": ["水体", "重构"], "label": "0"}
WSC = {
    "target": {"span2_index": 6, "span1_index": 2, "span1_text": "手机", "span2_text": "它"}, "idx": 3, "label": "false",
    "text": "床上手机响，它很吵",
}  # fmt: skip


def test_csl_keywords_and_abstract_form_a_pair(folder):
    task = get_task("csl")
    made_up(folder, task, "train", [CSL, {**CSL, "label": "1"}])
    made_up(folder, task, "test", [{"id": 7, "abst": "文", "keyword": ["词"]}])
    examples = read_split(task, folder, "train")
    assert examples.text_a[0] == "水体 重构" and examples.text_b[0] == CSL["abst"] and examples.labels.tolist() == [0, 1]
    assert read_split(task, folder, "test").ids == ["7"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({}, "床上_手机_响，[它]很吵"),
        ({"span1_text": "它", "span1_index": 6, "span2_text": "手机", "span2_index": 2}, "床上[手机]响，_它_很吵"),
        ({"span2_text": "床", "span2_index": 0}, "[床]上_手机_响，它很吵"),
    ],
)
def test_both_spans_of_cluewsc_are_marked(folder, target, expected):
    task = get_task("cluewsc")
    made_up(folder, task, "dev", [{**WSC, "target": WSC["target"] | target}, {**WSC, "label": "true"}])
    examples = read_split(task, folder, "dev")
    assert examples.text_a[0] == expected and examples.text_b is None and examples.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("csl", {**CSL, "keyword": "水体"}),
        ("csl", {key: value for key, value in CSL.items() if key != "abst"}),
        ("cluewsc", {**WSC, "target": WSC["target"] | {"span1_index": 1}}),
        ("cluewsc", {**WSC, "target": "手机"}),
    ],
)
def test_record_without_its_texts_is_refused_with_a_line_number(folder, name, row):
    task = get_task(name)
    made_up(folder, task, "dev", [CSL if name == "csl" else WSC, row])
    with pytest.raises(UserError, match="line 2"):
        read_split(task, folder, "dev")


@pytest.mark.parametrize(
    ("name", "file", "label"),
    [
        ("TNEWS", "tnews11_predict.json", "100"),
        ("AFQMC", "afqmc_predict.json", "0"),
        ("IFLYTEK", "iflytek_predict.json", "0"),
        ("OCNLI", "ocnli_50k_predict.json", "entailment"),
        ("CMNLI", "cmnli_predict.json", "contradiction"),
        ("CSL", "csl_predict.json", "0"),
        ("CLUEWSC2020", "cluewsc11_predict.json", "true"),
    ],
)
def test_predictions_have_the_format_that_clue_accepts(tmp_path, name, file, label):
    task = get_task(name)
    path = write_submission(tmp_path, task, "test", ["5", "6"], np.eye(task.num_outputs)[[0, 1]])
    assert path.name == file
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines == [{"id": 5, "label": label}, {"id": 6, "label": task.labels[1]}]


def test_own_rows_without_a_gold_label_are_skipped_and_counted(tmp_path, capsys):
    rows = [("a", "yes"), ("b", "-"), ("c", "no"), ("d", "-")]
    (tmp_path / "train.tsv").write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows * 3))
    files = {"train_file": tmp_path / "train.tsv", "text_a_column": "text", "label_column": "label"}
    task = custom_task("mine", CustomFiles(**files))
    assert task.labels == ("no", "yes") and len(read_split(task, tmp_path, "train")) == 6
    assert "6 rows labelled - were skipped" in capsys.readouterr().err
    named = custom_task("mine", CustomFiles(**files, labels="no,yes,-"))
    assert named.labels == ("no", "yes", "-") and len(read_split(named, tmp_path, "train")) == 12


def test_a_single_own_row_without_a_gold_label_is_skipped(tmp_path):
    labels = ["yes", "no"] * 10 + ["-"]
    (tmp_path / "train.tsv").write_text("text\tlabel\n" + "".join(f"{i}\t{label}\n" for i, label in enumerate(labels)))
    task = custom_task("mine", CustomFiles(train_file=tmp_path / "train.tsv", text_a_column="text", label_column="label"))
    assert task.labels == ("no", "yes") and len(read_split(task, tmp_path, "train")) == 20


def test_texts_made_from_several_keys_cannot_be_augmented(folder):
    task = get_task("csl")
    with pytest.raises(UserError, match="combine several keys"):
        Rewriter.of(task.split("train"), [], json.dumps(CSL), False)

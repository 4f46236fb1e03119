"""The Chinese tasks agree with PaddleNLP's readers and with the published files."""

import json

import pytest

from tinybert.config.presets import PRESETS
from tinybert.data.readers import read_split
from tinybert.data.tasks import CLUE_TASKS, get_task

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
def test_real_files_give_the_official_rows_and_columns(real_data, name, split, rows, label, text_a, text_b):
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


def test_the_labels_of_tnews_are_those_of_its_own_file(real_data):
    file = real_data / "Clue" / "TNEWS" / "labels.json"
    if not file.is_file():
        pytest.skip(f"no {file} here")
    assert get_task("tnews").labels == tuple(json.loads(line)["label"] for line in file.read_text("utf-8").splitlines())


@pytest.mark.parametrize("name", CLUE_TASKS)
def test_files_labels_and_folders_are_those_of_paddlenlp(name):
    entry = pytest.importorskip("paddlenlp.datasets.clue").Clue.BUILDER_CONFIGS[name.lower()]
    task = get_task(name)
    assert list(task.labels) == entry["labels"]
    for split in ("train", "dev", "test"):
        assert f"{task.also[0]}/{task.split(split).file}" == entry["splits"][split][0]


def test_the_files_of_chnsenticorp_are_those_of_paddlenlp():
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
def test_rows_on_which_the_annotators_disagreed_are_left_out_and_counted(folder, capsys, name, split):
    task = get_task(name)
    rows = [{"sentence1": f"句{i}", "sentence2": "子", "label": label} for i, label in enumerate(["neutral", "-", "entailment", "-"])]
    made_up(folder, task, split, rows)
    examples = read_split(task, folder, split)
    assert examples.text_a == ["句0", "句2"] and [task.labels[i] for i in examples.labels] == ["neutral", "entailment"]
    assert "2 rows labelled - were left out" in capsys.readouterr().err


def test_a_task_of_119_labels_is_read(folder):
    task = get_task("iflytek")
    made_up(folder, task, "train", [{"label": str(i), "label_des": "x", "sentence": "应用"} for i in (118, 0, 7)])
    assert read_split(task, folder, "train").labels.tolist() == [118, 0, 7]
    made_up(folder, task, "test", [{"id": 0, "sentence": "应用"}])
    assert read_split(task, folder, "test").ids == ["0"]


def test_copies_of_chnsenticorp_with_a_number_before_the_label_are_read_by_name(folder):
    task = get_task("chnsenticorp")
    (folder / "dev.tsv").write_text("qid\tlabel\ttext_a\n0\t1\t很好\n", encoding="utf-8")
    (folder / "test.tsv").write_text("qid\ttext_a\n0\t很差\n", encoding="utf-8")
    assert read_split(task, folder, "dev").text_a == ["很好"] and read_split(task, folder, "test").text_a == ["很差"]


@pytest.mark.parametrize("preset", ["sound", "paper", "huawei", "paddlenlp"])
def test_chinese_texts_are_not_cut_at_the_length_of_english_sentences(preset):
    for name in (*CLUE_TASKS, "ChnSentiCorp"):
        for stage in ("intermediate", "finetune"):
            assert PRESETS[preset].values(stage, name)["max_seq_length"] == 128
    assert PRESETS["sound"].values("intermediate", "SST-2")["max_seq_length"] == 64

"""Wrong command lines and files end with a message and exit code 2, and nothing is written."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from tinybert.cli.main import main

DISTILL = "distill --teacher_path {world}/bert --student_model_name_or_path {world}/tinybert --task_name SST-2 --glue_dir {world}/glue "
FINETUNE = "finetune --model_name_or_path {world}/bert --task_name SST-2 --glue_dir {world}/glue --max_seq_length 16 "
OWN = "finetune --model_name_or_path {world}/bert --task_name reviews --max_seq_length 16 --text_a_column text --label_column label "


@pytest.fixture
def refused(world, tmp_path, monkeypatch, capsys):
    """Run a command line that must be rejected with this message, and check for files it left behind."""
    monkeypatch.setenv("TINYBERT_MIRROR", "http://127.0.0.1:9")  # no server is listening there
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODEL_HOME", str(tmp_path / "models"))

    def run(line: str, words: str, made: bool = False) -> None:
        before = _contents(world), _contents(tmp_path)
        argv = [*line.format(world=world, tmp=tmp_path).split(), "--output_dir", str(tmp_path / "out")]
        assert main(argv) == 2
        message = capsys.readouterr().err
        assert words.format(world=world, tmp=tmp_path) in message and "Traceback" not in message
        assert made or not (tmp_path / "out").exists()
        assert (_contents(world), _contents(tmp_path)) == before

    return run


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "tokens" not in path.parts}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--task_name SST-3", "There is no task 'SST-3'. Did you mean SST-2?"),
        ("--teacher_path {world}/headless", "has no trained classifier"),
        ("--teacher_path {world}/three", "has 3 outputs, but the task has 2 labels (0, 1)"),
        ("--teacher_path {world}/none", "the teacher {world}/none does not exist"),
        ("--teacher_path {world}/glue", "{world}/glue is not a model folder.\nExpected config.json, weights and vocab.txt"),
        ("--teacher_path {tmp}", "with best_model* inside; found nothing"),
        ("--task_name RTE", "was trained with the labels 0, 1, but the task has entailment, not_entailment"),
        ("--task_name STS-B", "was trained for classification"),
        ("--task_name WNLI", "The data of WNLI is not there and could not be downloaded"),
        ("--task_name WNLI --intermediate_distill", "The data of WNLI is not there"),
        ("--data_dir {world}/bert", "lacks train.tsv, dev.tsv"),
        ("--data_dir {world}/nowhere", "The data folder {world}/nowhere does not exist"),
        ("--glue_dir {world}/nowhere", "--glue_dir {world}/nowhere is not a folder"),
        ("--student_model_name_or_path {world}/tinybrt", "tinybrt does not exist"),
        ("--student_model_name_or_path tinybert-4l-312d-v3", "Did you mean tinybert-4l-312d-v2"),
        ("--learning_rat 1", "unknown option --learning_rat\nDid you mean --learning_rate?"),
        ("--max_seq_length 200", "exceeds the 130 positions of the teacher"),
        ("--resume {world}/bert", "is not a checkpoint"),
        ("--intermediate_distill --pred_distill", "request different stages"),
        ("--resume auto --overwrite_output_dir", "contradict each other"),
        ("--student_layers 2", "describes a new student"),
        ("--do_train --do_predict --stage intermediate", "--do_predict needs a classifier"),
        ("--stage intermediate --use_att False --use_rep False --use_embedding False", "nothing is left to learn"),
        ("--labels 1,0", "--labels applies only to your own files"),
        ("--metric pearson", "one of accuracy, macro_f1"),
        ("--metric mc", "did you mean mcc?"),
        ("--T 1e200", "--T got 1e200\nexpected a number at least 0.001 and at most 1e+06"),
        ("--num_train_epochs 1e300", "expected a number above 0 and at most 1e+06"),
        ("--max_steps 99999999999999999999999", "expected a whole number at least -1 and at most 1e+09"),
        ("--keep_checkpoints 999999999999", "999999999999 checkpoints of"),
        ("--threads 100000", "expected a whole number at least 1 and at most 1024"),
        ("--teacher_labels 0,1,2", "was trained with the labels 0, 1, 2, but the task has 0, 1"),
        ("--config {tmp}/none.yaml", "none.yaml cannot be read: No such file or directory"),
    ],
)
def test_wrong_input_of_distillation_is_refused_and_leaves_no_files(world, refused, more, words):
    refused(DISTILL + more, words)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--model_name_or_path {world}/none", "the model {world}/none does not exist"),
        ("--task_name SST2B", "There is no task 'SST2B'"),
        ("--task_name QNLI", "The data of QNLI is not there and could not be downloaded"),
        ("--model_name_or_path {world}/headless --do_eval", "has no trained classifier"),
        ("--model_name_or_path {world}/three --do_predict", "has 3 outputs, but the task has 2 labels"),
        ("--task_name demo --do_predict", "--do_predict has nothing to predict: demo has no test file"),
        ("--max_seq_length 131", "--max_seq_length 131 exceeds the 130 positions of the model"),
        ("--tokenizer_name_or_path {world}/glue", "{world}/glue"),
        ("--max_seq_length 3", "--max_seq_length got 3\nexpected a whole number at least 4"),
    ],
)
def test_wrong_input_of_fine_tuning_is_refused_and_leaves_no_files(refused, more, words):
    refused(FINETUNE + more, words)


GENERAL = "general --teacher_path {world}/bert --student_layers 2 --max_seq_length 16 --input_dir {world}/glue/SST-2/dev.tsv "


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (GENERAL + "--teacher_path {world}/none", "the teacher {world}/none does not exist"),
        (GENERAL + "--teacher_path {world}/glue", "{world}/glue is not a model folder"),
        (GENERAL + "--input_dir {world}/none", "{world}/none"),
        (GENERAL + "--input_dir {tmp}", "{tmp}"),
        (GENERAL + "--pregenerated_data {world}/glue", "two sources of text"),
        (GENERAL + "--max_seq_length 131", "--max_seq_length 131 exceeds the 130 positions"),
        (GENERAL + "--student_hidden 15 --student_heads 2", "not a multiple of"),
        (GENERAL + "--layer_map 0:9,2:1", "9"),
        (GENERAL + "--use_att False --use_rep False --use_embedding False", "nothing is left to learn"),
        ("general --teacher_path {world}/bert --student_layers 2 --pregenerated_data {world}/glue", "{world}/glue"),
        ("prune --model_path {world}/none", "{world}/none does not exist"),
        ("prune --model_path {world}/bert --keep_heads 1", "importance"),
        ("prune --model_path {world}/bert --num_layers 9", "9"),
        ("prune --model_path {world}/bert --layers 3,1", "in ascending order"),
        ("convert --model_path {world}/none --to huggingface", "{world}/none does not exist"),
        ("convert --model_path {world}/glue --to huggingface", "{world}/glue is not a model folder"),
        ("convert --model_path {world}/bert --to pytorch", "expected one of huggingface, paddlenlp"),
        ("pregenerate --bert_model {world}/none --train_corpus {world}/glue/SST-2/dev.tsv", "{world}/none"),
        ("pregenerate --bert_model {world}/bert --train_corpus {world}/none.txt", "{world}/none.txt"),
        ("demo --task_name nothing", "There is no task 'nothing'"),
        ("distil", "unknown command 'distil'; did you mean distill?"),
    ],
)
def test_wrong_input_of_other_commands_is_refused_and_leaves_no_files(refused, line, words):
    refused(line, words)


# === Files ===

HEADER = b"sentence\tlabel\n"
STS = b"index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
STS_ROW = STS.replace(b"sentence1\tsentence2\tscore", b"a\tb\t%s")
BROKEN_TSV = {
    "an empty file": ("SST-2", b"", "train.tsv has no rows below its header"),
    "only a header": ("SST-2", HEADER, "train.tsv has no rows below its header. Is the file complete?"),
    "one column": ("SST-2", b"sentence\nword1\n", "line 1: found 1 columns, expected at least 2 columns separated by tabs"),
    "row too short": ("SST-2", HEADER + b"word1\t1\nword2\n", "line 3: found 1 columns, expected 2"),
    "row too long": ("SST-2", HEADER + b"word1\tx\t1\n", "line 2: found 3 columns, expected 2"),
    "an unknown label": ("SST-2", HEADER + b"word1\t1\nword2\t2\n", "line 3: found the label '2' in column 2, expected one of 0, 1"),
    "an empty label": ("SST-2", HEADER + b"word1\t1\nword2\t\n", "line 3: found the label '' in column 2"),
    "a blank line": ("SST-2", HEADER + b"word1\t1\n\nword2\t0\n", "line 3: found a blank line between rows"),
    "no header": ("SST-2", b"word1\t1\nword2\t0\n", "line 1: found a row with the label '1', expected the column names"),
    "invalid UTF-8": ("SST-2", HEADER + b"word1\t1\nword\xff\t1\n", "line 3: found"),
    "UTF-16": ("SST-2", (HEADER + b"word1\t1\n").decode().encode("utf-16"), "line 1: found"),
    "word as a score": ("STS-B", STS + STS_ROW % b"good", "line 2: found the label 'good' in column 10, expected a finite number"),
    "NaN as a score": ("STS-B", STS + STS_ROW % b"nan", "found the label 'nan' in column 10, expected a finite number"),
    "infinite score": ("STS-B", STS + STS_ROW % b"inf", "found the label 'inf' in column 10, expected a finite number"),
}


@pytest.mark.parametrize("name", BROKEN_TSV)
@pytest.mark.parametrize("broken", ["train", "dev"])
def test_broken_task_file_is_refused(world, tmp_path, refused, name, broken):
    task, content, words = BROKEN_TSV[name]
    good = STS + 3 * (STS_ROW % b"2.5") if task == "STS-B" else HEADER + b"word1\t1\nword2\t0\n"
    for split in ("train", "dev"):
        (tmp_path / f"{split}.tsv").write_bytes(content if split == broken else good)
    refused(FINETUNE + f"--task_name {task} --data_dir {{tmp}}", words.replace("train.tsv", f"{broken}.tsv"))


GOOD_CSV = b"text,label\nword1,yes\nword2,no\n"
Own = namedtuple("Own", "name content more words")
BROKEN_OWN = [
    Own("a.csv", b"", "", "{tmp}/a.csv is empty; expected a file of rows"),
    Own("a.csv", b"text,label\n", "", "{tmp}/a.csv: found no label, expected at least two"),
    Own("a.csv", b"text,label\nword1,yes\n", "", "found only the label 'yes', expected at least two. For scores give --kind regression"),
    Own("a.csv", GOOD_CSV + b"word3,\n", "", "line 4: found an empty label"),
    Own("a.csv", b'text,label\n"word1,yes\n', "", "a row that cannot be read"),
    Own("a.csv", GOOD_CSV + b"word3\n", "", "line 4: found 1 columns, expected 2"),
    Own(
        "a.csv",
        GOOD_CSV,
        "--text_a_column review",
        "no such column\n{tmp}/a.csv has the columns text, label",
    ),
    Own("a.csv", GOOD_CSV, "--labels yes,maybe", "line 3: found the label 'no' in column 'label', expected one of yes, maybe"),
    Own("a.csv", GOOD_CSV, "--labels yes,yes", "--labels yes,yes: found only the label 'yes'"),
    Own("a.csv", GOOD_CSV, "--regression", "line 2: found the label 'yes' in column 'label', expected a finite number"),
    Own("a.csv", GOOD_CSV, "--regression --labels yes,no", "--kind regression and --labels contradict each other"),
    Own("a.csv", GOOD_CSV, "--data_dir {tmp}", "--data_dir and your own files contradict each other"),
    Own("a.csv", GOOD_CSV, "--task_name a/b", "--task_name 'a/b' is used in folder and file names"),
    Own("a.csv", GOOD_CSV, "--metric pearson", "expected for reviews (classification with 2 labels) one of accuracy"),
    Own("a.csv", b"text\tlabel\nword1\tyes\n", "", "there is no such column\n{tmp}/a.csv has the columns text\tlabel"),
    Own("a.docx", b"PK", "", "the suffix '.docx' is not a known format; expected .tsv"),
    Own("a.jsonl", b'{{"text": "word1", "label": NaN}}\n', "", "line 1: found nan, which is not a number, under 'label'"),
    Own(
        "a.jsonl", b'{{"text": "word1", "label": -Infinity}}\n', "--regression", "line 1: found -inf, which is not a number, under 'label'"
    ),
    Own("a.jsonl", b'{{"text": "word1", "label": null}}\n', "", "found null under 'label', expected a text, a number, true or false"),
    Own("a.jsonl", b'{{"text": "word1"}}\n', "", "line 1: found the keys 'text', expected the key 'label'"),
    Own("a.jsonl", b'{{"text": "word1", "label": 1}},\n', "", "line 1: found invalid JSON (Extra data at character 30)"),
    Own("a.json", b'[{{"text": "word1", "label": 1}}', "", "expected a comma or the closing bracket"),
]


@pytest.mark.parametrize("own", BROKEN_OWN, ids=[f"{own.name} {i}" for i, own in enumerate(BROKEN_OWN)])
def test_broken_own_file_is_refused(tmp_path, refused, own):
    (tmp_path / own.name).write_bytes(own.content.replace(b"{{", b"{").replace(b"}}", b"}"))
    refused(OWN + f"--train_file {{tmp}}/{own.name} --dev_file {{tmp}}/{own.name} {own.more}", own.words)


def test_missing_file_is_named(tmp_path, refused):
    (tmp_path / "a.csv").write_bytes(GOOD_CSV)
    refused(OWN + "--train_file {tmp}/a.csv --dev_file {tmp}/b.csv", "{tmp}/b.csv does not exist; expected a file of rows")
    refused(OWN + "--train_file {tmp}/a.csv", "--dev_file is missing: it selects the best model")
    refused(OWN + "--train_file {tmp} --dev_file {tmp}/a.csv", "{tmp} is a folder; expected a file of rows")


# === Models ===


@pytest.mark.parametrize("left", [0, 1, 100, 4000, -1])
def test_truncated_weight_file_is_refused(world, tmp_path, refused, left):
    shutil.copytree(world / "bert", tmp_path / "cut")
    weights = tmp_path / "cut" / "model_state.pdparams"
    weights.write_bytes(weights.read_bytes()[:left])
    refused(DISTILL + "--teacher_path {tmp}/cut", "{tmp}/cut/model_state.pdparams")


# === The machine ===


def test_full_disk_is_found_before_the_run(world, tmp_path, refused, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("tinybert.recipes.disk_space.shutil.disk_usage", lambda path: usage(10**9, 10**9 - 10**5, 10**5))
    refused(FINETUNE, "has 0.1 MB free, but this run needs about")
    refused(FINETUNE + "--keep_checkpoints 40", "40 checkpoints of 0.1 MB")
    refused(GENERAL, "2 models of 0.0 MB in {tmp}/out")
    refused(DISTILL + "--stage both --max_steps 1 --allow_weak_teacher", "2 models of 0.0 MB per stage in {tmp}/out")


def test_unwritable_output_folder_is_found_before_the_run(tmp_path, refused, monkeypatch):
    monkeypatch.setattr("tinybert.engine.run_folder.os.access", lambda path, mode: Path(path) != tmp_path)
    for line in (DISTILL, FINETUNE, GENERAL, FINETUNE + "--do_eval", DISTILL + "--do_eval", FINETUNE + "--do_predict"):
        refused(line, "--output_dir {tmp}/out cannot be written: no permission in {tmp}")


def test_finished_results_are_not_overwritten_by_default(tmp_path, refused):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text('{"prediction": {"seed": 1}, "finetune": {"seed": 2}}')
    refused(DISTILL, "already holds results of the prediction stage", made=True)
    refused(FINETUNE, "already holds results of the finetune stage", made=True)
    (tmp_path / "out" / "run.json").write_text('{"prediction": []}')
    refused(DISTILL + "--resume auto", "run.json is damaged", made=True)

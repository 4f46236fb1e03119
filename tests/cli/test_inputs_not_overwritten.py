"""A run never deletes or replaces its own inputs, however the command line names them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.tiny import model_folder
from tinybert.cli.main import main
from tinybert.commands.registry import all_commands
from tinybert.recipes.input_protection import MODELS, OTHERS

SST = "--task_name SST-2 --max_seq_length 16 "
FINETUNE = f"finetune {SST}--glue_dir {{world}}/glue --output_dir {{out}} --overwrite_output_dir "
FINETUNE_OWN = FINETUNE.replace("--glue_dir {world}/glue ", "")
DISTILL = f"distill {SST}--glue_dir {{world}}/glue --output_dir {{out}} --overwrite_output_dir --student_layers 2 --allow_weak_teacher "
STUDENT = DISTILL.replace("--student_layers 2", "--teacher_path {world}/bert")
GENERAL = "general --output_dir {out} --overwrite_output_dir --max_seq_length 16 --teacher_path {world}/bert "
OWN = "--text_a_column sentence --label_column label --train_file {world}/glue/SST-2/train.tsv --dev_file {world}/glue/SST-2/dev.tsv "


@pytest.fixture
def out(world, tmp_path) -> Path:
    """An output folder with models and rows in the places where runs write their own."""
    for folder in ("best_model_4", "final", "best_inter_model", "best_general_model", "teacher/final"):
        shutil.copytree(world / "bert", tmp_path / "out" / folder)
    for folder in ("final", "checkpoints/finetune", "importance_score", "parts"):
        shutil.copytree(world / "glue/SST-2", tmp_path / "out" / folder, dirs_exist_ok=True)
    shutil.copy(world / "glue/SST-2/dev.tsv", tmp_path / "out/reviews.tsv")
    (tmp_path / "alias").symlink_to(tmp_path / "out/final")
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("line", "option"),
    [
        (FINETUNE + "--model_name_or_path {out}", "model_name_or_path"),
        (FINETUNE + "--model_name_or_path {out}/final", "model_name_or_path"),
        (FINETUNE + "--model_name_or_path {out}/../alias", "model_name_or_path"),
        (FINETUNE + "--model_name_or_path {world}/bert --tokenizer_name_or_path {out}/final", "tokenizer_name_or_path"),
        (FINETUNE + "--data_dir {out}/checkpoints/finetune --model_name_or_path {world}/bert", "data_dir"),
        (FINETUNE + "--model_name_or_path {world}/bert --use_aug --aug_file {out}/final/train_aug.tsv", "aug_file"),
        (FINETUNE_OWN + OWN + "--train_file {out}/final/train.tsv --model_name_or_path {world}/bert", "train_file"),
        (FINETUNE_OWN + OWN + "--dev_file {out}/final/dev.tsv --model_name_or_path {world}/bert", "dev_file"),
        (
            f"{FINETUNE_OWN}{OWN}--task_name reviews --model_name_or_path {{world}}/bert --test_file {{out}}/reviews.tsv --do_predict",
            "test_file",
        ),
        (FINETUNE + "--compute_taylor True --data_dir {out}/importance_score --model_name_or_path {world}/bert", "data_dir"),
        (DISTILL + "--teacher_path {out}", "teacher_path"),
        (DISTILL + "--teacher_path {out}/teacher/final", "teacher_path"),
        (DISTILL + "--teacher_path {world}/bert --data_dir {out}/final", "data_dir"),
        (DISTILL + "--teacher_path {world}/bert --method logits --cache_knowledge {out}/final/kept", "teacher_traces"),
        (STUDENT + "--stage prediction --student_model_name_or_path {out}/final", "student_model_name_or_path"),
        (STUDENT + "--stage both --student_model_name_or_path {out}/best_inter_model", "student_model_name_or_path"),
        (GENERAL + "--continue_train --student_model {out}/best_general_model --input_dir {world}/glue", "student_model_name_or_path"),
        (GENERAL + "--student_layers 2 --input_dir {out}/best_general_model/*.txt", "input_dir"),
        (GENERAL + "--student_layers 2 --pregenerated_data {out}/best_general_model", "pregenerated_data"),
        ("convert --to paddlenlp --model_path {out} --output_dir {out}/best_model_4 --overwrite_output_dir", "model_path"),
        ("prune --num_layers 2 --model_path {out} --output_dir {out}/best_model_4 --overwrite_output_dir", "model_path"),
        (f"export {SST}--glue_dir {{world}}/glue --model_path {{out}}/final --output_dir {{out}} --overwrite_output_dir", "model_path"),
        (f"export {OWN}--dev_file {{out}}/reviews.tsv --model_path {{world}}/bert --output_dir {{out}} --overwrite_output_dir", "dev_file"),
        ("demo --model {out}/teacher/final --output_dir {out} --overwrite_output_dir", "model"),
    ],
)  # fmt: skip
def test_input_inside_what_would_be_overwritten_is_refused(world, out, monkeypatch, capsys, line, option):
    monkeypatch.setenv("TINYBERT_CACHE", str(out.parent / "cache"))
    before = _contents(out)
    assert main(line.format(world=world, out=out).split()) == 2
    message = capsys.readouterr().err
    assert f"--{option}" in message and "which this run would overwrite" in message and "Traceback" not in message
    assert _contents(out) == before


def test_corpus_and_word_vectors_are_not_overwritten(world, tmp_path, capsys):
    text = tmp_path / "out/epoch_0.json"
    text.parent.mkdir()
    text.write_text("word1 word2\n\nword3 word4\n")
    words = f"pregenerate --bert_model {world}/bert --train_corpus {text} --output_dir {text.parent} --overwrite_output_dir"
    assert main(words.split()) == 2
    vectors = tmp_path / "glove.txt"
    vectors.write_text("word1 0.5\n")
    words = f"augment --pretrained_bert_model {world}/bert --glove_embs {vectors} --task_name SST-2 --glue_dir {world}/glue "
    words += f"--output_dir {tmp_path}/run --output_file {vectors} --overwrite_output_dir"
    assert main(words.split()) == 2
    assert capsys.readouterr().err.count("which this run would overwrite") == 2
    assert text.read_text().startswith("word1") and vectors.read_text() == "word1 0.5\n" and not (tmp_path / "run").exists()


def test_model_beside_what_is_overwritten_is_kept(world, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    model_folder(tmp_path / "out/pretrained", labels=("0", "1"), num_hidden_layers=1)
    (tmp_path / "out/final").mkdir()
    line = FINETUNE + "--model_name_or_path {out}/pretrained --max_steps 1 --device cpu"
    assert main(line.format(world=world, out=tmp_path / "out").split()) == 0
    assert (tmp_path / "out/pretrained/config.json").is_file() and (tmp_path / "out/final/config.json").is_file()


def test_every_option_naming_an_input_is_checked():
    results = {"output_dir", "overwrite_output_dir", "output_file", "output"}
    words = {"model_type", "teacher_model_type", "file_format"}
    for entry in all_commands().values():
        options = entry.config.options()
        reads = {
            name
            for name, option in options.items()
            if option.kind is Path or any(part in name for part in ("path", "model", "corpus", "dir", "file"))
        }
        assert reads - results - words <= {*MODELS, *OTHERS}


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

"""RoBERTa with byte-level BPE, and teachers whose tokens are not the student's: logits are learned, other losses say why not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from tokenizers import ByteLevelBPETokenizer

from tests.recipes.conftest import distill, finetune, logged, record
from tests.recipes.kinds.conftest import QUICK, SHAPE, assert_resumes_exactly
from tests.tiny import SPECIAL, WORDS, learnable_rows
from tinybert.cli.main import main
from tinybert.data.fast_tokenizer import FastTokenizer, read_tokenizer
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError
from tinybert.models.families import family
from tinybert.models.hub import resolve
from tinybert.models.loading import build, load_encoder, load_pretrained
from tinybert.models.saving import save_model

TEXTS = 96


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> tuple:
    folder = tmp_path_factory.mktemp("rows") / "rows"
    learnable_rows(folder, {"train": TEXTS, "dev": 40}, 0)
    return ("--task_name", "sst-2", "--data_dir", folder)


@pytest.fixture(scope="module")
def roberta(tmp_path_factory) -> Path:
    """An untrained RoBERTa with a byte-level BPE tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "roberta"
    folder.mkdir()
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(
        [" ".join(WORDS[5:])] * 4, vocab_size=330, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False
    )
    made.save_model(str(folder))
    tokenizer = read_tokenizer(folder)
    paddle.seed(3)
    shape = {**SHAPE, "vocab_size": tokenizer.vocab_size, "type_vocab_size": 1, "pad_token_id": 1, "max_position_embeddings": 66}
    row = family("roberta")
    save_model(folder, build(row, shape, None, "roberta"), row, tokenizer, None)
    return folder


@pytest.fixture(scope="module")
def teacher(roberta, rows, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "teacher"
    finetune("--model_name_or_path", roberta, *rows, *QUICK, "--max_steps", 90, "--output_dir", out)
    return out


@pytest.fixture(scope="module")
def other_words(tmp_path_factory) -> Path:
    """An untrained BERT whose word pieces are others than those of `words_encoder`."""
    folder = tmp_path_factory.mktemp("models") / "other"
    pieces = [*SPECIAL, "word", *(f"##{i}" for i in range(35))]
    paddle.seed(1)
    model = build(family("bert"), {**SHAPE, "vocab_size": len(pieces)}, None, "encoder")
    save_model(folder, model, family("bert"), WordPiece(pieces), None)
    return folder


def test_byte_level_roberta_is_fine_tuned_and_reloads_in_paddlenlp(teacher):
    from paddlenlp.transformers import RobertaBPETokenizer, RobertaForSequenceClassification

    folder = resolve(str(teacher))
    ours, _ = load_pretrained(str(folder))
    assert isinstance(ours.tokenizer, FastTokenizer)
    theirs = RobertaForSequenceClassification.from_pretrained(str(folder))
    tokenizer = RobertaBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    theirs.eval()
    ours.model.eval()
    ids = paddle.to_tensor([tokenizer("word3 word17 word5")["input_ids"]])
    np.testing.assert_array_equal(theirs(ids).numpy(), ours.model(ids).numpy())


@pytest.mark.parametrize("traces", ["live", "store"])
def test_student_with_word_pieces_learns_logits_of_byte_level_roberta(traces, teacher, words_encoder, rows, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    distill(
        "--teacher_path", teacher, "--student_model_name_or_path", words_encoder, *rows, *QUICK, "--method", "logits", "--max_steps", 40,
        "--teacher_traces", "auto" if traces == "store" else "live", "--output_dir", tmp_path / "run",
    )  # fmt: skip
    found = record(tmp_path / "run", "prediction")
    assert found["best"]["accuracy"] > 0.8 and found["teacher_scores"]["accuracy"] > 0.8
    assert found["teacher_traces"]["mode"] == ("live" if traces == "live" else "stored")
    if traces == "store":
        assert found["teacher_traces"]["rows_read"] > 0 and found["teacher_traces"]["rows_computed"] <= TEXTS + 40
    assert json.loads((tmp_path / "run" / "best_model" / "config.json").read_text())["model_type"] == "bert"


def test_stored_and_live_logits_train_the_same_student(teacher, words_encoder, rows, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    line = (
        "--teacher_path",
        teacher,
        "--student_model_name_or_path",
        words_encoder,
        *rows,
        *QUICK,
        "--method",
        "logits",
        "--max_steps",
        20,
    )
    store = ("--teacher_traces", tmp_path / "traces", "--teacher_traces_dtype", "float32")
    distill(*line, "--teacher_traces", "live", "--output_dir", tmp_path / "live")
    distill(*line, *store, "--output_dir", tmp_path / "filled")
    distill(*line, *store, "--output_dir", tmp_path / "read")
    losses = [[entry["loss"] for entry in logged(tmp_path / name, "prediction")] for name in ("live", "filled", "read")]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert losses[2] == losses[1]
    assert record(tmp_path / "read", "prediction")["teacher_traces"]["rows_computed"] == 0


def test_word_piece_teacher_of_another_vocabulary_teaches_logits(words_encoder, other_words, rows, tmp_path):
    finetune("--model_name_or_path", words_encoder, *rows, *QUICK, "--max_steps", 60, "--output_dir", tmp_path / "teacher")
    line = ("--teacher_path", tmp_path / "teacher", "--student_model_name_or_path", other_words, *rows, *QUICK)
    distill(*line, "--method", "logits", "--max_steps", 60, "--output_dir", tmp_path / "run")
    assert record(tmp_path / "run", "prediction")["best"]["accuracy"] > 0.8
    distill(*line, "--stage", "prediction", "--max_steps", 4, "--output_dir", tmp_path / "stage")  # TinyBERT's second stage alone
    with pytest.raises(UserError, match="vocabularies of 40 and 41 tokens: their tokens cannot be matched(.|\n)*--method logits"):
        distill(*line, "--stage", "both", "--max_steps", 4, "--output_dir", tmp_path / "layers")


@pytest.mark.parametrize("method", ["tinybert --stage both", "minilm --stage joint", "emd", "pkd", "distilbert"])
def test_losses_over_tokens_say_why_they_cannot_use_other_vocabularies(method, teacher, words_encoder, rows, tmp_path):
    with pytest.raises(UserError, match="their tokens cannot be matched, and this method compares them one by one"):
        distill(
            "--teacher_path", teacher, "--student_model_name_or_path", words_encoder, *rows, *QUICK, "--method", *method.split(),
            "--max_steps", 4, "--output_dir", tmp_path,
        )  # fmt: skip


def test_run_with_two_tokenizers_resumes_exactly(teacher, words_encoder, rows, tmp_path):
    pair = ("--teacher_path", teacher, "--student_model_name_or_path", words_encoder)
    assert_resumes_exactly((*pair, *rows, *QUICK, "--method", "logits", "--checkpoint_steps", 10), tmp_path)


def test_several_teachers_read_texts_without_labels_with_their_own_tokens(teacher, words_encoder, other_words, rows, tmp_path):
    (tmp_path / "texts.txt").write_text("".join(f"word{i % 35} word{i * 7 % 35}\n" for i in range(50)))
    words = (
        "--student_model_name_or_path",
        words_encoder,
        "--unlabelled_file",
        tmp_path / "texts.txt",
        "--method",
        "logits",
        *rows,
        *QUICK,
    )
    second = tmp_path / "second"
    finetune("--model_name_or_path", other_words, *rows, *QUICK, "--max_steps", 2, "--output_dir", second)
    distill("--teacher_path", teacher, second, *words, "--max_steps", 4, "--output_dir", tmp_path / "run")
    found = record(tmp_path / "run", "prediction")
    assert found["data"]["unlabelled"]["rows"] == 50 and len(found["teachers"]) == 2
    assert found["models"]["teacher"]["type"] == "roberta" and found["models"]["teacher_2"]["type"] == "bert"
    assert all(np.isfinite(line["loss"]) for line in logged(tmp_path / "run", "prediction"))


def test_student_of_byte_level_layers_learns_by_every_loss(teacher, rows, tmp_path):
    distill("--teacher_path", teacher, "--student_init", "teacher:2", *rows, *QUICK, "--max_steps", 30, "--output_dir", tmp_path)
    assert record(tmp_path, "prediction")["best"]["accuracy"] > 0.8
    assert isinstance(load_pretrained(str(tmp_path / "best_model"))[0].tokenizer, FastTokenizer)


def test_byte_level_teacher_and_its_export_predict_the_same(teacher, rows, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    folder, texts = resolve(str(teacher)), tmp_path / "texts.tsv"
    texts.write_text("sentence\nword3 word4\nword20 word21 word22\n")
    line = ("export", "--model_path", folder, *rows, "--output_dir", tmp_path / "served", "--format", "onnx")
    assert main([str(word) for word in line]) == 0
    answers = []
    for number, model in enumerate((folder, tmp_path / "served")):
        assert main(["predict", "--model_path", str(model), "--input", str(texts), "--output", str(tmp_path / f"{number}.tsv")]) == 0
        answers.append([line.split("\t")[-1] for line in (tmp_path / f"{number}.tsv").read_text().splitlines()])
    assert answers[0] == answers[1] and len(answers[0]) == 3


def test_encoders_for_single_tokens_need_word_pieces(roberta):
    with pytest.raises(UserError, match="byte-level BPE(.|\n)*Other tokenizers are only supported"):
        load_encoder(str(roberta))

"""MPNet as a family: its trace, its students, and students with BERT's vocabulary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.recipes.conftest import distill, finetune, record
from tests.recipes.kinds.conftest import QUICK, SHAPE
from tests.tiny import WORDS, all_needs, learnable_rows
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError
from tinybert.models.families import family
from tinybert.models.loading import build, load_classifier, load_pretrained
from tinybert.models.relative import buckets_of
from tinybert.models.saving import save_model
from tinybert.models.students import student_from_teacher
from tinybert.models.trace import Inputs, Needs, trace
from tinybert.models.translation import table_of
from tinybert.prune.reduction import Kept, Shape, pruned

PIECES = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, "<mask>"]


@pytest.fixture(scope="module")
def mpnet(tmp_path_factory) -> Path:
    """An untrained MPNet whose vocabulary is derived from BERT's like the published one."""
    folder = tmp_path_factory.mktemp("models") / "mpnet"
    special = {"pad": "<pad>", "unk": "[UNK]", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    shape = {name: value for name, value in SHAPE.items() if name != "type_vocab_size"}
    shape |= {"vocab_size": len(PIECES), "pad_token_id": 1, "max_position_embeddings": 66, "relative_attention_num_buckets": 32}
    paddle.seed(3)
    save_model(folder, build(family("mpnet"), shape, None, "mpnet"), family("mpnet"), WordPiece(PIECES, special=special), None)
    return folder


@pytest.fixture(scope="module")
def teacher(mpnet, tmp_path_factory) -> tuple[Path, tuple]:
    data = tmp_path_factory.mktemp("rows") / "rows"
    learnable_rows(data, {"train": 96, "dev": 40}, 0)
    rows = ("--task_name", "sst-2", "--data_dir", data)
    out = tmp_path_factory.mktemp("runs") / "teacher"
    finetune("--model_name_or_path", mpnet, *rows, *QUICK, "--max_steps", 60, "--output_dir", out)
    return out, rows


def batch(loaded) -> Inputs:
    ids = np.array([[0, 9, 12, 30, 8, 2], [0, 11, 7, 2, 1, 1]])
    real = (ids != 1).astype("float32")
    return Inputs(paddle.to_tensor(ids), paddle.zeros(ids.shape, "int64"), paddle.to_tensor(real))


def test_trace_matches_the_forward_pass_of_paddlenlps_class(teacher):
    from paddlenlp.transformers import MPNetForSequenceClassification

    folder = next(teacher[0].glob("best_model_*"))
    theirs, (ours, _) = MPNetForSequenceClassification.from_pretrained(str(folder)), load_pretrained(str(folder))
    theirs.eval()
    ours.model.eval()
    inputs = batch(ours)
    found = trace(ours.model, inputs, all_needs(2))
    mask = ((1.0 - inputs.attention_mask) * -1e4).unsqueeze([1, 2])
    states, scores = theirs.mpnet.encoder(theirs.mpnet.embeddings(inputs.input_ids), mask)
    logits = theirs(inputs.input_ids, attention_mask=inputs.attention_mask)
    np.testing.assert_allclose(found.logits.numpy(), logits.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.logits.numpy(), ours.model(inputs.input_ids, attention_mask=inputs.attention_mask).numpy(), atol=1e-6)
    for layer in range(2):
        np.testing.assert_allclose(found.hidden[layer].numpy(), states[layer].numpy(), atol=1e-6)
        real = scores[layer].numpy() > -100
        np.testing.assert_allclose(found.scores[layer].numpy()[real], scores[layer].numpy()[real], atol=1e-5)


@pytest.mark.parametrize("width", [3, 40, 300])
def test_relative_positions_match_paddlenlps_buckets(width):
    from paddlenlp.transformers.mpnet.modeling import MPNetEncoder

    places = paddle.arange(width)
    theirs = MPNetEncoder.relative_position_bucket(places.unsqueeze(0) - places.unsqueeze(1), num_buckets=32).numpy()
    np.testing.assert_array_equal(buckets_of(width, 32), theirs)


def test_students_of_mpnet_layers_match_and_head_pruning_is_refused(teacher):
    loaded = load_classifier(str(next(teacher[0].glob("best_model_*"))), labels=("0", "1"), needs_head=True)
    whole = student_from_teacher(loaded, (1, 2), 2)
    needs = Needs(logits=True)
    loaded.model.eval()
    whole.model.eval()
    expected = trace(loaded.model, batch(loaded), needs).logits.numpy()
    np.testing.assert_array_equal(trace(whole.model, batch(loaded), needs).logits.numpy(), expected)
    every = Kept((np.arange(2),) * 2, (np.arange(32),) * 2)
    same, _ = pruned(loaded, Shape((1, 2), 2, 32, None), every)
    same.model.eval()
    np.testing.assert_array_equal(trace(same.model, batch(loaded), needs).logits.numpy(), expected)
    fewer, _ = pruned(loaded, Shape((2,), 2, 8, None), Kept((np.arange(2),), (np.arange(8),)))
    assert fewer.parameters() < loaded.parameters()
    with pytest.raises(UserError, match="heads of MPNet cannot be pruned"):
        pruned(loaded, Shape((1, 2), 1, 32, None), Kept((np.arange(1),) * 2, (np.arange(32),) * 2))


@pytest.mark.parametrize(("method", "stage"), [("tinybert", "both"), ("emd", "prediction")])
def test_student_with_berts_vocabulary_learns_from_mpnet(method, stage, teacher, words_encoder, tmp_path):
    folder, rows = teacher
    distill(
        "--teacher_path", folder, "--student_model_name_or_path", words_encoder, *rows, *QUICK, "--max_steps", 40, "--method", method,
        "--stage", stage, "--output_dir", tmp_path,
    )  # fmt: skip
    assert record(tmp_path, "prediction")["best"]["accuracy"] > 0.8
    assert json.loads((tmp_path / "best_model" / "config.json").read_text())["model_type"] == "bert"


def test_ids_are_translated_by_token_and_special_tokens_by_role(mpnet):
    theirs, ours = WordPiece.from_folder(mpnet), WordPiece(list(WORDS))
    table = table_of(ours, theirs)
    roles = ("pad_id", "unk_id", "cls_id", "sep_id", "mask_id")
    assert [table[getattr(ours, role)] for role in roles] == [getattr(theirs, role) for role in roles]
    text = ["word3 word9 unknown"]
    assert [table[i] for i in ours.ids(text)[0]] == theirs.ids(text)[0]
    assert table_of(WordPiece([*WORDS, "more"]), theirs) is None
    assert table_of(WordPiece(list(WORDS), do_lower_case=False), theirs) is None

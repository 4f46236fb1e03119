"""Stored knowledge gives the losses of the live teacher, fits its estimate, and is refused, resumed or repaired in words."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import paddle
import pytest

from tests import tiny
from tinybert.data.batches import Batches
from tinybert.data.store import TokenStore
from tinybert.errors import Interrupted, UserError
from tinybert.knowledge import building
from tinybert.knowledge.building import CacheSpec, build, is_complete, open_stored
from tinybert.knowledge.layout import Layout
from tinybert.knowledge.selection import Selection, Tokens, Width
from tinybert.models.projections import Projection
from tinybert.models.trace import Inputs, Needs
from tinybert.objectives.hidden import HiddenStateLoss
from tinybert.objectives.mud import SelectedHiddenLoss, selected_objective
from tinybert.objectives.trained_layer import Teacher, TrainedLayer

SEP, LENGTH, ROWS = 3, 18, 23
PAIRS, LAYERS = ((0, 0), (2, 4)), (0, 3)
SELECTIONS = {
    "all": (Tokens(), Width()),
    "left, dimensions": (Tokens("left_first", 4, SEP), Width("uniform_mask", 0.2, (0, 5, 10))),
    "attention": (Tokens("attention", 5, SEP), Width()),
    "without separators, importance": (Tokens("attention_no_sep", 5, SEP), Width("importance_mask_dynamic", 0.1)),
    "importance alone": (Tokens(), Width("importance_mask_dynamic", 0.05)),
}


@pytest.fixture(scope="module")
def world():
    random = np.random.default_rng(3)
    rows = [[2, *random.integers(5, 40, n).tolist(), 3, *random.integers(5, 40, 3).tolist(), 3] for n in random.integers(1, 13, ROWS)]
    store = TokenStore.from_arrays(rows, labels=np.zeros(ROWS, np.int64))
    teacher = tiny.classifier("bert", num_hidden_layers=4, hidden_size=16)
    return store, teacher, tiny.classifier("tinybert", seed=5, num_hidden_layers=2, hidden_size=16)


def wanted(folder: Path, selection: Selection, **identity) -> CacheSpec:
    known = {"teacher": "a" * 64, "tokenizer": "b" * 64, "data": "c" * 64, "max_seq_length": LENGTH, **identity}
    return CacheSpec(folder, known, {"layers": 4}, 4, Layout(selection, 16, 2, LENGTH))


def live(teacher):
    return lambda needs: Teacher(teacher, needs)


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("mask", ["both", "teacher"])
def test_stored_knowledge_gives_another_loss_than_the_teacher(world, tmp_path, name, mask):
    store, teacher, student = world
    selection = Selection(PAIRS, LAYERS, *SELECTIONS[name])
    want = wanted(tmp_path / "train", selection)
    build(want, store, live(teacher), batch_size=4)
    assert is_complete(want, store)
    layer = TrainedLayer(student, selected_objective(SelectedHiddenLoss(selection, Projection("none", 2, 16, 16), mask)))
    layer.eval()
    needs = layer.objective.needs_teacher
    stored, online = open_stored(want, store, needs), Teacher(teacher, needs)
    for batch in (Batches(store, 6, seed=1).step(epoch, step)[0] for epoch in (0, 1) for step in range(3)):
        inputs = Inputs.of(batch)
        with paddle.no_grad():
            expected, found = (float(layer(inputs, source(inputs))["loss"]) for source in (online, stored))
        assert found == pytest.approx(expected, rel=2e-3)
    record = stored.record
    (file,) = (tmp_path / "train").glob("*/arrays.bin")
    size = file.stat().st_size
    assert record["bytes"] <= size <= record["bytes"] + 64 * 8  # the estimate is exact but for alignment
    assert record["of_full"] == pytest.approx(record["bytes"] / (int(store.lengths.sum()) * 5 * 16 * 2))


def test_hidden_states_of_the_first_stage_and_logits_come_from_one_folder(world, tmp_path):
    store, teacher, student = world
    build(wanted(tmp_path / "train", Selection(PAIRS, LAYERS)), store, live(teacher), batch_size=4)
    loss = HiddenStateLoss(PAIRS, Projection("none", 2, 16, 16))
    inputs = Inputs.of(Batches(store, 6, seed=1).step(0, 0)[0])
    from tinybert.models.trace import trace

    with paddle.no_grad():
        own = trace(student, inputs, loss.needs_student)
        expected = float(loss(own, Teacher(teacher, loss.needs_teacher)(inputs), inputs))
        stored = open_stored(wanted(tmp_path / "train", Selection(PAIRS, LAYERS)), store, loss.needs_teacher)
        assert float(loss(own, stored(inputs), inputs)) == pytest.approx(expected, rel=1e-3)
        logits = open_stored(wanted(tmp_path / "train", Selection()), store, Needs(logits=True))  # a selection holds logits too
        live_logits = Teacher(teacher, Needs(logits=True))(inputs).logits.numpy()
    np.testing.assert_allclose(logits(inputs).logits.numpy(), live_logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits.logits()[inputs.rows], live_logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"teacher": "d" * 64}, "teacher: stored aaaaaaaaaaaa..., wanted dddddddddddd..."),
        ({"tokenizer": "d" * 64}, "tokenizer: stored"),
        ({"data": "d" * 64}, "data: stored"),
        ({"max_seq_length": 20}, "max_seq_length: stored 18, wanted 20"),
        ({}, "selection: stored"),
    ],
)
def test_knowledge_of_something_else_is_learnt(world, tmp_path, changed, named):
    store, teacher, _ = world
    build(wanted(tmp_path / "train", Selection(PAIRS, LAYERS, Tokens("left_first", 4, SEP))), store, live(teacher), batch_size=8)
    keep = 4 if changed else 5
    other = wanted(tmp_path / "train", Selection(PAIRS, LAYERS, Tokens("left_first", keep, SEP)), **changed)
    with pytest.raises(UserError, match=named.replace(".", r"\.")) as refused:
        is_complete(other, store)
    assert "Name another folder" in str(refused.value) and str(refused.value).count("stored") == 1


def test_an_interrupted_run_begins_anew_or_a_damaged_shard_is_read(world, tmp_path, monkeypatch):
    store, teacher, _ = world
    monkeypatch.setattr(building, "SHARD_ROWS", 8)
    want = wanted(tmp_path / "train", Selection(PAIRS, LAYERS))
    asked = []

    def stopping(needs):
        def call(inputs):
            asked.extend(inputs.rows.tolist())
            if len(asked) == 12:
                os.kill(os.getpid(), signal.SIGTERM)
            return Teacher(teacher, needs)(inputs)

        return call

    with pytest.raises(Interrupted, match="goes on with row 8"):
        build(want, store, stopping, batch_size=4)
    assert not is_complete(want, store)
    again = len(asked)
    build(want, store, stopping, batch_size=4)
    assert sorted(asked[again:]) == list(range(8, ROWS)) and is_complete(want, store)
    whole = (tmp_path / "train" / "00001" / "arrays.bin").read_bytes()
    (tmp_path / "train" / "00001" / "arrays.bin").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert not is_complete(want, store)
    again = len(asked)
    build(want, store, stopping, batch_size=4)
    assert sorted(asked[again:]) == list(range(8, 16)) and (tmp_path / "train" / "00001" / "arrays.bin").read_bytes() == whole


def test_a_disk_too_small_is_filled(world, tmp_path, monkeypatch):
    store, teacher, _ = world
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(UserError, match=r"needs 0\.\d MB .*but the disk has 0\.0 MB") as refused:
        build(wanted(tmp_path / "train", Selection(PAIRS, LAYERS)), store, live(teacher), batch_size=8)
    assert "--keep_tokens" in str(refused.value) and not (tmp_path / "train" / "knowledge.json").exists()


def test_types_are_larger_than_they_need_to_be():
    few = Layout(Selection(PAIRS, LAYERS, Tokens("attention", 10, SEP), Width("importance_mask_dynamic", 0.1)), 768, 2, 128)
    assert (few.positions, few.indices) == (np.uint8, np.uint16)
    many = Layout(Selection(PAIRS, LAYERS, Tokens(), Width("importance_mask_dynamic", 0.1)), 768, 2, 512)
    assert (many.positions, many.indices) == (np.uint16, np.uint32)

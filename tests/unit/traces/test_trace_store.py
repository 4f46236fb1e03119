"""Stored teacher traces: equal to the live teacher's, found again, shared, repaired or refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from tests import tiny
from tinybert.data.batches import assemble
from tinybert.data.store import TokenStore
from tinybert.errors import UserError
from tinybert.models.projections import Projection
from tinybert.models.trace import Inputs, Needs
from tinybert.objectives.mud import SelectedHiddenLoss
from tinybert.objectives.objective import Objective, Part
from tinybert.objectives.trained_layer import Teacher, TrainedLayer
from tinybert.recipes.teacher_source import WantedTraces
from tinybert.traces.parts import RowParts
from tinybert.traces.selection import DimensionSelection, Selection, TokenSelection
from tinybert.traces.stored_teacher import StoredTeacher
from tinybert.traces.trace_store import _RECORD, TraceStore
from tinybert.user_objects import CustomLoss, UserObjects, use_objects

SEP, ROWS = 3, 23
NEEDS = Needs(hidden=frozenset([0, 2, 4]), scores=frozenset([1, 3]), qkv=frozenset([3]), logits=True)
PAIRS, LAYERS = ((0, 0), (2, 4)), (0, 3)
SELECTIONS = {
    "left, dimensions": (TokenSelection("left_first", 4, SEP), DimensionSelection("uniform_mask", 0.2, (0, 5, 10))),
    "attention": (TokenSelection("attention", 5, SEP), DimensionSelection()),
    "without separators, importance": (TokenSelection("attention_no_sep", 5, SEP), DimensionSelection("importance_mask_dynamic", 0.1)),
    "importance alone": (TokenSelection(), DimensionSelection("importance_mask_dynamic", 0.05)),
}


@pytest.fixture(scope="module")
def rows() -> TokenStore:
    random = np.random.default_rng(3)
    made = [[2, *random.integers(5, 40, n).tolist(), 3, *random.integers(5, 40, 3).tolist(), 3] for n in random.integers(1, 13, ROWS)]
    made[7] = made[2]
    return TokenStore.from_arrays(made, labels=np.zeros(ROWS, np.int64))


@pytest.fixture(scope="module")
def model():
    return tiny.classifier("bert", num_hidden_layers=4, hidden_size=16)


class Counting:
    """A live teacher that counts its rows."""

    def __init__(self, model) -> None:
        self.model, self.rows = model, 0

    def __call__(self, needs: Needs):
        teacher = Teacher(self.model, needs)

        def run(inputs: Inputs):
            self.rows += len(inputs.input_ids)
            return teacher(inputs)

        return run


def batch(store: TokenStore, rows) -> Inputs:
    rows = np.asarray(rows)
    share = {"rows": 1.0, "tokens": 1.0, "token_pairs": 1.0}
    return Inputs.of(assemble(store, rows, int(store.lengths[rows].max()), share))


def stored(folder, model, load, needs=NEEDS, dtype="float32", selection=None) -> StoredTeacher:
    def parts(needs: Needs) -> RowParts:
        return RowParts.of(needs, model.bert.config, 2, dtype, selection)

    return StoredTeacher(TraceStore(folder, {"teacher": "a" * 64}), needs, parts, load)


def arrays(trace, inputs: Inputs) -> dict[str, np.ndarray]:
    """All arrays of a trace with 0 in place of padding."""
    real = inputs.attention_mask.numpy().astype(bool)
    found = {"logits": trace.logits.astype("float32").numpy()}
    for name, masks in (
        ("hidden", real[:, :, None]),
        ("scores", real[:, None, :, None] & real[:, None, None, :]),
        ("query", real[:, None, :, None]),
        ("key", real[:, None, :, None]),
        ("value", real[:, None, :, None]),
    ):
        found |= {f"{name}:{n}": np.where(masks, array.astype("float32").numpy(), 0) for n, array in getattr(trace, name).items()}
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 1e-3)])
def test_stored_traces_equal_the_live_teachers_traces(rows, model, tmp_path, dtype, tolerance):
    teacher = stored(tmp_path, model, Counting(model), dtype=dtype)
    inputs = batch(rows, range(6))
    live, filled, found = Teacher(model, NEEDS)(inputs), teacher(inputs), teacher(inputs)
    for name, array in arrays(live, inputs).items():
        np.testing.assert_allclose(arrays(filled, inputs)[name], array, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(arrays(found, inputs)[name], arrays(filled, inputs)[name])
    assert set(arrays(found, inputs)) == {"logits", *(f"{n}:3" for n in ("query", "key", "value")), "hidden:0", "hidden:2", "hidden:4",
                                          "scores:1", "scores:3"}  # fmt: skip


def test_each_row_is_computed_once_across_batches_and_processes(rows, model, tmp_path):
    load = Counting(model)
    teacher = stored(tmp_path, model, load)
    teacher(batch(rows, [2, 7, 5]))  # rows 2 and 7 are equal
    assert load.rows == 2
    later = stored(tmp_path, model, load)
    for some in ([5, 2], [7], [2, 9]):
        later(batch(rows, some))
    assert load.rows == 3
    teacher(batch(rows, [9]))  # written by the other one since
    assert load.rows == 3


def test_bytes_written_equal_the_estimate(rows, model, tmp_path):
    teacher = stored(tmp_path, model, Counting(model), dtype="float16")
    teacher(batch(rows, range(5)))
    assert teacher.store.written == sum(teacher.parts.bytes(int(length)) for length in rows.lengths[:5])


def test_rows_with_more_parts_serve_requests_for_fewer(rows, model, tmp_path):
    stored(tmp_path, model, Counting(model))(batch(rows, range(4)))
    teacher = stored(tmp_path, model, None, Needs(logits=True))
    np.testing.assert_allclose(teacher(batch(rows, range(4))).logits, Teacher(model, Needs(logits=True))(batch(rows, range(4))).logits)


def test_stored_parts_of_a_row_are_kept_and_not_stored_again(rows, model, tmp_path):
    other, inputs = tiny.classifier("bert", seed=9, num_hidden_layers=4, hidden_size=16), batch(rows, range(4))
    logits = stored(tmp_path, other, Counting(other), Needs(logits=True))(inputs).logits.numpy()
    filling = stored(tmp_path, model, Counting(model))
    for trace in (filling(inputs), filling(inputs), stored(tmp_path, model, None)(inputs)):
        np.testing.assert_array_equal(trace.logits.numpy(), logits)
        np.testing.assert_array_equal(arrays(trace, inputs)["scores:3"], arrays(Teacher(model, NEEDS)(inputs), inputs)["scores:3"])
    assert filling.store.written == sum(filling.parts.bytes(int(length)) for length in rows.lengths[:4]) - logits.nbytes


def test_every_reader_finds_the_oldest_of_several_copies(model, tmp_path):
    first, second = (TraceStore(tmp_path, {"teacher": "a" * 64}) for _ in range(2))
    parts, key, name = RowParts.of(Needs(logits=True), model.bert.config, 2, "float32"), b"k" * 16, "logits <f4"
    for store, data in ((first, b"ThisOne."), (second, b"NotThis.")):
        store.append(parts, [key], np.array([1]), [data])
    second.refresh()
    for store in (first, second, TraceStore(tmp_path, {"teacher": "a" * 64})):
        assert bytes(store.read(key, parts)[name]) == b"ThisOne."


def test_missing_parts_of_a_row_are_named_without_the_weights(rows, model, tmp_path):
    stored(tmp_path, model, Counting(model), Needs(hidden=frozenset([2]), logits=True))(batch(rows, range(4)))
    for dtype, found in (("float16", "hidden:2 float16, hidden:4 float16"), ("float32", "hidden:4 float32")):
        lacking = stored(tmp_path, model, None, Needs(hidden=frozenset([2, 4]), logits=True), dtype)
        with pytest.raises(UserError, match=f"traces lack {found}, and the teacher has(.|\n)*stored: hidden:2 float32, logits float32"):
            lacking(batch(rows, range(4)))
    with pytest.raises(UserError, match="a row is not among the stored"):
        lacking(batch(rows, [8]))


@pytest.mark.parametrize("suffix", [".rows", ".index"])
def test_truncated_store_recomputes_only_the_lost_row(rows, model, tmp_path, suffix):
    stored(tmp_path, model, Counting(model))(batch(rows, range(4)))
    (path,) = tmp_path.glob(f"*{suffix}")
    path.write_bytes(path.read_bytes()[:-7])
    load = Counting(model)
    inputs = batch(rows, range(4))
    trace = stored(tmp_path, model, load)(inputs)
    assert load.rows == 1
    np.testing.assert_allclose(trace.logits, Teacher(model, NEEDS)(inputs).logits, rtol=1e-5)


def test_damaged_row_is_recomputed_or_reported(rows, model, tmp_path):
    stored(tmp_path, model, Counting(model))(batch(rows, range(4)))
    (path,) = tmp_path.glob("*.rows")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="a row of the stored teacher traces is damaged"):
        stored(tmp_path, model, None)(batch(rows, range(4)))
    load = Counting(model)
    teacher = stored(tmp_path, model, load)
    teacher(batch(rows, range(4)))
    assert (load.rows, teacher.store.damaged) == (1, 1)
    stored(tmp_path, model, None)(batch(rows, range(4)))  # the new row replaces the damaged one


@pytest.mark.parametrize("field", ["offset", "bytes", "length", "crc"])
def test_row_with_a_damaged_index_record_is_computed_again(rows, model, tmp_path, capsys, field):
    stored(tmp_path, model, Counting(model))(batch(rows, range(4)))
    (path,) = tmp_path.glob("*.index")
    records = np.frombuffer(path.read_bytes(), _RECORD).copy()
    records[1:3][field] ^= 1 << 3
    path.write_bytes(records.tobytes())
    load, inputs = Counting(model), batch(rows, range(4))
    teacher = stored(tmp_path, model, load)
    np.testing.assert_allclose(teacher(inputs).logits, Teacher(model, NEEDS)(inputs).logits, rtol=1e-5)
    assert (load.rows, teacher.store.damaged) == (2, 2)
    assert capsys.readouterr().err.count(f"{path.with_suffix('.rows')} are damaged") == 1


@pytest.mark.parametrize(("suffix", "content"), [(".json", "{"), (".json", '{"parts": [3]}'), (".rows", None), (".index", None)])
def test_unreadable_segment_is_ignored_with_a_warning(rows, model, tmp_path, capsys, suffix, content):
    stored(tmp_path, model, Counting(model))(batch(rows, range(4)))
    (path,) = (path for path in tmp_path.glob(f"*{suffix}") if path.name != "store.json")
    path.unlink() if content is None else path.write_text(content)
    load = Counting(model)
    for _ in range(2):
        stored(tmp_path, model, load)(batch(rows, range(4)))
    assert load.rows == 4
    assert str(path.with_suffix(".json")) in capsys.readouterr().err


def test_store_without_checked_index_records_is_still_read(rows, model, tmp_path):
    stored(tmp_path, model, Counting(model))(batch(rows, range(4)))
    (index,) = tmp_path.glob("*.index")
    path = index.with_suffix(".json")
    path.write_text(path.read_text().replace('"checked": true', '"older": true'))
    records = np.frombuffer(index.read_bytes(), _RECORD).copy()
    records["check"] = 0
    index.write_bytes(records.tobytes())
    stored(tmp_path, model, None)(batch(rows, range(4)))


def test_store_of_another_teacher_is_refused_with_a_clear_message(rows, model, tmp_path):
    stored(tmp_path / "store", model, Counting(model))(batch(rows, [1]))
    with pytest.raises(UserError, match=r"teacher: stored aaaaaaaaaaaa\.\.\., wanted bbbbbbbbbbbb\.\.\."):
        TraceStore(tmp_path / "store", {"teacher": "b" * 64})
    (tmp_path / "store" / "store.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        TraceStore(tmp_path / "store", {"teacher": "a" * 64})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    with pytest.raises(UserError, match="contains other files"):
        TraceStore(tmp_path / "mine", {})


def test_new_folder_is_not_shared_by_runs_with_different_teachers(rows, model, tmp_path):
    first, second = (TraceStore(tmp_path / "store", {"teacher": letter * 64}) for letter in "ab")
    parts, row = RowParts.of(Needs(logits=True), model.bert.config, 2, "float32"), ([b"k" * 16], np.array([1]), [b"12345678"])
    first.append(parts, *row)
    files = sorted((tmp_path / "store").iterdir())
    with pytest.raises(UserError, match="contains the traces of another teacher"):
        second.append(parts, *row)
    assert sorted((tmp_path / "store").iterdir()) == files


def test_unused_store_creates_no_folder(tmp_path):
    TraceStore(tmp_path / "store", {"teacher": "a" * 64}).close()
    assert not (tmp_path / "store").exists()


def test_full_disk_stops_storing_but_not_the_run(rows, model, tmp_path, monkeypatch, capsys):
    load = Counting(model)
    teacher = stored(tmp_path, model, load, dtype="float16")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(teacher.store, "append", full)
    first, second = teacher(batch(rows, range(3))), teacher(batch(rows, range(3)))
    np.testing.assert_array_equal(first.hidden[2].numpy(), second.hidden[2].numpy())
    assert load.rows == 6
    assert capsys.readouterr().err.count("no longer stored") == 1


def test_float16_overflow_raises_an_error_naming_the_option(rows, tmp_path):
    large = tiny.classifier("bert", num_hidden_layers=4, hidden_size=16)
    large.bert.embeddings.layer_norm.weight.set_value(large.bert.embeddings.layer_norm.weight * 1e6)
    with pytest.raises(UserError, match="--teacher_traces_dtype float32"):
        stored(tmp_path, large, Counting(large), dtype="float16")(batch(rows, range(3)))
    stored(tmp_path, large, Counting(large), dtype="float32")(batch(rows, range(3)))


@pytest.mark.parametrize("selection", [None, Selection(PAIRS, LAYERS, TokenSelection("left_first", 4, SEP))])
def test_bfloat16_traces_are_stored_as_values(rows, model, tmp_path, selection):
    def rounded(inputs: Inputs):
        live = Teacher(model, NEEDS)(inputs)
        live.logits = live.logits.astype("bfloat16")
        live.hidden = {entry: array.astype("bfloat16") for entry, array in live.hidden.items()}
        return live

    inputs = batch(rows, range(4))
    found, wanted = stored(tmp_path, model, lambda needs: rounded, selection=selection)(inputs), rounded(inputs)
    for name in arrays(found, inputs):
        np.testing.assert_array_equal(arrays(found, inputs)[name], arrays(wanted, inputs)[name])
    for entry, part in found.selected.items():
        np.testing.assert_array_equal(part.values.numpy()[:, 0], wanted.hidden[dict(PAIRS)[entry]].astype("float32").numpy()[:, 0])


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("mask", ["both", "teacher"])
def test_stored_selection_gives_the_same_loss_as_the_live_teacher(rows, model, tmp_path, name, mask):
    selection = Selection(PAIRS, LAYERS, *SELECTIONS[name])
    paddle.seed(1)
    loss = SelectedHiddenLoss(selection, Projection("none", 2, 16, 16), mask)
    objective = Objective([Part("hidn", loss)], loss.projection)
    layer = TrainedLayer(tiny.classifier("tinybert", seed=5, num_hidden_layers=2, hidden_size=16), objective)
    needs = objective.needs_teacher | Needs(logits=True)
    teacher = stored(tmp_path, model, Counting(model), needs, "float32", selection)
    for some in ([3, 4, 8, 11], [1, 3]):
        inputs = batch(rows, some)
        live = float(layer(inputs, Teacher(model, needs)(inputs))["loss"])
        for _ in range(2):
            assert float(layer(inputs, teacher(inputs))["loss"]) == pytest.approx(live, rel=1e-5)
    full = RowParts.of(needs, model.bert.config, 2, "float32")
    assert teacher.store.written < sum(full.bytes(int(rows.lengths[row])) for row in (3, 4, 8, 11, 1))


def test_selection_keeps_what_a_callers_own_loss_reads(rows, model, tmp_path):
    own, selection = Needs(hidden=frozenset([4]), qkv=frozenset([3])), Selection(PAIRS, LAYERS, TokenSelection("left_first", 4, SEP))
    config, settings = SimpleNamespace(teacher_traces_dtype="float32"), SimpleNamespace(stage="prediction")
    known = SimpleNamespace(known=SimpleNamespace(config=model.bert.config))
    wanted = WantedTraces(config, settings, known, own | selection.needs, selection, 2)
    with use_objects(UserObjects(losses=[CustomLoss("own", max, teacher=own)])):
        teacher = StoredTeacher(TraceStore(tmp_path, {}), wanted.needs, wanted.parts, Counting(model))
    inputs = batch(rows, range(4))
    trace, live = teacher(inputs), Teacher(model, wanted.needs | Needs(logits=True))(inputs)
    assert set(trace.hidden) == {4} and trace.selected
    for name, array in arrays(trace, inputs).items():
        np.testing.assert_array_equal(array, arrays(live, inputs)[name])


def test_selections_do_not_share_stored_rows(rows, model, tmp_path):
    needs = Needs(hidden=frozenset([0, 4]), scores=frozenset(LAYERS), logits=True)
    for number, name in enumerate(SELECTIONS):
        load = Counting(model)
        stored(tmp_path, model, load, needs, "float16", Selection(PAIRS, LAYERS, *SELECTIONS[name]))(batch(rows, [1]))
        assert load.rows == 1, number

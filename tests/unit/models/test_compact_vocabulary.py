"""Training only the used embedding rows gives the same weights and files as training the whole table."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from tests import tiny
from tinybert.data.store import TokenStore
from tinybert.engine.optimizers import create_optimizer, load_optimizer_arrays, optimizer_arrays, without_gradient
from tinybert.kinds.registry import DEFAULT
from tinybert.models.compact import CompactVocabulary
from tinybert.objectives.tinybert import gold_objective
from tinybert.objectives.trained_layer import TrainedLayer

USED = np.array([0, 2, 3, 7, 11, 12, 30])
NAME = "student.bert.embeddings.word_embeddings.weight"
OPTIMIZERS = {
    "adamw, global norm": ("adamw", 0.1, "global"),
    "adamw, each tensor": ("adamw", 0.1, "tensor"),
    "adamw without decay": ("adamw", 0.0, "global"),
    "bertadam": ("bertadam", 0.1, "tensor"),
    "adam without decay": ("adam", 0.0, "global"),
}


class Run:
    """Some training steps with the whole table or the reduced one."""

    def __init__(self, optimizer: str, compact: bool, frozen: bool = False, **shape) -> None:
        self.kind, self.decay, clip = OPTIMIZERS[optimizer]
        self.layer = TrainedLayer(
            tiny.classifier(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **shape), gold_objective(DEFAULT)
        )
        self.start = self.arrays()
        self.compact = CompactVocabulary(self.layer, self.layer.student, USED, self._left) if compact else None
        if frozen:
            self.layer.freeze_padding_row(self.compact.row_of if compact else int)
        self.optimizer = create_optimizer(self.layer, self.kind, weight_decay=self.decay, epsilon=1e-6, max_grad_norm=0.5, grad_clip=clip)
        self.step = 0

    @staticmethod
    def rate(step: int) -> float:
        return 1e-3 * (step + 1)

    def _left(self, step: int) -> float:
        return float(np.prod([without_gradient(self.kind, self.decay, self.rate(s)) for s in range(step)]))

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: parameter.numpy().copy() for name, parameter in self.layer.named_parameters()}

    def states(self) -> dict[str, np.ndarray]:
        return optimizer_arrays(self.optimizer, self.layer)

    def train(self, steps: int) -> Run:
        for _ in range(steps):
            batch = tiny.batch(labels=np.array([0, 1, 1]), seed=self.step)
            ids = USED[batch.input_ids.numpy() % len(USED)]
            batch.input_ids = paddle.to_tensor(ids * (batch.attention_mask.numpy() > 0))
            self.layer(batch)["loss"].backward()
            self.optimizer.set_lr(self.rate(self.step))
            self.optimizer.step()
            self.optimizer.clear_grad()
            self.step += 1
        return self


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "more", [{}, {"embedding_rank": 5}, {"frozen": True, "pad_token_id": 7}], ids=["plain", "factorised", "frozen [PAD]"]
)
def test_compact_table_trains_to_the_same_weights_as_the_whole_one(optimizer, more):
    whole, cut = (Run(optimizer, compact, **more).train(6) for compact in (False, True))
    assert cut.arrays()[NAME].shape[0] == len(USED)
    weights = cut.compact.to_checkpoint(cut.arrays(), 6)
    expected = whole.arrays()
    assert_same(weights, expected)
    assert_same(cut.compact.to_checkpoint(cut.states(), 6), whole.states())
    rest = np.setdiff1d(np.arange(40), USED)
    np.testing.assert_allclose(weights[NAME][rest], expected[NAME][rest], rtol=1e-6)
    moved = np.abs(weights[NAME] - whole.start[NAME]).max(1) > 0
    assert (
        moved[USED[[1, 2, 4, 5, 6]]].all()
        and moved[7] == (whole.decay > 0 or "frozen" not in more)
        and moved[rest].all() == bool(whole.decay)
    )
    cut.compact.restore(6)
    assert (cut.arrays()[NAME] == weights[NAME]).all()


@pytest.mark.parametrize("writer", ["cut", "whole"])
def test_checkpoints_are_interchangeable_between_compact_and_whole(writer):
    before = Run("adamw, global norm", writer == "cut").train(3)
    weights, states = before.arrays(), before.states()
    if writer == "cut":
        weights, states = (before.compact.to_checkpoint(arrays, 3) for arrays in (weights, states))
    after = Run("adamw, global norm", True)
    for name, array in after.compact.from_checkpoint(weights, 3).items():
        dict(after.layer.named_parameters())[name].set_value(array)
    load_optimizer_arrays(after.optimizer, after.layer, after.compact.from_checkpoint(states, 3))
    after.step = 3
    assert (after.compact.to_checkpoint(after.arrays(), 3)[NAME] == weights[NAME]).all()
    after.train(2)
    before.train(2)
    weights, expected = after.compact.to_checkpoint(after.arrays(), 5), before.arrays()
    if writer == "cut":
        expected = before.compact.to_checkpoint(expected, 5)
        assert all((weights[name] == expected[name]).all() for name in expected)  # bitwise identical
    assert_same(weights, expected)


def test_whole_table_is_saved_and_the_compact_one_trains_on(tmp_path):
    run = Run("adamw, global norm", True).train(2)
    shapes = []

    def save(step: int):
        shapes.append(run.layer.student.state_dict()[NAME.removeprefix("student.")].shape)
        return tmp_path

    trained = run.compact.embedding.weight
    assert run.compact.whole_for(save)(2) == tmp_path
    assert shapes == [[40, 16]] and run.compact.embedding.weight is trained
    run.train(1)


def test_token_outside_the_compact_table_raises():
    run = Run("adamw, global norm", True)
    batch = tiny.batch()
    with pytest.raises(ValueError, match="embedding"):
        run.layer.student(batch.input_ids)


def test_store_lists_all_tokens_in_use(monkeypatch):
    monkeypatch.setattr("tinybert.data.store.CHUNK_IDS", 3)
    store = TokenStore.from_arrays([[2, 7, 9, 3], [2, 30000, 3], [2, 7, 3]])
    assert store.word_pieces().tolist() == [0, 2, 3, 7, 9, 30000]


def test_adam_with_l2_penalty_has_no_closed_form_decay():
    with pytest.raises(ValueError):
        without_gradient("adam", 0.01, 1e-3)

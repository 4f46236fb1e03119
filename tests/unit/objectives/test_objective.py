"""The parts of an objective, what it needs of both encoders, and the layer trained with it."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from tests.tiny import batch, classifier
from tests.unit.objectives.random_traces import inputs, projection, student, teacher
from tinybert.errors import UserError
from tinybert.kinds.kind import LogitOptions
from tinybert.kinds.registry import kind_of_outputs
from tinybert.mapping import LayerMap
from tinybert.models.projections import Projection
from tinybert.models.trace import Inputs, Needs, trace
from tinybert.objectives.objective import Objective, Part
from tinybert.objectives.tinybert import gold_objective, intermediate_objective, prediction_objective
from tinybert.objectives.trained_layer import Teacher, TrainedLayer

MAP = LayerMap.create("uniform", 2, 4)


def some(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


# === Parts ===


@pytest.mark.parametrize(
    ("weights", "names", "of_student", "of_teacher"),
    [
        ({}, ["embd", "hidn", "attn"], Needs(some(0, 1, 2), some(0, 1)), Needs(some(0, 2, 4), some(1, 3))),
        ({"attention_weight": 0}, ["embd", "hidn"], Needs(some(0, 1, 2)), Needs(some(0, 2, 4))),
        ({"hidden_weight": 0}, ["embd", "attn"], Needs(some(0), some(0, 1)), Needs(some(0), some(1, 3))),
        ({"embedding_weight": 0}, ["hidn", "attn"], Needs(some(1, 2), some(0, 1)), Needs(some(2, 4), some(1, 3))),
        ({"hidden_weight": 0, "attention_weight": 0.0}, ["embd"], Needs(some(0)), Needs(some(0))),
    ],
    ids=["all", "no attention", "no hidden states", "no embedding", "embedding alone"],
)
def test_parts_with_weight_zero_are_not_computed(weights, names, of_student, of_teacher):
    objective = intermediate_objective(MAP, projection(), **weights)
    assert [part.name for part in objective.parts] == names
    assert objective.needs_student == of_student
    assert objective.needs_teacher == of_teacher
    found = objective(student().trace(), teacher().trace(), inputs())
    assert list(found) == [*names, "loss"]
    assert float(found["loss"]) == pytest.approx(sum(float(found[name]) for name in names), rel=1e-6)


def test_weights_apply_to_the_sum_not_to_the_logged_parts():
    def values(**weights):
        found = intermediate_objective(MAP, projection(), **weights)(student().trace(), teacher().trace(), inputs())
        return {name: float(value) for name, value in found.items()}

    one, other = values(), values(embedding_weight=0.5, hidden_weight=2.0, attention_weight=3.0)
    for name in ("embd", "hidn", "attn"):
        assert other[name] == pytest.approx(one[name], rel=1e-6)
    assert other["loss"] == pytest.approx(0.5 * one["embd"] + 2 * one["hidn"] + 3 * one["attn"], rel=1e-6)
    objective = intermediate_objective(MAP, projection(), embedding_weight=0.5, attention_weight=0)
    assert objective.describe() == "loss = 0.5 embd + 1 hidn"


def test_objective_has_only_the_parts_that_the_map_names():
    objective = intermediate_objective(LayerMap.create("1:2,2:4", 2, 4), projection())
    assert [part.name for part in objective.parts] == ["hidn", "attn"]
    only_embedding = intermediate_objective(LayerMap.create("0:0", 2, 4), projection())
    assert [part.name for part in only_embedding.parts] == ["embd"]


def test_objective_without_any_part_is_refused():
    with pytest.raises(UserError, match="nothing to learn"):
        intermediate_objective(MAP, projection(), embedding_weight=0, hidden_weight=0, attention_weight=0)
    with pytest.raises(UserError, match="nothing to learn"):
        intermediate_objective(LayerMap.create("0:0", 2, 4), projection(), embedding_weight=0)


@pytest.mark.parametrize(
    ("outputs", "settings", "parts", "asks_teacher"),
    [
        (3, {}, [("pred", "SoftCrossEntropyLoss", 1.0)], True),
        (3, {"alpha": 0.25}, [("pred", "SoftCrossEntropyLoss", 0.25), ("gold", "GoldLabelLoss", 0.75)], True),
        (3, {"alpha": 0.0}, [("gold", "GoldLabelLoss", 1.0)], False),
        (3, {"alpha": 0.25, "weight": 2.0}, [("pred", "SoftCrossEntropyLoss", 0.5), ("gold", "GoldLabelLoss", 1.5)], True),
        (3, {"regression_target": "gold"}, [("pred", "SoftCrossEntropyLoss", 1.0)], True),
        (1, {}, [("pred", "RegressionLoss", 1.0)], True),
        (1, {"alpha": 0.5}, [("pred", "RegressionLoss", 0.5), ("gold", "GoldScoreLoss", 0.5)], True),
        (1, {"regression_target": "gold"}, [("gold", "GoldScoreLoss", 1.0)], False),
        (1, {"regression_target": "softmax"}, [("pred", "SoftCrossEntropyLoss", 1.0)], True),
    ],
)
def test_prediction_objective_has_the_parts_that_the_options_name(outputs, settings, parts, asks_teacher):
    options = LogitOptions(regression_target=settings.pop("regression_target", "teacher"))
    objective = prediction_objective(kind_of_outputs(outputs), options, **settings)
    assert [(part.name, type(part.loss).__name__, part.weight) for part in objective.parts] == parts
    assert objective.needs_student == Needs(logits=True)
    assert objective.needs_teacher == (Needs(logits=True) if asks_teacher else Needs())


def test_options_reach_the_losses():
    objective = prediction_objective(kind_of_outputs(3), LogitOptions(4.0, "mean", False))
    loss = objective.parts[0].loss
    assert (loss.temperature, loss.reduction, loss.scale) == (4.0, "mean", False)
    parts = intermediate_objective(MAP, projection(), hidden_reduction="mean", attention_reduction="raw", attention_heads="average").parts
    assert [part.loss.reduction for part in parts] == ["mean", "mean", "raw"]
    assert parts[2].loss.heads == "average"


def test_softmax_regression_gives_zero_loss_and_zero_gradient():
    objective = prediction_objective(kind_of_outputs(1), LogitOptions(regression_target="softmax"))
    ours = student(outputs=1).trace(trained=True)
    loss = objective(ours, teacher(outputs=1).trace(), inputs())["loss"]
    loss.backward()
    assert float(loss) == 0.0 and float(ours.logits.grad.abs().max()) == 0.0


def test_fine_tuning_needs_no_teacher():
    objective = gold_objective(kind_of_outputs(2))
    assert not objective.needs_teacher
    found = objective(student().trace(), None, inputs(labels=np.array([0, 1, 2, 0])))
    assert list(found) == ["gold", "loss"]


def test_projection_parameters_are_registered_once():
    objective = intermediate_objective(MAP, projection("per_layer"))
    names = [name for name, _ in objective.named_parameters()]
    assert names == [f"projection.fit_denses.{i}.{part}" for i in range(3) for part in ("weight", "bias")]


# === The trained layer ===


def distilling(**weights) -> tuple[TrainedLayer, Teacher]:
    ours, theirs = classifier("tinybert", num_hidden_layers=2), classifier("bert", seed=5, num_hidden_layers=4, hidden_size=24)
    paddle.seed(7)
    objective = intermediate_objective(MAP, Projection("shared", 2, 16, 24), **weights)
    return TrainedLayer(ours, objective), Teacher(theirs, objective.needs_teacher)


def test_teacher_gets_no_gradients():
    layer, frozen = distilling()
    found = frozen(batch())
    assert all(tensor.stop_gradient for tensor in [*found.hidden.values(), *found.scores.values()])
    layer(batch(), found)["loss"].backward()
    assert all(parameter.grad is None for parameter in frozen.model.parameters())
    assert layer.student.tinybert.encoder.layers[0].linear1.weight.grad is not None


def test_teacher_is_not_run_when_no_part_needs_it():
    layer, frozen = distilling()
    theirs = Teacher(frozen.model, prediction_objective(kind_of_outputs(2), alpha=0.0).needs_teacher)
    frozen.model.bert.embeddings.register_forward_post_hook(lambda *_: pytest.fail("the teacher ran"))
    assert theirs(batch()) is None


def test_both_models_run_only_to_the_highest_needed_layer():
    layer, frozen = distilling(hidden_weight=0, attention_weight=0)
    frozen.model.bert.encoder.layers[0].self_attn.q_proj.register_forward_post_hook(lambda *_: pytest.fail("layer 1 of the teacher ran"))
    layer.student.tinybert.encoder.layers[0].self_attn.q_proj.register_forward_post_hook(
        lambda *_: pytest.fail("layer 1 of the student ran")
    )
    assert float(layer(batch(), frozen(batch()))["loss"]) > 0


def test_teacher_dropout_is_off_unless_asked_for():
    theirs = classifier("bert", hidden_dropout_prob=0.5)
    theirs.train()

    def logits(mode: str, head: str | None = None) -> np.ndarray:
        return Teacher(theirs, Needs(logits=True), mode, head)(batch()).logits.numpy()

    np.testing.assert_array_equal(logits("eval"), logits("eval"))
    assert not theirs.training
    assert np.abs(logits("train") - logits("train")).max() > 1e-3
    assert np.abs(logits("eval", "relu") - logits("eval")).max() > 1e-3


def test_unreached_parameters_are_frozen():
    layer, frozen = distilling()
    unreached = layer.freeze_unreached(batch(), frozen(batch()))
    # the last layer gets a gradient through its hidden states, only the head does not
    assert sorted(unreached) == [
        "student.classifier.bias",
        "student.classifier.weight",
        "student.tinybert.pooler.dense.bias",
        "student.tinybert.pooler.dense.weight",
    ]
    for name, parameter in layer.named_parameters():
        assert parameter.stop_gradient == (name in unreached), name
        assert parameter.grad is None or float(parameter.grad.abs().max()) == 0, name


def test_attention_loss_alone_freezes_the_last_feed_forward():
    layer, frozen = distilling(embedding_weight=0, hidden_weight=0)
    unreached = layer.freeze_unreached(batch(), frozen(batch()))
    last = [name for name in unreached if ".layers.1." in name]
    assert len(last) == 12 and not any("q_proj" in name or "k_proj" in name for name in last)
    assert "objective.projection.fit_dense.weight" in unreached


def test_frozen_padding_row_gets_no_gradient():
    def gradient(frozen_row: bool) -> np.ndarray:
        layer, frozen = distilling(hidden_weight=0, attention_weight=0, hidden_reduction="mean")
        if frozen_row:
            layer.freeze_padding_row()
        layer(batch(), frozen(batch()))["loss"].backward()
        return layer.student.tinybert.embeddings.word_embeddings.weight.grad.numpy()

    free, fixed = gradient(False), gradient(True)
    assert np.abs(free[0]).max() > 0 and np.abs(fixed[0]).max() == 0
    np.testing.assert_array_equal(free[1:], fixed[1:])


def test_gold_labels_are_compared_with_the_logits():
    model, labelled = classifier("bert"), batch(labels=np.array([0, 1, 1]))
    logits = trace(model, labelled, Needs(logits=True)).logits
    expected = float(paddle.nn.functional.cross_entropy(logits, labelled.labels))
    assert float(TrainedLayer(model, gold_objective(kind_of_outputs(2)))(labelled)["loss"]) == pytest.approx(expected, rel=1e-6)


def test_micro_batches_give_the_gradients_of_the_whole_batch():
    lengths = np.array([9.0, 4, 6, 3])
    whole = batch(rows=4, lengths=(9, 4, 6, 3))

    def micro_batch(rows: slice) -> Inputs:
        part, squares = lengths[rows], lengths**2
        share = {"rows": len(part) / 4, "tokens": part.sum() / lengths.sum(), "token_pairs": squares[rows].sum() / squares.sum()}
        return Inputs(whole.input_ids[rows], whole.token_type_ids[rows], whole.attention_mask[rows], share=share)

    def gradients(pieces: list[Inputs]) -> dict[str, np.ndarray]:
        layer, frozen = distilling()
        for piece in pieces:
            layer(piece, frozen(piece))["loss"].backward()
        return {name: p.grad.numpy() for name, p in layer.named_parameters() if p.grad is not None}

    expected = gradients([whole])
    found = gradients([micro_batch(slice(0, 1)), micro_batch(slice(1, 4))])
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        assert np.abs(found[name] - gradient).max() <= 1e-4 * np.abs(gradient).max() + 1e-7, name


def test_objective_drops_parts_with_weight_zero():
    loss = prediction_objective(kind_of_outputs(3)).parts[0].loss
    assert not Objective([Part("pred", loss, 0.0)]).parts

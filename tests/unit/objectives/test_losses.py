"""Each loss against hand-computed values, and its invariance to padding and splitting."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.objectives.random_traces import LENGTHS, Arrays, inputs, projection, student, teacher, tensor
from tinybert.models.trace import EncoderTrace, Inputs
from tinybert.objectives.attention import AttentionScoreLoss
from tinybert.objectives.binary import BinaryGoldLoss
from tinybert.objectives.gold import GoldLabelLoss, GoldScoreLoss
from tinybert.objectives.hidden import HiddenStateLoss
from tinybert.objectives.objective import Objective, Part
from tinybert.objectives.prediction import RegressionLoss, SoftCrossEntropyLoss
from tinybert.objectives.words import WordGoldLoss

STUDENT_LOGITS, TEACHER_LOGITS = [[1, 0, -1], [0, 0.5, 2]], [[2, 0, 0], [-1, 0, 3]]


def of_logits(loss, student_logits=STUDENT_LOGITS, teacher_logits=TEACHER_LOGITS, labels=None) -> float:
    batch = inputs((2, 2), 2, labels)
    return float(loss(EncoderTrace(logits=tensor(student_logits)), EncoderTrace(logits=tensor(teacher_logits)), batch))


# === Hand numbers (upstream.md, section 11) ===


@pytest.mark.parametrize(
    ("temperature", "reduction", "scale", "expected"),
    [
        (1.0, "mean", False, 0.189616),  # Huawei, MUD
        (1.0, "sum", False, 0.568849),  # PaddleNLP: three classes, three times as much
        (2.0, "mean", False, 0.305149),
        (2.0, "sum", False, 0.915447),
        (2.0, "mean", True, 1.220596),  # BERT-EMD
        (1.0, "sum", True, 0.568849),
    ],
)
def test_soft_cross_entropy_matches_the_published_conventions(temperature, reduction, scale, expected):
    np.testing.assert_allclose(of_logits(SoftCrossEntropyLoss(temperature, reduction, scale)), expected, atol=1e-6)


A = [[0.5, -1, -10000.2], [0.1, 0.2, -9999.5], [0.3, 0.3, -10000]]
B = [[0.4, -1.5, -10000.9], [0, 0.6, -10000.1], [1.3, -0.7, -9999]]


@pytest.mark.parametrize(("reduction", "expected"), [("zeroed", 0.27), ("raw", 0.475556), ("masked", 0.1075)])
def test_attention_loss_matches_the_published_conventions(reduction, expected):
    batch = inputs((2,), 3)
    scores = [EncoderTrace(scores={0: tensor([[values]])}) for values in (A, B)]
    found = float(AttentionScoreLoss(((0, 0),), reduction)(*scores, batch))
    # float32 has a spacing of 0.001 near -10000
    np.testing.assert_allclose(found, expected, atol=1e-3 if reduction == "raw" else 1e-6)


@pytest.mark.parametrize("reduction", ["masked", "zeroed", "raw"])
def test_attention_loss_is_the_mean_over_heads(reduction):
    # the paper's 1/h sum over heads is the mean over heads
    ours, theirs = student(heads=3), teacher(heads=3)

    def of(heads: slice) -> float:
        traces = ours.trace(), theirs.trace()
        for trace in traces:
            trace.scores = {i: score[:, heads] for i, score in trace.scores.items()}
        return float(AttentionScoreLoss(((0, 1),), reduction)(*traces, inputs()))

    each = [of(slice(i, i + 1)) for i in range(3)]
    assert of(slice(0, 3)) == pytest.approx(np.mean(each), rel=1e-5)


def test_published_rule_zeroes_small_real_scores_masked_keeps_them():
    low, high = [[-100.0, 0.0], [0.0, 0.0]], [[-99.0, 0.0], [0.0, 0.0]]
    traces = [EncoderTrace(scores={0: tensor([[values]])}) for values in (low, high)]
    batch = inputs((2,), 2)
    assert float(AttentionScoreLoss(((0, 0),), "zeroed")(*traces, batch)) == pytest.approx(99**2 / 4)
    assert float(AttentionScoreLoss(((0, 0),), "masked")(*traces, batch)) == pytest.approx(1 / 4)


def test_hidden_loss_matches_hand_computed_values():
    ours, theirs = [[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]], [[[1.0, 1.0], [1.0, 4.0], [0.0, 0.0]]]
    traces = EncoderTrace(hidden={1: tensor(ours)}), EncoderTrace(hidden={2: tensor(theirs)})
    batch = inputs((2,), 3)

    def of(reduction: str) -> float:
        from tinybert.models.projections import Projection

        return float(HiddenStateLoss(((1, 2),), Projection("none", 2, 2, 2), reduction)(*traces, batch))

    assert of("masked") == pytest.approx((1 + 4) / 4)
    assert of("mean") == pytest.approx((1 + 4 + 81 + 81) / 6)


def test_gold_losses_match_hand_computed_values():
    expected = np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in zip(np.array(STUDENT_LOGITS), (0, 1), strict=True)])
    assert of_logits(GoldLabelLoss(), labels=np.array([0, 1])) == pytest.approx(expected, rel=1e-6)
    scores = np.array([1.0, 4.0], "float32")
    assert of_logits(GoldScoreLoss(), [[2.0], [1.5]], labels=scores) == pytest.approx((1 + 6.25) / 2)


def test_weighted_gold_losses_match_hand_computed_values():
    rows = [np.log(np.exp(row).sum()) - row[label] for row, label in zip(np.array(STUDENT_LOGITS), (0, 1), strict=True)]
    loss = GoldLabelLoss()
    loss.weigh(np.array([0.5, 3.0, 1.0]))
    assert of_logits(loss, labels=np.array([0, 1])) == pytest.approx((0.5 * rows[0] + 3 * rows[1]) / 2, rel=1e-6)
    words = WordGoldLoss()
    words.weigh(np.array([0.5, 3.0, 1.0]))
    tagged = of_logits(words, [STUDENT_LOGITS + [[9.0, 0.0, 0.0]]], labels=np.array([[0, 1, -1]]))
    assert tagged == pytest.approx((0.5 * rows[0] + 3 * rows[1]) / 2, rel=1e-6)
    labels = BinaryGoldLoss()
    labels.weigh(np.array([[2.0, 0.5], [4.0, 0.1]]))
    logits, gold = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([[1, 0], [0, 1]], "float32")
    each = np.log1p(np.exp(logits)) - gold * logits
    assert of_logits(labels, logits.tolist(), labels=gold) == pytest.approx((each * [[2.0, 0.1], [0.5, 4.0]]).mean(), rel=1e-6)


def test_regression_loss_matches_hand_computed_values():
    assert of_logits(RegressionLoss(), [[2.0], [1.0]], [[0.0], [4.0]]) == pytest.approx((4 + 9) / 2)


def test_soft_cross_entropy_of_one_output_is_zero():
    # PaddleNLP's behaviour for STS-B, available as `regression_target softmax`
    assert of_logits(SoftCrossEntropyLoss(), [[2.0], [1.0]], [[0.0], [4.0]]) == 0.0


def test_loss_is_the_sum_over_all_layer_pairs():
    attention = AttentionScoreLoss(((0, 1), (1, 3)), "raw")
    hidden = HiddenStateLoss(((1, 2), (2, 4)), projection(), "mean")
    arguments = student().trace(), teacher().trace(), inputs()
    for loss, expected in ((attention, 2), (hidden, 2)):
        parts = [float(value) for value in loss.terms(*arguments)]
        assert len(parts) == expected
        assert float(loss(*arguments)) == pytest.approx(sum(parts), rel=1e-6)
    ours, theirs = student(), teacher()
    masked = [np.where(theirs.mask[:, None, None, :] > 0, array, 0) for array in (ours.scores[1] - theirs.scores[3],)]
    zeroed = AttentionScoreLoss(((1, 3),), "zeroed")
    np.testing.assert_allclose(float(zeroed(*arguments)), (masked[0] ** 2).mean(), rtol=1e-5)


def test_per_layer_projection_of_the_right_entry_is_used():
    loss = HiddenStateLoss(((2, 4),), projection("per_layer"), "mean")
    weights = loss.projection.arrays()
    projected = student().hidden[2] @ weights["fit_denses.2.weight"] + weights["fit_denses.2.bias"]
    expected = ((projected - teacher().hidden[4]) ** 2).mean()
    np.testing.assert_allclose(float(loss(student().trace(), teacher().trace(), inputs())), expected, rtol=1e-5)


# === Padding ===


def every_loss() -> list:
    pairs, entries = ((0, 1), (1, 3)), ((0, 0), (1, 2), (2, 4))
    return [
        *(AttentionScoreLoss(pairs, reduction) for reduction in ("masked", "zeroed", "raw")),
        AttentionScoreLoss(pairs, "masked", "average"),
        *(HiddenStateLoss(entries, projection(), reduction) for reduction in ("masked", "mean")),
        HiddenStateLoss(entries, projection("per_layer"), "masked"),
        SoftCrossEntropyLoss(2.0, "sum"),
        SoftCrossEntropyLoss(2.0, "mean", scale=False),
        GoldLabelLoss(),
        RegressionLoss(),
    ]


def name_of(loss) -> str:
    return "-".join([type(loss).__name__, getattr(loss, "reduction", ""), getattr(loss, "heads", "")])


LABELS = np.array([0, 2, 1, 0])


@pytest.mark.parametrize("loss", every_loss(), ids=name_of)
def test_masked_losses_do_not_depend_on_padding(loss):
    ours, theirs = student(), teacher()
    short = float(loss(ours.trace(), theirs.trace(), inputs(labels=LABELS)))
    wide = float(loss(ours.wider(4).trace(), theirs.wider(4).trace(), inputs(width=11, labels=LABELS)))
    counts_padding = getattr(loss, "reduction", "") in ("zeroed", "raw") or (isinstance(loss, HiddenStateLoss) and loss.reduction == "mean")
    if counts_padding:  # otherwise the comparison could not fail
        assert abs(wide - short) > 0.01 * short
    else:
        assert wide == pytest.approx(short, rel=1e-5)


@pytest.mark.parametrize("loss", every_loss()[:7], ids=name_of)
def test_masked_losses_send_no_gradient_into_padding(loss):
    trace = student().trace(trained=True)
    loss(trace, teacher().trace(), inputs()).backward()
    mask = inputs().attention_mask.numpy()
    if isinstance(loss, AttentionScoreLoss):
        gradient, real = trace.scores[0].grad.numpy(), mask[:, None, :, None] * mask[:, None, None, :]
    else:
        gradient, real = trace.hidden[1].grad.numpy(), mask[:, :, None]
    assert np.abs(gradient * real).max() > 0
    assert (np.abs(gradient * (1 - real)).max() == 0) == (loss.reduction == "masked")


# === Shares ===


def share_of(rows: slice) -> dict[str, float]:
    part, whole = np.array(LENGTHS[rows]), np.array(LENGTHS)
    return {
        "rows": len(part) / len(whole),
        "tokens": float(part.sum() / whole.sum()),
        "token_pairs": float((part**2).sum() / (whole**2).sum()),
    }


def part_of(whole: Inputs, rows: slice) -> Inputs:
    labels = None if whole.labels is None else whole.labels[rows]
    return Inputs(whole.input_ids[rows], whole.token_type_ids[rows], whole.attention_mask[rows], labels, share_of(rows))


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("loss", every_loss(), ids=name_of)
def test_micro_batches_sum_to_the_whole_batch(loss, cut):
    ours, theirs, whole = student(), teacher(), inputs(labels=LABELS)
    objective = Objective([Part("part", loss, 0.5)])
    expected = objective(ours.trace(), theirs.trace(), whole)
    halves = [objective(ours.trace(rows), theirs.trace(rows), part_of(whole, rows)) for rows in (slice(None, cut), slice(cut, None))]
    for name in ("part", "loss"):
        assert sum(float(half[name]) for half in halves) == pytest.approx(float(expected[name]), rel=1e-5)
    assert float(expected["loss"]) == pytest.approx(0.5 * float(expected["part"]), rel=1e-6)


# === Heads ===


def test_head_average_matches_the_means_over_heads():
    ours, theirs = student(heads=2), teacher(heads=6)
    loss = AttentionScoreLoss(((1, 3),), "masked", "average")
    mask = ours.mask[:, :, None] * ours.mask[:, None, :]
    difference = (ours.scores[1].mean(1) - theirs.scores[3].mean(1)) * mask
    expected = (difference**2).sum() / mask.sum()
    np.testing.assert_allclose(float(loss(ours.trace(), theirs.trace(), inputs())), expected, rtol=1e-4)


def test_head_average_equals_head_match_for_a_single_head():
    ours, theirs = student(heads=1), teacher(heads=1)
    arguments = ours.trace(), theirs.trace(), inputs()
    for reduction in ("masked", "zeroed", "raw"):
        match, average = (float(AttentionScoreLoss(((0, 1),), reduction, heads)(*arguments)) for heads in ("match", "average"))
        assert average == pytest.approx(match, rel=1e-6)


# === Temperature ===


def test_scaling_keeps_the_gradient_size_at_high_temperature():
    def largest(temperature: float, scale: bool) -> float:
        logits = tensor(STUDENT_LOGITS, trained=True)
        loss = SoftCrossEntropyLoss(temperature, "sum", scale)
        loss(EncoderTrace(logits=logits), EncoderTrace(logits=tensor(TEACHER_LOGITS)), inputs((2, 2), 2)).backward()
        return float(logits.grad.abs().max())

    assert largest(8, True) > 0.5 * largest(1, True)
    assert largest(8, False) < 0.05 * largest(1, False)


def test_losses_do_not_change_the_teachers_arrays():
    theirs: Arrays = teacher()
    trace = theirs.trace()
    for loss in every_loss():
        loss(student().trace(), trace, inputs(labels=LABELS))
    for i, state in trace.hidden.items():
        np.testing.assert_array_equal(state.numpy(), theirs.hidden[i])

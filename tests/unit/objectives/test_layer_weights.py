"""Layer weights over steps, micro-batches, processes and checkpoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.objectives import random_traces as made
from tinybert.kinds.registry import DEFAULT
from tinybert.objectives.emd import Shares, emd_objective
from tinybert.objectives.layer_weights import LayerWeights, transport_flow, updated

COSTS = np.array([[1, 2, 3], [2, 1, 0.5]])


def one_step(weights: LayerWeights, cost: np.ndarray = COSTS, kind: str = "attn") -> None:
    weights.flow(kind, cost, share=1.0, keep=True)
    weights.end_step()


@pytest.mark.parametrize("rule", ["division", "softmax"])
def test_layer_without_flow_keeps_finite_weights(rule):
    weights = np.array([0.0, 0.4, 0.6])
    for paid in ([0.0, 0.2, 0.3], [0.0, 0.0, 0.3], [0.0, 0.0, 0.0]):
        new = updated(weights, np.array(paid), rule)
        assert np.isfinite(new).all() and new[0] == 0.0
        np.testing.assert_allclose(new.sum(), 1.0, atol=1e-12)
    assert updated(weights, np.array([0.0, 0.0, 0.3]), rule)[1] == 0.4


def test_perfectly_matched_layer_keeps_its_weight():
    new = updated(np.array([0.2, 0.3, 0.5]), np.array([0.0, 0.3, 0.1]))
    assert new[0] == 0.2
    # unit costs 1 and 0.2: the others share 0.8 as 1 to 5
    np.testing.assert_allclose(new[1:], [0.8 / 6, 0.8 * 5 / 6], atol=1e-12)


@pytest.mark.parametrize("rule", ["division", "softmax"])
def test_weights_stay_finite_and_sum_to_one_over_many_steps(rule):
    random = np.random.default_rng(0)
    weights = LayerWeights(4, 12, rule=rule, temperature=1.0, second_softmax=False, merge=False)
    for _ in range(300):
        for kind in ("attn", "hidn"):
            weights.flow(kind, random.random((4, 12)) ** 4, share=1.0, keep=True)
        weights.end_step()
    for name, array in weights.by_name().items():
        assert np.isfinite(array).all() and (array >= 0).all(), name
        np.testing.assert_allclose(array.sum(), 1.0, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_flow_does_not_depend_on_the_scale_of_the_costs(scale):
    flow = transport_flow(COSTS * scale, np.full(2, 0.5), np.full(3, 1 / 3))
    np.testing.assert_allclose(flow, [[1 / 3, 1 / 6, 0], [0, 1 / 6, 1 / 3]], atol=1e-12)


def test_weights_update_every_n_steps_or_never():
    weights, still = LayerWeights(2, 3, every=2), LayerWeights(2, 3, update=False)
    one_step(weights), one_step(still)
    assert weights.student["attn"].tolist() == [0.5, 0.5]
    one_step(weights), one_step(still)
    np.testing.assert_allclose(weights.student["attn"], [1 / 3, 2 / 3], atol=1e-12)
    assert still.student["attn"].tolist() == [0.5, 0.5] and still.flows


def test_single_kind_is_merged_with_uniform_weights_of_the_other():
    weights = LayerWeights(2, 3)
    one_step(weights)
    np.testing.assert_allclose(weights.student["attn"], [1 / 3, 2 / 3], atol=1e-12)


def _step(shares: list[slice], ranks: int = 1, **options) -> tuple[dict, list[float], dict]:
    """Weights, terms and costs after one step over these rows, split into micro-batches, `ranks` of them at a time."""
    student, teacher = made.student(), made.teacher()
    lengths = np.array(made.LENGTHS, float)
    others: list[np.ndarray] = []
    weights = LayerWeights(2, 4, over_ranks=lambda mine: mine + sum(others, np.zeros_like(mine)), **options)
    objective = emd_objective((2, 4), weights, made.projection(), DEFAULT, shares=Shares(beta=1.0))
    total: dict[str, float] = {}

    def inputs_of(rows: slice):
        part = made.inputs(made.LENGTHS[rows], labels=np.array([0, 1, 2, 0])[rows])
        own = lengths[rows]
        share = {"rows": len(own) / 4, "tokens": own.sum() / lengths.sum(), "token_pairs": (own**2).sum() / (lengths**2).sum()}
        return replace(part, share=share)

    for first in range(0, len(shares), ranks):
        group = shares[first : first + ranks]
        for mine in group:
            for p in objective.parts:
                others.clear()
                if p.name in ("attn", "hidn"):
                    for rows in (rows for rows in group if rows != mine):
                        batch = inputs_of(rows)
                        cost = p.loss.distances(student.trace(rows), teacher.trace(rows), batch).means()
                        others.append(np.append(cost * batch.share[p.loss.unit], batch.share[p.loss.unit]))
                p.loss.training = mine == group[0]  # every rank has its own loss, one of them updates the weights
                batch = inputs_of(mine)
                value = p.loss(student.trace(mine), teacher.trace(mine), batch) * batch.share[p.loss.unit]
                total[p.name] = total.get(p.name, 0.0) + float(value)
    weights.end_step()
    return weights.by_name(), total, weights.costs


@pytest.mark.parametrize("cut", [[slice(0, 2), slice(2, 4)], [slice(0, 1), slice(1, 4)], [slice(i, i + 1) for i in range(4)]])
def test_accumulation_does_not_change_the_layer_weights(cut):
    whole, _, costs = _step([slice(0, 4)])
    parts, _, summed = _step(cut)
    for kind, cost in costs.items():
        np.testing.assert_allclose(summed[kind], cost, rtol=1e-6)
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("options", [{}, {"rule": "softmax", "temperature": 5.0}, {"merge": False}], ids=str)
def test_ranks_give_the_same_layer_weights_and_losses_as_one_process(options):
    whole, losses, _ = _step([slice(0, 4)], **options)
    parts, shared, _ = _step([slice(0, 1), slice(1, 4)], ranks=2, **options)
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, rtol=1e-6, err_msg=name)
    for name, value in losses.items():
        np.testing.assert_allclose(shared[name], value, rtol=1e-5, err_msg=name)


def test_checkpoint_restores_weights_and_update_period():
    weights = LayerWeights(2, 3, every=2, merge=False)
    for _ in range(3):
        one_step(weights)
    other = LayerWeights(2, 3, every=2, merge=False)
    other.load_arrays({name: array.copy() for name, array in weights.arrays().items()})
    for each in (weights, other):
        one_step(each, COSTS.copy() + 0.1)
    for name, array in weights.arrays().items():
        assert array.tobytes() == other.arrays()[name].tobytes(), name


def test_logged_weights_average_all_steps_since_the_last_log():
    weights, steps = LayerWeights(3, 3), []
    for step in range(8):
        before = {kind: array.copy() for kind, array in weights.student.items()}
        one_step(weights, np.random.default_rng(step).random((3, 3)))
        steps.append({"attn_student": before["attn"], "attn_flow": weights.flows["attn"]})
        if step == 3:
            assert weights.observe()["attn_flow"].shape == (3, 3)
        if step == 5:
            other = LayerWeights(3, 3)
            other.load_arrays({name: array.copy() for name, array in weights.arrays().items()})
            weights = other
    shown = weights.observe()
    for name in ("attn_student", "attn_flow"):
        np.testing.assert_allclose(shown[name], np.mean([each[name] for each in steps[4:]], 0), atol=1e-12)
        assert np.abs(steps[6][name] - steps[7][name]).max() > 0.01
    np.testing.assert_allclose(shown["attn_flow"].sum(1), shown["attn_student"], atol=1e-12)
    assert not weights.observe()


@pytest.mark.parametrize(
    "other",
    [LayerWeights(2, 4), LayerWeights(3, 3), LayerWeights(2, 3, kinds=("attn",)), None],
    ids=["a deeper teacher", "a deeper student", "one kind", "another method"],
)
def test_layer_weights_of_another_run_are_refused(other):
    from tinybert.errors import UserError

    with pytest.raises(UserError, match="layer weights for"):
        LayerWeights(2, 3).load_arrays(other.arrays() if other else {})


def test_micro_batch_with_zero_share_gives_finite_weights():
    weights = LayerWeights(2, 3)
    assert np.isfinite(weights.flow("attn", COSTS, share=0.0, keep=True)).all()
    weights.flow("attn", COSTS, share=1.0, keep=True)
    weights.end_step()
    np.testing.assert_allclose(weights.student["attn"], [1 / 3, 2 / 3], atol=1e-12)


def test_missing_solver_is_reported_with_its_install_command(monkeypatch):
    import sys

    from tinybert.errors import UserError

    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(UserError, match="pip install POT"):
        one_step(LayerWeights(2, 3))

"""MiniLMv2's relations against a NumPy formula, and invariance to padding and head counts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.objectives.random_traces import inputs, tensor
from tinybert.errors import UserError
from tinybert.models.trace import EncoderTrace
from tinybert.objectives.relation import KINDS, RelationLoss

LENGTHS, T = (5, 3, 4), 5
SHAPES = {"student": (2, 12), "teacher": (4, 24)}  # heads, width


def made_up(role: str, seed: int, width: int = T) -> dict[str, np.ndarray]:
    """Queries, keys and values `[B, h, width, head size]`; noise where rows are padded."""
    heads, dimensions = SHAPES[role]
    random = np.random.default_rng(seed)
    return {kind: 2 * random.standard_normal((len(LENGTHS), heads, width, dimensions // heads)).astype("float32") for kind in KINDS}


def trace_of(arrays: dict[str, np.ndarray]) -> EncoderTrace:
    return EncoderTrace(**{kind: {0: tensor(array)} for kind, array in arrays.items()})


def expected(student: dict[str, np.ndarray], teacher: dict[str, np.ndarray], relation_heads: int) -> float:
    """Equation 1 of MiniLMv2, by row and head in float64, only on tokens without padding."""
    total = 0.0
    for kind in KINDS:
        divergences = []
        for row, length in enumerate(LENGTHS):
            for head in range(relation_heads):
                relations = []
                for arrays in (student, teacher):
                    heads = arrays[kind][row].astype("float64")  # [h, T, head size]
                    whole = np.concatenate(list(heads), axis=1)[:length]  # [length, D]
                    size = whole.shape[1] // relation_heads
                    part = whole[:, head * size : (head + 1) * size]
                    scores = np.exp(part @ part.T / np.sqrt(size))
                    relations.append(scores / scores.sum(1, keepdims=True))
                ours, theirs = relations
                divergences += list((theirs * np.log(theirs / ours)).sum(1))
        total += float(np.mean(divergences))
    return total


@pytest.mark.parametrize("relation_heads", [1, 3, 12])
def test_relation_loss_matches_the_formula(relation_heads):
    student, teacher = made_up("student", 1), made_up("teacher", 2)
    loss = RelationLoss((0, 0), relation_heads, (12, 24))
    found = float(loss(trace_of(student), trace_of(teacher), inputs(LENGTHS, T)))
    assert found == pytest.approx(expected(student, teacher, relation_heads), rel=1e-5)
    assert found > 0.1


def test_relation_loss_does_not_depend_on_padding():
    student, teacher = made_up("student", 1), made_up("teacher", 2)
    loss = RelationLoss((0, 0), 3, (12, 24))
    found = float(loss(trace_of(student), trace_of(teacher), inputs(LENGTHS, T)))
    wider = []
    for role, arrays in (("student", student), ("teacher", teacher)):
        noise = made_up(role, 9, T + 4)
        for kind in KINDS:
            noise[kind][:, :, :T] = arrays[kind]
        wider.append(trace_of(noise))
    assert float(loss(*wider, inputs(LENGTHS, T + 4))) == pytest.approx(found, rel=1e-6)


def test_student_equal_to_its_teacher_has_zero_loss():
    arrays = trace_of(made_up("teacher", 3))
    assert float(RelationLoss((0, 0), 6, (24, 24))(arrays, arrays, inputs(LENGTHS, T))) == pytest.approx(0.0, abs=1e-6)


def test_relation_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match=r"5 relation heads do not divide the 12 .*\n.*: 1, 2, 3, 4, 6, 12\."):
        RelationLoss((0, 0), 5, (12, 24))

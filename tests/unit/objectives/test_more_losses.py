"""PKD, DistilBERT and MiniLM losses against NumPy formulas of their papers, on real tokens only."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.objectives.random_traces import inputs, tensor
from tinybert.errors import UserError
from tinybert.methods.pkd import layer_pairs
from tinybert.models.projections import Projection
from tinybert.models.trace import EncoderTrace
from tinybert.objectives.cosine import CosineLoss
from tinybert.objectives.last_attention import LastAttentionLoss
from tinybert.objectives.patient import PatientLoss

LENGTHS, T, HEADS = (5, 3, 4), 5, 2
SAME = Projection("none", 4, 6, 6)


def hidden(seed: int, width: int = T) -> dict[int, np.ndarray]:
    random = np.random.default_rng(seed)
    return {entry: random.standard_normal((len(LENGTHS), width, 6)).astype("float32") for entry in (1, 2, 3)}


def attention(seed: int, size: int, width: int = T) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.standard_normal((len(LENGTHS), HEADS, width, width)).astype("float32")
    return {"scores": scores, "value": random.standard_normal((len(LENGTHS), HEADS, width, size)).astype("float32")}


def states(arrays: dict[int, np.ndarray]) -> EncoderTrace:
    return EncoderTrace(hidden={entry: tensor(array) for entry, array in arrays.items()})


def attended(arrays: dict[str, np.ndarray]) -> EncoderTrace:
    return EncoderTrace(**{name: {0: tensor(array)} for name, array in arrays.items()})


def softmax(scores: np.ndarray) -> np.ndarray:
    exponential = np.exp(scores.astype("float64"))
    return exponential / exponential.sum(-1, keepdims=True)


def test_patient_loss_matches_the_formula():
    ours, theirs = hidden(1), hidden(2)
    total = []
    for s, t in ((1, 2), (2, 3)):
        for row in range(len(LENGTHS)):
            a, b = ours[s][row, 0].astype("float64"), theirs[t][row, 0].astype("float64")
            total.append(np.mean((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2))
    found = float(PatientLoss(((1, 2), (2, 3)), SAME)(states(ours), states(theirs), inputs(LENGTHS, T)))
    assert found == pytest.approx(np.mean(total), rel=1e-5)


def test_pkd_layer_pairs_match_the_paper():
    assert layer_pairs(6, 12, "skip") == ((1, 2), (2, 4), (3, 6), (4, 8), (5, 10))
    assert layer_pairs(6, 12, "last") == ((1, 7), (2, 8), (3, 9), (4, 10), (5, 11))
    assert layer_pairs(1, 12, "skip") == ()


def test_cosine_loss_matches_the_formula():
    ours, theirs = hidden(3), hidden(4)
    cosines = [
        1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for row, length in enumerate(LENGTHS)
        for a, b in zip(ours[2][row, :length].astype("float64"), theirs[3][row, :length].astype("float64"), strict=True)
    ]
    found = float(CosineLoss((2, 3), SAME)(states(ours), states(theirs), inputs(LENGTHS, T)))
    assert found == pytest.approx(np.mean(cosines), rel=1e-5)


def test_minilm_loss_matches_the_formula():
    ours, theirs = attention(5, 3), attention(6, 4)
    divergences: dict[str, list[float]] = {"attention": [], "value": []}
    for row, length in enumerate(LENGTHS):
        for head in range(HEADS):
            pairs = {"attention": [arrays["scores"][row, head, :length, :length] for arrays in (ours, theirs)]}
            values = [arrays["value"][row, head, :length].astype("float64") for arrays in (ours, theirs)]
            pairs["value"] = [value @ value.T / np.sqrt(value.shape[1]) for value in values]
            for name, (student, teacher) in pairs.items():
                p, q = softmax(teacher), softmax(student)
                divergences[name] += list((p * np.log(p / q)).sum(-1))
    loss = LastAttentionLoss((0, 0), (HEADS, HEADS))
    found = [float(value) for value in loss.terms(attended(ours), attended(theirs), inputs(LENGTHS, T))]
    assert found == pytest.approx([np.mean(divergences["attention"]), np.mean(divergences["value"])], rel=1e-4)
    with pytest.raises(UserError, match="choose a student with the same number of heads"):
        LastAttentionLoss((0, 0), (2, 4))

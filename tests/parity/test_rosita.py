"""Importance, scores, what is kept, and the pruned model, against the published code."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from tests.parity.fixtures import fixtures, inputs_of, model_of, part, read
from tests.tiny import all_needs, word_pieces
from tinybert.models.families import family
from tinybert.models.loading import LoadedModel, LoadReport
from tinybert.models.names import to_paddle
from tinybert.models.trace import Needs, trace
from tinybert.objectives.gold import GoldLabelLoss
from tinybert.prune.factorise import truncated
from tinybert.prune.importance import GradientSums, task_loss_gradients
from tinybert.prune.reduction import Shape, choose, pruned
from tinybert.prune.scores import head_scores, neuron_scores, strongest

FIXTURES = fixtures("rosita_*.npz")
each = pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)


def model_in(config, arrays) -> LoadedModel:
    model, _ = model_of(config["model"], part(arrays, "model/"), config["num_labels"])
    return LoadedModel(model, family("tinybert"), word_pieces(), None, {}, LoadReport("fixture"))


def ours(names: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Importance with our names and orientation."""
    renamed, unknown = to_paddle(names, "x")
    assert not unknown
    return {name.removeprefix("x.encoder.").removesuffix(".weight"): array for name, array in renamed.items()}


def shape_of(config) -> Shape:
    rank = config["emb_hidden_dim"] if config["emb_hidden_dim"] > 0 else None
    return Shape(tuple(range(1, config["num_layers"] + 1)), config["keep_heads"], config["ffn_hidden_dim"], rank)


def standing_counter(config) -> bool:
    return config["ffn_hidden_dim"] == config["model"]["ffn"]


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@each
def test_importance_matches_the_published_accumulation(path):
    config, arrays = read(path)
    loaded = model_in(config, arrays)
    loaded.model.train()
    sums = GradientSums(loaded.model)
    for step in range(config["batches"]):
        loss = task_loss_gradients(loaded.model, inputs_of(arrays, step), GoldLabelLoss(), head="plain")
        np.testing.assert_allclose(loss, arrays["losses"][step], rtol=1e-5)
        sums.add()
        loaded.model.clear_gradients()
    found, expected = sums.scores(), ours(part(arrays, "taylor/"))
    assert set(found) == set(expected)
    for name, array in expected.items():
        close(found[name], array)


@each
def test_kept_heads_and_neurons_match_the_published_ones(path):
    config, arrays = read(path)
    importance = ours(part(arrays, "taylor/"))
    wanted = shape_of(config)
    kept = choose(model_in(config, arrays), wanted, importance, standing_counter(config))
    right = choose(model_in(config, arrays), wanted, importance)
    for layer in range(config["model"]["layers"]):
        heads = head_scores(importance[f"layers.{layer}.self_attn.out_proj"], config["head_size"])
        close(heads, arrays[f"head_scores/{layer}"])
        close(neuron_scores(importance[f"layers.{layer}.linear1"], importance[f"layers.{layer}.linear2"]), arrays[f"neuron_scores/{layer}"])
        if layer < config["num_layers"]:
            assert kept.heads[layer].tolist() == arrays[f"kept_heads/{layer}"].tolist()
            assert kept.neurons[layer].tolist() == arrays[f"kept_neurons/{layer}"].tolist()
            assert right.heads[layer].tolist() == strongest(arrays[f"head_scores/{layer}"], config["keep_heads"]).tolist()


@each
def test_pruned_model_matches_the_published_outputs(path):
    config, arrays = read(path)
    loaded, wanted = model_in(config, arrays), shape_of(config)
    kept = choose(loaded, wanted, ours(part(arrays, "taylor/")), standing_counter(config))
    small, _ = pruned(loaded, wanted, kept)
    found = {name: value.numpy() for name, value in small.model.state_dict().items()}
    expected, _ = to_paddle(part(arrays, "pruned/"), "tinybert")
    for name, array in expected.items():
        np.testing.assert_array_equal(found.pop(name), array.astype("float32"), err_msg=name)
    assert all("word_embeddings" in name for name in found)  # the two factors, whose signs are arbitrary
    assert small.parameters() == int(arrays["n_params_pruned"])
    small.model.eval()
    needs = all_needs(config["num_layers"])
    with paddle.no_grad():
        got = trace(small.model, inputs_of(arrays, 0), needs, "relu")
        plain = trace(small.model, inputs_of(arrays, 0), Needs(logits=True), "plain")
    np.testing.assert_allclose(got.logits.numpy(), arrays["pruned_logits_batch0"], atol=1e-4)
    np.testing.assert_allclose(plain.logits.numpy(), arrays["pruned_logits_batch0_no_relu"], atol=1e-4)
    for layer, scores in got.scores.items():
        np.testing.assert_allclose(scores.numpy(), arrays["pruned_atts_batch0"][layer], atol=5e-3)
    for entry, hidden in got.hidden.items():
        np.testing.assert_allclose(hidden.numpy(), arrays["pruned_reps_batch0"][entry], atol=1e-4)


@pytest.mark.parametrize("path", [path for path in FIXTURES if "to_3l" in path.stem], ids=lambda path: path.stem)
def test_embedding_factors_match_the_published_truncated_svd(path):
    config, arrays = read(path)
    table = arrays["model/bert.embeddings.word_embeddings.weight"]
    factor, linear, kept = truncated(table, config["emb_hidden_dim"])
    np.testing.assert_allclose(factor @ linear, arrays["embedding_rank_r"], atol=1e-4)
    close(factor.T @ factor, arrays["embedding_factor_gram"])
    np.testing.assert_allclose(linear @ linear.T, arrays["embedding_factor2_gram"], atol=1e-5)
    squares = arrays["embedding_singular_values"] ** 2
    np.testing.assert_allclose(kept, squares[: config["emb_hidden_dim"]].sum() / squares.sum(), rtol=1e-6)

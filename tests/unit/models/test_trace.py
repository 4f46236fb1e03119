"""A trace equals the model's own forward pass, stopped where nothing more is needed."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from tests.tiny import all_needs, batch, classifier, own_forward
from tinybert.models.trace import Inputs, Needs, base_of, layers_of, trace

TYPES = ("bert", "tinybert", "ernie", "roberta", "electra", "distilbert")
LIKE_BERT = TYPES[:4]  # their classes return hidden states and attention weights
LAYERS = 3


def own_pass(model, inputs: Inputs, **more):
    with paddle.no_grad():
        return base_of(model)(
            inputs.input_ids, token_type_ids=inputs.token_type_ids, attention_mask=inputs.attention_mask, return_dict=True, **more
        )


def full_trace(model, inputs: Inputs):
    with paddle.no_grad():
        return trace(model, inputs, all_needs(LAYERS))


@pytest.mark.parametrize("model_type", LIKE_BERT)
def test_hidden_states_and_pooled_output_match_the_model(model_type):
    model, inputs = classifier(model_type), batch()
    own = own_pass(model, inputs, output_hidden_states=True)
    found = full_trace(model, inputs)
    assert sorted(found.hidden) == list(range(LAYERS + 1))
    for entry, state in enumerate(own.hidden_states):
        np.testing.assert_array_equal(found.hidden[entry].numpy(), state.numpy(), err_msg=f"entry {entry}")
    np.testing.assert_array_equal(found.hidden[LAYERS].numpy(), own.last_hidden_state.numpy())
    if found.pooled is not None:  # RoBERTa's classifier has no pooler
        np.testing.assert_array_equal(found.pooled.numpy(), own.pooler_output.numpy())


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("model_type", TYPES)
def test_logits_match_the_model(model_type, outputs):
    model, inputs = classifier(model_type, outputs), batch()
    with paddle.no_grad():
        found = trace(model, inputs, Needs(logits=True)).logits.numpy()
        own = own_forward(model, inputs).numpy()
    assert found.shape == (3, outputs)
    np.testing.assert_array_equal(found, own)


@pytest.mark.parametrize("model_type", LIKE_BERT)
def test_softmax_of_scores_matches_the_models_attention_weights(model_type):
    model, inputs = classifier(model_type), batch()
    own = own_pass(model, inputs, output_attentions=True).attentions
    found = full_trace(model, inputs)
    padded = inputs.attention_mask.numpy() == 0
    for layer, weights in enumerate(own):
        scores = found.scores[layer]
        np.testing.assert_allclose(F.softmax(scores).numpy(), weights.numpy(), atol=1e-6)
        assert (scores.numpy().transpose(0, 3, 1, 2)[padded] < -9000).all()


def test_scores_are_the_product_of_the_traced_queries_and_keys():
    model, inputs = classifier(), batch()
    found = full_trace(model, inputs)
    query, key = found.query[1].numpy(), found.key[1].numpy()
    assert query.shape == key.shape == found.value[1].numpy().shape == (3, 2, 9, 8)
    mask = (1 - inputs.attention_mask.numpy())[:, None, None, :] * -1e4
    np.testing.assert_allclose(found.scores[1].numpy(), query @ key.transpose(0, 1, 3, 2) / np.sqrt(8) + mask, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model_type", TYPES)
def test_padding_does_not_change_the_logits(model_type):
    model = classifier(model_type)
    short = batch(width=9, lengths=(7, 4, 6))
    wide = batch(width=12, lengths=(7, 4, 6))
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        tensor = getattr(wide, name)
        tensor[:, :9] = getattr(short, name)
        tensor[:, 9:] = 0
    with paddle.no_grad():
        one, other = (trace(model, inputs, Needs(logits=True)).logits.numpy() for inputs in (short, wide))
    np.testing.assert_allclose(one, other, atol=1e-5)


class Calls:
    """Count how often the parts of each layer run."""

    def __init__(self, model: nn.Layer) -> None:
        self.seen: list[str] = []
        for i, layer in enumerate(layers_of(model)):
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                getattr(layer.self_attn, part).register_forward_post_hook(self._note(f"{part}{i}"))
            layer.linear1.register_forward_post_hook(self._note(f"ffn{i}"))
        base_of(model).pooler.register_forward_post_hook(self._note("pooler"))

    def _note(self, name: str):
        return lambda *_: self.seen.append(name)


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        (Needs(hidden=frozenset({0})), ""),
        (Needs(hidden=frozenset({1})), "q_proj0 k_proj0 v_proj0 out_proj0 ffn0"),
        (Needs(scores=frozenset({0})), "q_proj0 k_proj0"),
        (Needs(scores=frozenset({1})), "q_proj0 k_proj0 v_proj0 out_proj0 ffn0 q_proj1 k_proj1"),
        (Needs(hidden=frozenset({1}), scores=frozenset({0})), "q_proj0 k_proj0 v_proj0 out_proj0 ffn0"),
        (Needs(qkv=frozenset({0})), "q_proj0 k_proj0 v_proj0"),
    ],
    ids=["embedding", "hidden 1", "scores 0", "scores 1", "both of layer 1", "qkv 0"],
)
def test_only_the_needed_parts_are_computed(needs, expected):
    model = classifier()
    calls = Calls(model)
    with paddle.no_grad():
        found = trace(model, batch(), needs)
    assert calls.seen == expected.split()
    assert (set(found.hidden), set(found.scores), set(found.query)) == (needs.hidden, needs.scores, needs.qkv)
    assert found.pooled is None and found.logits is None


def test_logits_run_every_layer():
    model = classifier()
    calls = Calls(model)
    trace(model, batch(), Needs(logits=True))
    assert [name for name in calls.seen if name.startswith("ffn") or name == "pooler"] == ["ffn0", "ffn1", "ffn2", "pooler"]


def test_joined_needs_contain_both():
    one = Needs(hidden=frozenset({0}), scores=frozenset({1}), pooled=True)
    other = Needs(hidden=frozenset({2}), qkv=frozenset({0}), logits=True)
    assert one | other == Needs(frozenset({0, 2}), frozenset({1}), frozenset({0}), True, True)
    assert not Needs() and Needs(pooled=True) and Needs(qkv=frozenset({0}))
    assert Needs().full_layers(3) == 0 and Needs(pooled=True).full_layers(3) == 3


def test_pruned_heads_keep_the_rest_of_the_trace():
    full, pruned, inputs = classifier(), classifier(), batch()
    # head 0 of the middle layer is removed: in the full model its part of the output is zero, in the pruned one it does not exist
    whole = layers_of(full)[1].self_attn.out_proj
    rows = whole.weight.numpy()
    rows[:8] = 0
    whole.weight.set_value(rows)
    attention = layers_of(pruned)[1].self_attn
    for name in ("q_proj", "k_proj", "v_proj"):
        old, new = getattr(attention, name), nn.Linear(16, 8)
        new.weight.set_value(old.weight.numpy()[:, 8:])
        new.bias.set_value(old.bias.numpy()[8:])
        setattr(attention, name, new)
    out = nn.Linear(8, 16)
    out.weight.set_value(attention.out_proj.weight.numpy()[8:])
    out.bias.set_value(attention.out_proj.bias.numpy())
    attention.out_proj, attention.num_heads = out, 1
    one, other = full_trace(full, inputs), full_trace(pruned, inputs)
    np.testing.assert_allclose(other.logits.numpy(), one.logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(other.scores[1].numpy(), one.scores[1].numpy()[:, 1:], rtol=1e-5, atol=1e-5)
    assert other.scores[2].shape == [3, 2, 9, 9]


@pytest.mark.parametrize("model_type", TYPES)
def test_dropout_matches_the_model_at_equal_seeds(model_type, monkeypatch):
    monkeypatch.setenv("TINYBERT_CPU_OPS", "0")  # Paddle's random numbers, in the order of the model's own pass
    model, inputs = classifier(model_type), batch()
    model.train()

    def run(seed: int, forward) -> np.ndarray:
        paddle.seed(seed)
        with paddle.no_grad():
            return forward()

    def ours() -> np.ndarray:
        return trace(model, inputs, Needs(logits=True)).logits.numpy()

    first = run(5, ours)
    np.testing.assert_array_equal(run(5, ours), first)
    np.testing.assert_array_equal(run(5, lambda: own_forward(model, inputs).numpy()), first)
    assert np.abs(run(6, ours) - first).max() > 1e-3
    model.eval()
    assert np.abs(run(5, ours) - first).max() > 1e-3


def test_head_override_matches_the_published_one():
    # Huawei's class has a ReLU before the classifier, also for teachers
    model, inputs = classifier("bert"), batch()
    with paddle.no_grad():
        pooled = trace(model, inputs, Needs(pooled=True)).pooled
        relu = trace(model, inputs, Needs(logits=True), head="relu").logits.numpy()
        plain = trace(model, inputs, Needs(logits=True), head="plain").logits.numpy()
        expected = model.classifier(F.relu(pooled)).numpy()
    np.testing.assert_array_equal(relu, expected)
    assert np.abs(relu - plain).max() > 1e-3


def test_model_with_one_segment_type_accepts_segments():
    model = classifier("bert", type_vocab_size=1)
    with paddle.no_grad():
        assert np.isfinite(trace(model, batch(), Needs(logits=True)).logits.numpy()).all()


def test_gradients_match_the_model():
    inputs, gradients = batch(), []
    for own in (False, True):
        model = classifier("tinybert")
        logits = (
            model(inputs.input_ids, inputs.token_type_ids, attention_mask=inputs.attention_mask)
            if own
            else trace(model, inputs, Needs(logits=True)).logits
        )
        (logits * logits).sum().backward()
        gradients.append({name: parameter.grad.numpy() for name, parameter in model.named_parameters()})
    for name, expected in gradients[1].items():
        np.testing.assert_allclose(gradients[0][name], expected, rtol=1e-4, atol=1e-5, err_msg=name)

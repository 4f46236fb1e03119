"""Keys of config.json that describe another network are refused by name; harmless keys are accepted."""

from __future__ import annotations

import json

import pytest

from tests.tiny import SHAPE, model_folder
from tests.unit.models.hugging_face import hugging_face_arrays, write_folder
from tinybert.cli.main import main
from tinybert.errors import UserError
from tinybert.models.configuration import ARCHITECTURE_KEYS, architecture, read_config
from tinybert.models.loading import load_pretrained
from tinybert.models.model_info import read_model_info
from tinybert.models.network_settings import unknown_keys

BERT = {"model_type": "bert", **SHAPE}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("is_decoder", True),
        ("is_decoder", "false"),
        ("add_cross_attention", True),
        ("is_encoder_decoder", True),
        ("position_embedding_type", "relative_key_query"),
        ("position_embedding_type", "alibi"),
        ("pruned_heads", {"0": [1]}),
        ("embedding_size", 8),
        ("emb_size", 8),
        ("directionality", "unidi"),
        ("pooler_type", "mean"),
        ("normalize_before", True),
        ("classifier_activation", "gelu"),
        ("fuse_attention_qkv", True),
        ("auto_map", {"AutoModel": "modeling.OtherModel"}),
        ("quantization_config", {"quant_method": "gptq", "bits": 4}),
        ("rope_theta", 10000.0),
        ("num_hidden_groups", 2),
        ("attention_window", [256]),
        ("layer_norm_type", "rms"),
        ("tensor_parallel_degree", 2),
    ],
)
def test_setting_of_another_network_is_refused_by_name(key, value):
    with pytest.raises(UserError, match=rf"network that is not implemented:\n  '{key}' is "):
        architecture({**BERT, key: value}, "here")


@pytest.mark.parametrize(
    "more",
    [
        {"is_decoder": False, "add_cross_attention": None, "pruned_heads": {}, "position_embedding_type": "absolute", "use_cache": True},
        {"directionality": "bidi", "pooler_fc_size": 768, "pooler_num_attention_heads": 12, "pooler_type": "first_token_transform"},
        {"embedding_size": 16, "emb_size": 16, "quantization_config": {"quant_method": None, "dtype": None}, "fuse": False},
        {"torch_dtype": "float16", "_attn_implementation": "eager", "transformers_version": "5.0", "gradient_checkpointing": False},
        {"rope_theta": None, "attention_window": []},
        {"my_note": "trained on Tuesday", "cell": {}, "structure": [], "emb_size": 16},
    ],
)
def test_setting_that_does_not_change_the_network_is_accepted(more):
    assert architecture({**BERT, **more}, "here") == architecture(BERT, "here")


def test_pooler_activation_unsupported_by_paddlenlp_is_refused():
    # its BertPooler has tanh or nothing: "relu" would silently make it linear
    with pytest.raises(UserError, match="'pool_act' in config.json is 'relu'; expected one of tanh, linear"):
        architecture({**BERT, "pool_act": "relu"}, "here")


def test_configs_of_paddlenlps_own_classes_are_accepted():
    from tinybert.models.families import MODEL_TYPES, family

    for model_type in MODEL_TYPES:
        full = json.loads(json.dumps(family(model_type).config().to_dict(), default=str))
        assert architecture({**full, **SHAPE}, model_type)["hidden_size"] == 16


def test_unknown_harmless_key_is_named_in_the_report(tmp_path):
    assert unknown_keys({**BERT, "my_note": 1, "use_cache": True}, set(ARCHITECTURE_KEYS)) == ["ignored in config.json: my_note"]
    model_folder(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps({**read_config(tmp_path), "my_note": 1}))
    assert "; ignored in config.json: my_note" in str(load_pretrained(str(tmp_path))[0].report)


def test_decoder_is_neither_loaded_nor_converted(tmp_path, capsys):
    from tests.tiny import WORDS, arrays_of, classifier

    write_folder(tmp_path / "m", hugging_face_arrays(arrays_of(classifier())), {**BERT, "is_decoder": True}, WORDS)
    for read in (lambda: load_pretrained(str(tmp_path / "m")), lambda: read_model_info(str(tmp_path / "m"), None, "teacher")):
        with pytest.raises(UserError, match="'is_decoder' is True: a decoder"):
            read()
    assert main(["convert", "--model_path", str(tmp_path / "m"), "--output_dir", str(tmp_path / "c"), "--to", "paddlenlp"]) == 2
    assert "'is_decoder' is True" in capsys.readouterr().err and not (tmp_path / "c").exists()


def test_absurd_sizes_are_refused_before_allocating_memory(tmp_path):
    with pytest.raises(UserError, match="describes an encoder of .* parameters; expected at most"):
        architecture({**BERT, "vocab_size": 10**7, "hidden_size": 10**5}, "here")
    model_folder(tmp_path)
    config = read_config(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 10**7}))
    with pytest.raises(UserError, match="describes an encoder of 160,.* parameters, but the weight file has"):
        load_pretrained(str(tmp_path))

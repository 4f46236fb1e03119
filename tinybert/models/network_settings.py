"""Keys of config.json that the encoders here do not implement, and keys that do not affect the network.

Each key is either checked (`_ONLY`, or a rule in `configuration`), known to be harmless, or unknown. An unknown key whose name suggests
that it affects the network is rejected; others are listed in the load report.
"""

from __future__ import annotations

import re

from tinybert.errors import UserError

_OFF = (None, False, 0, "", [], {}, "none")

# the values for which the network is as implemented here, and the meaning of other values
_ONLY: dict[str, tuple[tuple[object, ...], str]] = {
    "is_decoder": (_OFF, "a decoder, which sees only the tokens before each position"),
    "is_encoder_decoder": (_OFF, "an encoder with a decoder"),
    "add_cross_attention": (_OFF, "layers that attend to another model"),
    "cross_attention_hidden_size": (_OFF, "layers that attend to another model"),
    "position_embedding_type": ((None, "absolute"), "positions inside the attention (relative, rotary or ALiBi)"),
    "pruned_heads": (_OFF, "heads pruned by transformers, with layers of different shapes"),
    "adapters": ((*_OFF, {"adapters": {}, "config_map": {}, "fusion_config_map": {}, "fusions": {}}), "adapters between the layers"),
    "auto_map": (_OFF, "custom code (trust_remote_code)"),
    "directionality": ((None, "bidi"), "attention in one direction"),
    "pooler_type": ((None, "first_token_transform", "cls"), "another pooling of the tokens"),
    "normalize_before": (_OFF, "layer normalisation before each sublayer"),
    "norm_first": (_OFF, "layer normalisation before each sublayer"),
    "classifier_activation": ((None, "relu", "tanh"), "another activation before the classifier"),
    "hidden_activation": ((None, "gelu", "relu"), "another activation"),
    "fuse": (_OFF, "fused matrices with another weight layout"),
    "fuse_attention_qkv": (_OFF, "fused matrices with another weight layout"),
    "fuse_attention_ffn": (_OFF, "fused matrices with another weight layout"),
    "tensor_parallel_degree": ((None, -1, 1), "weights split over several devices"),
    "relative_attention": (_OFF, "relative positions"),
    "use_bias": ((None, True), "linears without bias"),
}
_WIDTHS = {"embedding_size", "emb_size"}  # of the word vectors, which is hidden_size here
_QUANTISED = ("weight_quantize_algo", "quant_method", "quant_type", "load_in_8bit", "load_in_4bit", "bits", "activation_scheme")

# keys that do not affect the forward pass of an encoder: metadata, generation, training, execution, heads
_HARMLESS = {
    "architectures", "model_type", "init_class", "init_args", "transformers_version", "paddlenlp_version", "paddle_version",
    "name_or_path", "_name_or_path", "note", "finetuning_task", "task_specific_params", "tokenizer_class", "prefix", "license",
    "language", "tags", "_commit_hash", "pretrained_model_name_or_path", "id2label", "label2id", "num_labels", "_num_labels",
    "num_classes", "num_choices", "problem_type", "labels", "classifier_dropout", "dropout", "cls_dropout", "dropout_prob",
    "torch_dtype", "dtype", "use_bfloat16", "torchscript", "tf_legacy_loss", "return_dict", "use_return_dict", "output_attentions",
    "output_hidden_states", "output_past", "output_scores", "use_cache", "gradient_checkpointing", "chunk_size_feed_forward",
    "tie_word_embeddings", "tie_encoder_decoder", "tie_weights", "_attn_implementation", "attn_implementation",
    "_attn_implementation_autoset", "_attn_implementation_internal", "_flash_attn_2_enabled", "use_flash_attention",
    "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "initializer_factor",
    "initializer_type", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id", "mask_token_id", "unk_token_id",
    "decoder_start_token_id", "bad_words_ids", "begin_suppress_tokens", "suppress_tokens", "forced_bos_token_id",
    "forced_eos_token_id", "remove_invalid_values", "length_penalty", "repetition_penalty", "diversity_penalty",
    "exponential_decay_length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "do_sample",
    "early_stopping", "max_length", "min_length", "num_beams", "num_beam_groups", "num_return_sequences", "temperature", "top_k",
    "top_p", "typical_p", "return_dict_in_generate", "recompute", "recompute_granularity", "recompute_use_reentrant",
    "refined_recompute", "no_recompute_layers", "offload_recompute_inputs", "pp_recompute_interval", "sequence_parallel",
    "sep_parallel_degree", "context_parallel_degree", "pipeline_parallel_degree", "virtual_pp_degree",
    "tensor_parallel_rank", "tensor_parallel_output", "fuse_sequence_parallel_allreduce", "use_fused_dropout_add",
    "use_fused_linear", "use_fused_linear_cross_entropy", "use_fused_rms_norm", "use_fused_rope",
    "use_fused_head_and_loss_fn", "use_filtered_label_loss", "pre_trained", "training", "cell", "structure",
    "do_lower_case", "do_basic_tokenize",
    "quantization_config", "prun_hidden_size", "prun_intermediate_size", "emb_hidden_dim", "max_seq_length",
    "model_max_length", "vocab_file", "eos_token", "bos_token", "trained_on", "summary_type", "summary_use_proj", "summary_activation",
    "summary_last_dropout", "gen_weight", "disc_weight", "qa_dropout", "sinusoidal_pos_embds", "tie_weights_",
}  # fmt: skip
_NETWORK = re.compile(
    r"attention|attn|position|norm|embed|layer|head|activation|hidden|rotary|rope|alibi|relative|decoder|cross|window|sparse|expert|moe|"
    r"group|conv|pool|scale|scaling|residual|recurren|gate|glu|quant|adapter|lora|bias|kernel|stride|hash|memory|share|factor|bottleneck"
)


def check_network(config: dict, implemented: set[str], source: str) -> None:
    """Reject settings that change the network and are not implemented.

    Raises:
        UserError: lists them and their meaning.
    """
    found = [f"'{key}' is {_shown(config[key])}: {meaning}" for key, (values, meaning) in _ONLY.items() if config.get(key) not in values]
    quantisation = config.get("quantization_config")
    if isinstance(quantisation, dict) and any(quantisation.get(key) for key in _QUANTISED):
        found.append("'quantization_config' is set: quantised weights")
    for key in _WIDTHS - implemented:
        if config.get(key) not in (None, config.get("hidden_size")):
            found.append(f"'{key}' is {_shown(config[key])}: word vectors of another width than hidden_size")
    found += [
        f"'{key}' is {_shown(config[key])}: unknown"
        for key in _unknown(config, implemented)
        if _NETWORK.search(key) and config[key] not in _OFF
    ]
    if found:
        raise UserError(
            f"{source} describes a network that is not implemented:\n  "
            + "\n  ".join(found)
            + "\nThe results would differ from the model's. Use a BERT-like encoder without it; keys that do not change the "
            "network can be removed from config.json."
        )


def unknown_keys(config: dict, implemented: set[str]) -> list[str]:
    """A line for the load report about ignored keys that are not known to be harmless; empty if there are none."""
    unknown = _unknown(config, implemented)
    return [f"ignored in config.json: {', '.join(unknown[:8])}{', ...' if len(unknown) > 8 else ''}"] if unknown else []


def _unknown(config: dict, implemented: set[str]) -> list[str]:
    known = (implemented, _ONLY, _HARMLESS, _WIDTHS)
    return sorted(key for key in config if not any(key in keys for keys in known))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

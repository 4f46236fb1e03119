"""The configuration of a model folder, under any of its three file names, and its tokenizer settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from tinybert.data.folder_files import names_in, read_json_object
from tinybert.errors import UserError
from tinybert.models.families import family_of_config
from tinybert.models.network_settings import check_network

# Hugging Face and PaddleNLP since 2.5; Google's and Huawei's BERT; PaddleNLP before 2.5
FILES = ("config.json", "bert_config.json", "model_config.json")

# the keys that define the network, and the valid values of each; everything else (dtypes, versions, generation) is ignored. Numbers have
# inclusive lower and upper bounds.
_WHOLE, _NUMBER = (int,), (int, float)
_RULES: dict[str, tuple[tuple[type, ...], float, float]] = {
    "vocab_size": (_WHOLE, 1, 1e7),
    "hidden_size": (_WHOLE, 1, 1e5),
    "num_hidden_layers": (_WHOLE, 1, 1000),
    "num_attention_heads": (_WHOLE, 1, 1000),
    "intermediate_size": (_WHOLE, 1, 1e6),
    "attention_head_size": (_WHOLE, 1, 1e5),  # of a pruned model, whose heads do not add up to its width
    "embedding_rank": (_WHOLE, 1, 1e5),  # of a factorised word embedding
    "embedding_size": (_WHOLE, 1, 1e5),  # the width of embeddings before their projection to hidden_size
    "max_position_embeddings": (_WHOLE, 1, 1e6),
    "type_vocab_size": (_WHOLE, 1, 1000),
    "relative_attention_num_buckets": (_WHOLE, 4, 1000),
    "task_type_vocab_size": (_WHOLE, 1, 1000),
    "task_id": (_WHOLE, 0, 1000),
    "fit_size": (_WHOLE, 1, 1e5),
    "pad_token_id": (_WHOLE, 0, 1e7),
    "cls_token_id": (_WHOLE, 0, 1e7),
    "hidden_dropout_prob": (_NUMBER, 0, 0.999),
    "attention_probs_dropout_prob": (_NUMBER, 0, 0.999),
    "classifier_dropout": (_NUMBER, 0, 0.999),
    "initializer_range": (_NUMBER, 0, 10),
    "layer_norm_eps": (_NUMBER, 0, 0.1),
}
_WORDS = {"hidden_act": ("gelu", "relu", "tanh"), "pool_act": ("tanh", "linear")}
ARCHITECTURE_KEYS = (*_RULES, *_WORDS, "use_task_id")
_MAX_PARAMETERS = 4_000_000_000  # 16 GB; BERT-large has 335 million
_ROOM = 1_000_000
_NEEDED = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")


def architecture(config: dict, source: str) -> dict:
    """The network described by a configuration, with every value checked.

    Raises:
        UserError: a required value is missing, a value has another type or is out of range, the heads do not divide the width or
        exceed it, the embedding rank exceeds it, or a setting requires a network that is not implemented.
    """
    implemented = [key for key in ARCHITECTURE_KEYS if key != "embedding_size" or _projects_embeddings(config)]
    check_network(config, set(implemented), source)
    config = _with_published_cut(config)
    known = {key: config[key] for key in implemented if config.get(key) is not None}
    _check_values(known, source)
    _check_sizes(known, source)
    if known.get("attention_head_size", 0) * known["num_attention_heads"] == known["hidden_size"]:
        del known["attention_head_size"]  # redundant
    return known


def _projects_embeddings(config: dict) -> bool:
    try:
        return family_of_config(config, "config.json").projects_embeddings
    except UserError:
        return False


def _check_values(known: dict, source: str) -> None:
    for key in _NEEDED:
        if key not in known:
            raise UserError(f"{source}: '{key}' is missing in config.json; expected a positive whole number.")
    for key, (kinds, low, high) in _RULES.items():
        value = known.get(key, low)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            kind = "a whole number" if kinds is _WHOLE else "a number"
            raise UserError(f"{source}: '{key}' in config.json is {value!r}; expected {kind} from {low:g} to {high:g}.")
    for key, words in _WORDS.items():
        if known.get(key, words[0]) not in words:
            raise UserError(f"{source}: '{key}' in config.json is {known[key]!r}; expected one of {', '.join(words)}.")
    if not isinstance(known.get("use_task_id", False), bool):
        raise UserError(f"{source}: 'use_task_id' in config.json is {known['use_task_id']!r}; expected true or false.")


def _check_sizes(known: dict, source: str) -> None:
    """Whether the values fit together."""
    width, heads, size = known["hidden_size"], known["num_attention_heads"], known.get("attention_head_size")
    if size is None and width % heads:
        raise UserError(f"{source}: hidden_size {width} is not a multiple of num_attention_heads {heads}.")
    if size is not None and size * heads > width:
        raise UserError(f"{source}: {heads} heads of {size} ('attention_head_size') are wider than hidden_size {width}.")
    key = "embedding_size" if "embedding_size" in known else "hidden_size"
    if known.get("embedding_rank", 1) > known[key]:
        raise UserError(f"{source}: 'embedding_rank' in config.json is {known['embedding_rank']}; expected at most {key}, {known[key]}.")
    if known.get("pad_token_id", 0) >= known["vocab_size"]:
        raise UserError(f"{source}: 'pad_token_id' {known['pad_token_id']} is outside the vocabulary of {known['vocab_size']}.")
    if (numbers := parameters_of(known)) > _MAX_PARAMETERS:
        raise UserError(
            f"{source}: config.json describes an encoder of {numbers:,} parameters; expected at most {_MAX_PARAMETERS:,}.\n"
            "One of vocab_size, hidden_size, num_hidden_layers, intermediate_size or max_position_embeddings is wrong."
        )


def parameters_of(known: dict) -> int:
    """The approximate number of parameters of this architecture: embeddings and layer matrices."""
    width = known["hidden_size"]
    rows = known["vocab_size"] + known.get("max_position_embeddings", 512) + known.get("type_vocab_size", 2)
    layer = width * (4 * width + 2 * known.get("intermediate_size", 4 * width))
    return rows * known.get("embedding_size", width) + known["num_hidden_layers"] * layer


def check_size(config: dict, numbers: int, source: str) -> None:
    """Reject a configuration that requires far more parameters than the weight file has, before memory is allocated.

    Raises:
        UserError: it does.
    """
    known = architecture(config, source)
    if "attention_head_size" not in known and "embedding_rank" not in known and parameters_of(known) > 2 * numbers + _ROOM:
        raise UserError(
            f"{source}: config.json describes an encoder of {parameters_of(known):,} parameters, but the weight file has {numbers:,}.\n"
            "Weights and config belong to different models."
        )


def _with_published_cut(config: dict) -> dict:
    """The configuration of a model pruned by ROSITA's or MUD's script, converted to our keys; others are unchanged."""
    width, heads = config.get("prun_hidden_size"), config.get("num_attention_heads")
    if not (isinstance(width, int) and isinstance(heads, int) and heads > 0):
        return config
    config = {**config, "attention_head_size": width // heads, "intermediate_size": config.get("prun_intermediate_size")}
    rank = config.get("emb_hidden_dim")
    return {**config, "embedding_rank": rank} if isinstance(rank, int) and rank > 0 else config  # there -1 means full


def config_file(folder: Path) -> Path | None:
    """The configuration file of a folder, None if it has none."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def read_config(folder: Path) -> dict:
    """Read a folder's configuration; the nested `init_args` of older PaddleNLP folders are flattened.

    Raises:
        UserError: no configuration file, or not a JSON object.
    """
    path = config_file(folder)
    if path is None:
        raise UserError(f"{folder} is not a model folder: config.json is missing (found: {names_in(folder)}).")
    try:
        return _in_our_keys(_flat(read_json_object(path)))
    except RecursionError:
        raise UserError(f"{path} is nested too deeply: expected a flat JSON object.") from None


def _flat(config: dict) -> dict:
    """Flatten `{"init_args": [{"vocab_size": ..., "init_class": "BertModel"}], "init_class": "BertFor..."}`; outer values win."""
    inner: dict = {}
    parts = config.get("init_args")
    # the encoder comes first; plain numbers after it are arguments such as num_classes
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict):
            inner = {**inner, **_flat(part)}
    return {**inner, **{key: value for key, value in config.items() if key != "init_args"}}


def _in_our_keys(config: dict) -> dict:
    """The same with our names for Hugging Face's keys of its family."""
    try:
        names = family_of_config(config, "config.json").published_keys
    except UserError:
        return config
    present = {theirs: ours for theirs, ours in names.items() if theirs in config and ours not in config}
    return {present.get(key, key): value for key, value in config.items()}


def labels_of(config: dict) -> tuple[str, ...] | None:
    """The label names in a configuration, in the order of the outputs; None if they are missing or LABEL_<i>."""
    names = config.get("id2label")
    if not isinstance(names, dict) or not names:
        return None
    try:
        ordered = tuple(str(name) for _, name in sorted(names.items(), key=lambda item: int(item[0])))
    except ValueError:
        return None
    return None if all(name.startswith("LABEL_") for name in ordered) else ordered


@dataclass(frozen=True)
class TrainedOn:
    """The data that a model was trained on: the task's name, whether rows are pairs, their maximum number of tokens, and `--doc_stride`."""

    task: str | None = None
    pair: bool | None = None
    max_seq_length: int | None = None
    doc_stride: int | None = None

    def used_differently(self, now: TrainedOn) -> list[str]:
        """Warnings, one per line, if a model is used on different data than in training; unknown values are not compared."""
        lines = []
        if None not in (self.max_seq_length, now.max_seq_length) and self.max_seq_length != now.max_seq_length:
            lines.append(
                f"was trained with --max_seq_length {self.max_seq_length} and is used with {now.max_seq_length}: "
                "its scores may differ from the recorded ones"
            )
        if None not in (self.pair, now.pair) and self.pair != now.pair:
            before, after = ("pairs of texts" if pair else "single texts" for pair in (self.pair, now.pair))
            lines.append(f"was trained on {before} and is used on {after}")
        if self.doc_stride not in (None, now.doc_stride):
            lines.append(f"was trained with --doc_stride {self.doc_stride} and is used with {now.doc_stride or 'the default'}")
        return lines

    def entry(self) -> dict:
        """The corresponding entries of config.json."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return {"trained_on": known} if known else {}


def trained_on(config: dict) -> TrainedOn:
    """The training data according to a configuration; None for missing values."""
    entry = config.get("trained_on")
    entry = entry if isinstance(entry, dict) else {}

    def count(name: str, least: int) -> int | None:
        value = entry.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= least else None

    return TrainedOn(
        str(entry["task"]) if entry.get("task") else None,
        entry["pair"] if isinstance(entry.get("pair"), bool) else None,
        count("max_seq_length", 4),
        count("doc_stride", 1),
    )

"""Options of the published scripts that do nothing here any more, and those that belong to another method or tool."""

from __future__ import annotations

from dataclasses import dataclass

HUAWEI, EMD, MUD, HF, PADDLENLP = "Huawei", "BERT-EMD", "MUD", "Hugging Face", "PaddleNLP"


@dataclass(frozen=True)
class Obsolete:
    """An option that is accepted and says on stderr that it has no effect, and why."""

    name: str
    takes_value: bool
    reason: str
    dialects: str


@dataclass(frozen=True)
class Foreign:
    """An option that means something only with `owner`; without it the command line is refused."""

    name: str
    owner: str


OBSOLETE = (
    Obsolete("reduce_memory", False, "rows are always read from memory-mapped files", HUAWEI),
    Obsolete(
        "cache_dir",
        True,
        "models are read from the folder that you name, or from MODEL_HOME",
        f"{HUAWEI}, {EMD}, {MUD}, {HF}",
    ),
    Obsolete("data_url", True, "data is read from --data_dir or --glue_dir", f"{HUAWEI}, {EMD}, {MUD}"),
    Obsolete("local_rank", True, "start several processes with python -m paddle.distributed.launch", f"{HUAWEI}, {HF}"),
    Obsolete(
        "overwrite_cache",
        False,
        "stored token ids are keyed by the contents of the file, the tokenizer and the length",
        HF,
    ),
    Obsolete("multi_gpu", False, "start several processes with python -m paddle.distributed.launch", MUD),
    Obsolete("fp16", False, "mixed precision is --amp O1 here, on a GPU", f"{HUAWEI}, {HF}"),
    Obsolete("fp16_opt_level", True, "mixed precision is --amp O1 or O2 here, on a GPU", HF),
    Obsolete("server_ip", True, "there is no remote debugger", HF),
    Obsolete("server_port", True, "there is no remote debugger", HF),
)

OBSOLETE_DISTILL = (
    *OBSOLETE,
    Obsolete("emb_linear", True, "the published script never reads it", EMD),
    Obsolete("use_init_weight", False, "the published script never reads it", EMD),
    Obsolete("is_teacher", True, "the published script never reads it", EMD),
    Obsolete("is_conv", False, "the code behind it is commented out in the published script", EMD),
)

OBSOLETE_FINETUNE = (
    *OBSOLETE,
    Obsolete("config_name", True, "config.json is read from the folder of --model_name_or_path", HF),
    Obsolete("eval_all_checkpoints", False, "every evaluation of the run is in log.jsonl, and the best model is kept", HF),
    Obsolete("logging_dir", True, "logs and curves are written to the output folder", HF),
    Obsolete("logging_first_step", False, "the log follows --logging_steps", HF),
    Obsolete("tpu_num_cores", True, "TPUs are not supported", HF),
    Obsolete("tpu_metrics_debug", False, "TPUs are not supported", HF),
    Obsolete("structured", True, "the published script never reads it", MUD),
)

_EMD_FLAGS = (
    "beta", "theta", "T_emd", "seperate", "add_softmax", "update_weight", "use_emd", "share_param", "one_step",
    "new_pred_loss", "reduce_T", "tinybert", "pkd", "tb_onestep", "no_pretrain",
)  # fmt: skip
_MUD_FLAGS = (
    "layer_scheme", "keep_layers", "token_scheme", "keep_tokens", "hidden_scheme", "keep_hidden", "config_3d",
    "repr_distill", "att_ttop12", "s_layer_indices", "t_layer_indices", "is_rosita",
)  # fmt: skip

FOREIGN_DISTILL = (
    *(Foreign(name, "--method emd") for name in _EMD_FLAGS),
    *(Foreign(name, "--method mud") for name in _MUD_FLAGS),
)
FOREIGN_FINETUNE = (Foreign("compute_taylor", "the pruning tools"),)

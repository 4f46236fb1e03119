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
    """An option that belongs to `owner`, which is not here; the command line is refused, with what to write `instead` if there is."""

    name: str
    owner: str
    instead: str | None = None


OBSOLETE = (
    Obsolete("reduce_memory", False, "rows are always read from memory-mapped files", HUAWEI),
    Obsolete(
        "cache_dir",
        True,
        "models are read from the folder that you name, or from MODEL_HOME",
        f"{HUAWEI}, {EMD}, {MUD}, {HF}",
    ),
    Obsolete("data_url", True, "data is read from the folders that you name", f"{HUAWEI}, {EMD}, {MUD}"),
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
    Obsolete("use_emd", True, "--method emd asks for it", EMD),
    Obsolete("one_step", True, "--method emd has one stage", EMD),
    Obsolete("emb_linear", True, "the published script never reads it", EMD),
    Obsolete("use_init_weight", False, "the published script never reads it", EMD),
    Obsolete("is_teacher", True, "the published script never reads it", EMD),
    Obsolete("is_conv", False, "the code behind it is commented out in the published script", EMD),
)

OBSOLETE_GENERAL = (
    *OBSOLETE,
    Obsolete("do_eval", False, "the published script never reads it; the held-out loss is always measured", HUAWEI),
    Obsolete("T", True, "general distillation has no logits, and the published script never reads it", PADDLENLP),
    Obsolete("glue_dir", True, "no task is read, and the published script never reads it", PADDLENLP),
)

OBSOLETE_PREGENERATE = (
    Obsolete("reduce_memory", False, "the corpus is never in memory, and several processes work all the same", HUAWEI),
    Obsolete("data_url", True, "text is read from --train_corpus", HUAWEI),
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

_EMD_INSTEAD = {  # switches of its script to another procedure
    "tinybert": "write --method tinybert --preset huawei for TinyBERT's two stages",
    "tb_onestep": "write --method tinybert --stage joint, and its --beta as --hidden_weight and --attention_weight",
    "pkd": "write --method tinybert --stage joint --layer_map 1:2,2:4,3:6,4:8,5:10, and its --beta as the weights of both",
    "no_pretrain": "write --student_layers N for a student without pre-trained weights",
}

FOREIGN_DISTILL = tuple(Foreign(name, "BERT-EMD's own script", instead) for name, instead in _EMD_INSTEAD.items())

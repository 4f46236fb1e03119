"""Options of the published scripts that have no effect here, and those that belong to another method or tool."""

from __future__ import annotations

from dataclasses import dataclass

HUAWEI, EMD, MUD, HF, PADDLENLP = "Huawei", "BERT-EMD", "MUD", "Hugging Face", "PaddleNLP"
THREE = f"{HUAWEI}, {EMD}, {MUD}"


@dataclass(frozen=True)
class IgnoredOption:
    """An option that is accepted but ignored; a notice on stderr says why."""

    name: str
    takes_value: bool
    reason: str
    dialects: str


@dataclass(frozen=True)
class UnsupportedOption:
    """An option of `owner` that is not supported; the command line is rejected, with the replacement in `instead` if there is one."""

    name: str
    owner: str
    instead: str | None = None


IGNORED = (
    IgnoredOption("reduce_memory", False, "rows are always read from memory-mapped files", HUAWEI),
    IgnoredOption("cache_dir", True, "models are read from the given folder or from MODEL_HOME", f"{HUAWEI}, {EMD}, {MUD}, {HF}"),
    IgnoredOption("data_url", True, "data is read from the given folders", f"{HUAWEI}, {EMD}, {MUD}"),
    IgnoredOption("local_rank", True, "start several processes with python -m paddle.distributed.launch", f"{HUAWEI}, {HF}"),
    IgnoredOption("overwrite_cache", False, "cached token ids depend on the file content, the tokenizer and the length", HF),
    IgnoredOption("multi_gpu", False, "start several processes with python -m paddle.distributed.launch", MUD),
    IgnoredOption("fp16", False, "mixed precision is --amp O1 here, on a GPU", f"{HUAWEI}, {HF}"),
    IgnoredOption("fp16_opt_level", True, "mixed precision is --amp O1 or O2 here, on a GPU", HF),
    IgnoredOption("server_ip", True, "remote debugging is not supported", HF),
    IgnoredOption("server_port", True, "remote debugging is not supported", HF),
)

IGNORED_DISTILL = (
    *IGNORED,
    IgnoredOption("use_emd", True, "--method emd enables it", EMD),
    IgnoredOption("one_step", True, "--method emd has one stage", EMD),
    IgnoredOption("emb_linear", True, "the published script never uses it", EMD),
    IgnoredOption("use_init_weight", False, "the published script never uses it", EMD),
    IgnoredOption("is_teacher", True, "the published script never uses it", EMD),
    IgnoredOption("is_conv", False, "the code behind it is commented out in the published script", EMD),
)

IGNORED_GENERAL = (
    *IGNORED,
    IgnoredOption("do_eval", False, "the published script never uses it; the held-out loss is always measured", HUAWEI),
    IgnoredOption("T", True, "general distillation has no logits, and the published script never uses it", PADDLENLP),
    IgnoredOption("glue_dir", True, "general distillation has no task, and the published script never uses it", PADDLENLP),
)

IGNORED_PREGENERATE = (
    IgnoredOption("reduce_memory", False, "the corpus is never held in memory, and several processes can be used", HUAWEI),
    IgnoredOption("data_url", True, "text is read from --train_corpus", HUAWEI),
)

IGNORED_FINETUNE = (
    *IGNORED,
    IgnoredOption("config_name", True, "config.json is read from the folder of --model_name_or_path", HF),
    IgnoredOption("eval_all_checkpoints", False, "all evaluations are in log.jsonl, and the best model is kept", HF),
    IgnoredOption("logging_dir", True, "logs and curves are written to the output folder", HF),
    IgnoredOption("logging_first_step", False, "the log follows --logging_steps", HF),
    IgnoredOption("tpu_num_cores", True, "TPUs are not supported", HF),
    IgnoredOption("tpu_metrics_debug", False, "TPUs are not supported", HF),
    IgnoredOption("structured", True, "the published script never uses it", MUD),
)

_EMD_INSTEAD = {  # switches of its script that select another procedure
    "tinybert": "use --method tinybert --preset huawei for TinyBERT's two stages",
    "tb_onestep": "use --method tinybert --stage joint, with its --beta as the weights of hidden states and attention",
    "pkd": "use --method tinybert --stage joint --layer_map 1:2,2:4,3:6,4:8,5:10, with its --beta as both weights",
    "no_pretrain": "use --student_layers N for a student without pre-trained weights",
}

UNSUPPORTED_DISTILL = tuple(UnsupportedOption(name, "BERT-EMD's own script", instead) for name, instead in _EMD_INSTEAD.items())

# options of the transformers and PaddleNLP Trainer that have another name here or no effect, with their replacement
_BEST = "the best model by --metric and the last one are always kept; leave it out"
_EVALUATION = "use --save_steps N to evaluate every N updates and keep the best model; --save_steps 0: once per epoch"
TRAINER_NAMES = {
    "load_best_model_at_end": _BEST,
    "greater_is_better": _BEST,
    "early_stopping_threshold": "with --early_stopping_patience every improvement counts; leave it out",
    "resume_from_checkpoint": "use --resume auto or --resume PATH",
    "ignore_data_skip": "a resumed run always continues exactly where it stopped; leave it out",
    "evaluation_strategy": _EVALUATION,
    "eval_strategy": _EVALUATION,
    "save_strategy": _EVALUATION,
    "logging_strategy": "use --logging_steps N",
    "use_amp": "use --amp O1 on a GPU",
    "bf16": "use --amp O1 --amp_dtype bfloat16 on a GPU",
    "half_precision_backend": "use --amp O1 on a GPU",
    "scale_loss": "--amp scales the loss automatically; leave it out",
    "dataloader_num_workers": "rows are read from memory-mapped files without workers; leave it out",
    "dataloader_pin_memory": "rows are read from memory-mapped files; leave it out",
    "dataloader_drop_last": "use --drop_last",
    "lr_scheduler_type": "use --lr_schedule linear or --lr_schedule constant",
    "optim": "use --optimizer adamw, bertadam or adam",
    "lr": "use --learning_rate",
    "epochs": "use --num_train_epochs",
    "max_length": "use --max_seq_length",
    "num_labels": "labels come from the task, or for your own files from --train_file or --labels; leave it out",
    "label_smoothing_factor": "label smoothing is not supported; leave it out",
    "gradient_checkpointing": "gradient checkpointing is not supported; lower --batch_size and raise --gradient_accumulation_steps instead",
    "report_to": "logs and curves are written to the output folder; leave it out",
    "disable_tqdm": "progress bars are shown only on terminals; leave it out",
    "remove_unused_columns": "only the named columns are read; leave it out",
    "push_to_hub": "uploading is not supported; leave it out",
    "no_cuda_device": "use --device cpu",
}

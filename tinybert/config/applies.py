"""Which settings have no effect in a stage, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tinybert.config.emd import EMD_OPTIONS, emd_reasons
from tinybert.config.mud import MUD_OPTIONS, mud_reasons
from tinybert.config.parts import disabled_reason, part_reasons
from tinybert.config.prune import SCHEDULE_OPTIONS
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.config.groups import RunOptions, TrainingRunOptions
    from tinybert.kinds.kind import Kind

_INTERMEDIATE_ONLY = (
    "layer_map", "projection", "use_embedding", "use_rep", "use_att", "embedding_weight", "hidden_weight",
    "attention_weight", "attention_reduction", "attention_heads", "hidden_reduction",
)  # fmt: skip
_LOGITS = ("T", "alpha", "prediction_weight", "soft_ce_reduction", "temperature_square", "regression_target")
_TEACHER = ("teacher_mode", "teacher_head")
DATA_DIR_WINS = "--data_dir is the folder of this task's files"


def common_reasons(values: Mapping[str, object], config: TrainingRunOptions) -> dict[str, str]:
    """Name and reason of options of every training script that have no effect beside the others."""
    found: dict[str, str] = {}
    if config.amp is None:
        found["amp_dtype"] = "without --amp everything is float32"
    if config.checkpoint_steps is not None:
        found["checkpoint_minutes"] = "--checkpoint_steps beats it"
    if getattr(config, "data_dir", None) is not None:  # general distillation reads no task
        found["glue_dir"] = DATA_DIR_WINS
    if values["max_steps"] > 0:
        found["num_train_epochs"] = "max_steps beats it"
    if values["lr_schedule"] == "constant":
        found.update(dict.fromkeys(("warmup_steps", "warmup_proportion"), "a constant schedule has no warm-up"))
    if values["max_grad_norm"] == 0:
        found["grad_clip"] = "max_grad_norm 0 means no clipping"
    return found


def vocabulary_reason(optimizer: str, weight_decay: float, prunes: bool, config: RunOptions) -> str | None:
    """Why all rows of the word embedding must be trained in a stage; None where those that its texts reach will do."""
    if optimizer == "adam" and weight_decay:
        return "the L2 penalty of --optimizer adam moves every row"
    if prunes:
        return "--prune_schedule changes the embedding on the way"
    if config.amp is not None:
        return "--amp keeps the weights in another form"
    return "--resume_changed may go on from other texts" if config.resume_changed else None


def vocabulary_reasons(values: Mapping[str, object], config: RunOptions) -> dict[str, str]:
    """Name and reason of `compact_vocabulary` where it has no effect."""
    reason = vocabulary_reason(values["optimizer"], values["weight_decay"], bool(values.get("prune_schedule")), config)
    return {"compact_vocabulary": reason} if reason else {}


# what the importance pass does without: it updates nothing and scores nothing
_TRAINING = (
    "gradient_accumulation_steps", "learning_rate", "num_train_epochs", "optimizer", "weight_decay", "adam_epsilon", "lr_schedule",
    "warmup_steps", "warmup_proportion", "max_grad_norm", "grad_clip", "amp", "amp_dtype", "keep_checkpoints", "compact_vocabulary",
)  # fmt: skip
_SCORING = ("eval_batch_size", "save_steps", "evaluate_during_training", "do_eval", "do_predict", "metric")


def importance_reasons(compute_taylor: bool) -> dict[str, str]:
    """Name and reason of fine-tuning settings that have no effect with or without `compute_taylor`."""
    if not compute_taylor:
        return {"importance_mode": "only --compute_taylor reads it"}
    found = dict.fromkeys(_TRAINING, "--compute_taylor makes one pass and updates nothing")
    return {**found, **dict.fromkeys(_SCORING, "--compute_taylor scores nothing")}


def schedule_reasons(values: Mapping[str, object], stage: str, first_stage: str) -> dict[str, str]:
    """Name and reason of options of pruning on the way that have no effect in this stage: the first stage of a run prunes."""
    if values["prune_schedule"] is None:
        return dict.fromkeys(SCHEDULE_OPTIONS, "only --prune_schedule reads it")
    if stage != first_stage:
        return dict.fromkeys(SCHEDULE_OPTIONS, f"the {first_stage} stage prunes")
    return {name: "it is not asked for" for name in SCHEDULE_OPTIONS if values[name] is None}


def distill_reasons(values: Mapping[str, object], stage: str, method: str, kind: Kind, joint: bool = False) -> dict[str, str]:
    """Name and reason of distillation settings that have no effect in this stage with this method.

    joint: hidden states and scores are learnt in the prediction stage.

    Raises:
        UserError: nothing of the layers is left to learn from where they are learnt.
    """
    if stage == "prediction" and method == "emd":
        return {**_emd_logits(values, kind), **emd_reasons(values), **_without_mud(method)}
    if joint:
        found = {**_layers(values, method, joint), **_joint_logits(values, kind)}
    else:
        found = _intermediate(values, method) if stage == "intermediate" else _prediction(values, method, kind)
    return {**found, **dict.fromkeys(EMD_OPTIONS, "it belongs to --method emd"), **_without_mud(method)}


def _without_mud(method: str) -> dict[str, str]:
    return {} if method == "mud" else dict.fromkeys(MUD_OPTIONS, "it belongs to --method mud")


def _intermediate(values: Mapping[str, object], method: str) -> dict[str, str]:
    found = dict.fromkeys(("use_pred", *_LOGITS), "the intermediate stage learns hidden states and attention, not logits")
    found["metric"] = "the best model of the intermediate stage is the one with the lowest loss on held-out rows"
    return {**found, **_layers(values, method)}


def _layers(values: Mapping[str, object], method: str, joint: bool = False) -> dict[str, str]:
    if method == "mud":
        return mud_reasons(values)
    off = [disabled_reason(values, part) for part in ("embedding", "hidden", "attention")]
    if all(off):
        raise UserError(
            f"nothing is left to learn {'of the layers' if joint else 'in the intermediate stage'}: {', '.join(map(str, off))}\n"
            "leave one of the three on, or choose --stage prediction"
        )
    return part_reasons(values)


def _joint_logits(values: Mapping[str, object], kind: Kind) -> dict[str, str]:
    if not values["use_pred"]:
        return dict.fromkeys(_LOGITS, "without use_pred the stage learns gold labels beside the layers")
    return _logits(values, kind)


def _prediction(values: Mapping[str, object], method: str, kind: Kind) -> dict[str, str]:
    if method == "none":
        return dict.fromkeys((*_INTERMEDIATE_ONLY, "use_pred", "ablation", *_LOGITS, *_TEACHER), "--method none learns gold labels only")
    found = dict.fromkeys((*_INTERMEDIATE_ONLY, *MUD_OPTIONS), "the prediction stage learns logits only")
    if not values["use_pred"]:
        return {**found, **dict.fromkeys((*_LOGITS, *_TEACHER), "without use_pred the stage learns gold labels only")}
    return {**found, **_logits(values, kind)}


def teacher_reasons(values: Mapping[str, object], stage: str, method: str) -> dict[str, str]:
    """Name and reason of options about what the teacher is, in a stage that never asks it."""
    if stage != "prediction" or method == "emd" or values["alpha"]:
        return {}
    reason = "--method none learns gold labels only" if method == "none" else "the stage does not read the teacher"
    return dict.fromkeys(("teacher_labels", "allow_weak_teacher"), reason)


def _logits(values: Mapping[str, object], kind: Kind) -> dict[str, str]:
    found = kind.inactive_options(values)
    if values["alpha"] == 0:
        found.update(dict.fromkeys(("T", "soft_ce_reduction", "temperature_square"), "alpha 0 leaves no teacher term"))
    return found


def _emd_logits(values: Mapping[str, object], kind: Kind) -> dict[str, str]:
    names = (*(name for name in _LOGITS if name != "prediction_weight"), "reduce_T", "new_pred_loss")
    if not values["use_pred"]:
        reason = "without use_pred the prediction loss is that of the gold labels"
        return dict.fromkeys(names, reason)
    if values["prediction_weight"] == 0:
        return dict.fromkeys(names, "prediction_weight is 0")
    found = _logits(values, kind)
    if "T" in found:
        found["reduce_T"] = found["T"]
    if not values["new_pred_loss"]:
        fixed = dict.fromkeys(("alpha", "reduce_T", "regression_target"), "the older prediction loss (new_pred_loss False) has it fixed")
        found = {**found, **fixed, **{name: found[name] for name in ("regression_target",) if name in found}}
    return found

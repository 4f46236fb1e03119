"""The stage of task distillation that a command line requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.commands.distill import TaskDistillConfig

# the paper's ablations and what each leaves out; trm is the whole Transformer-layer distillation
ABLATIONS: dict[str, dict[str, bool]] = {
    "embd": {"use_embedding": False},
    "hidn": {"use_rep": False},
    "attn": {"use_att": False},
    "trm": {"use_rep": False, "use_att": False},
    "pred": {"use_pred": False},
}


@dataclass(frozen=True)
class StageChoice:
    """The stage (`intermediate`, `prediction`, `both` or `joint`) and which option decided it."""

    stage: str
    reason: str

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages in execution order; `joint` is a prediction stage that also learns hidden states and attention scores."""
        return {"both": ("intermediate", "prediction"), "joint": ("prediction",)}.get(self.stage, (self.stage,))


def infer_stage(config: TaskDistillConfig) -> StageChoice:
    """The stage given by --stage, else by its old spellings, else implied by how teacher and student are named.

    Without --stage, PaddleNLP's script distils predictions and Huawei's distils intermediate layers; both behaviours are kept.

    Raises:
        UserError: contradictory stages, a stage that the method does not have, or mixed naming styles without a stage.
    """
    asked = _asked(config)
    if "intermediate" not in config.method_object.stages:
        if asked and asked.stage != "prediction":
            raise UserError(
                f"--method {config.method} has no intermediate stage, but {asked.reason} requests one\n"
                f"leave out {asked.reason}, or use --method tinybert"
            )
        return StageChoice("prediction", f"--method {config.method}")
    return asked or _by_dialect(config)


def _asked(config: TaskDistillConfig) -> StageChoice | None:
    """The stage that the command line names explicitly, if any."""
    named = [
        StageChoice(stage, f"--{old}")
        for old, stage in (("intermediate_distill", "intermediate"), ("repr_distill", "intermediate"), ("pred_distill", "prediction"))
        if getattr(config, old)
    ]
    if config.repr_distill and config.pred_distill and not config.intermediate_distill:  # MUD's and ROSITA's scripts add up both
        named = [StageChoice("joint", "--repr_distill and --pred_distill")]
    if config.stage:
        named.insert(0, StageChoice(config.stage, f"--stage {config.stage}"))
    if len({choice.stage for choice in named}) > 1:
        found = " and ".join(choice.reason for choice in named)
        raise UserError(
            f"{found} request different stages\ngive only one of them; --stage both: one after the other, --stage joint: in one step"
        )
    return named[0] if named else None


def _by_dialect(config: TaskDistillConfig) -> StageChoice:
    names = [config.spelled[name] for name in ("teacher_path", "student_model_name_or_path") if name in config.spelled]
    huawei = [name for name in names if name in ("teacher_model", "student_model")]
    if huawei and len(huawei) < len(names):
        raise UserError(
            f"--{names[0]} and --{names[1]} belong to different scripts, which imply different stages\n"
            "add --stage intermediate, --stage prediction or --stage both"
        )
    if huawei:
        return StageChoice("intermediate", f"default with --{huawei[0]}; --stage both trains both")
    return StageChoice("prediction", f"default with --{names[0]}; --stage both trains both" if names else "the default")

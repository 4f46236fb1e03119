"""Task distillation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinybert.commands.registry import command
from tinybert.config import dialects
from tinybert.config.distilling import ORDER, TeacherOptions, teacher_unused
from tinybert.config.groups import in_conventions, in_models, in_run, in_stage
from tinybert.config.notices import Notice
from tinybert.config.optimisation import OptimisationOptions
from tinybert.config.options import Option, option
from tinybert.config.prune import SCHEDULE_OPTIONS, PruneScheduleOptions, schedule_off
from tinybert.config.resolve import Context, resolve_stages
from tinybert.config.resolved import Resolved, Settings
from tinybert.config.rows import DataOptions
from tinybert.config.runs import RunOptions, actions
from tinybert.config.soft_labels import CONTENTS, soft_label_option
from tinybert.config.stages import ABLATIONS, StageChoice, infer_stage
from tinybert.config.stored import StoredOptions
from tinybert.config.teachers import TeachersOptions, number_of_teachers
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.methods.command import MethodOptions
from tinybert.methods.registry import methods_of


def _outputs_unused(context: Context) -> str | None:
    """Why the teacher's outputs are not needed: no term learns from them."""
    if not context.method.reads_teacher:
        return f"--method {context.method.name} does not use a teacher"
    unread = context.stage == "prediction" and (context.joint or "layers" not in context.learns) and not context.get("alpha")
    return "the stage does not use the teacher" if unread else None


def _names_unused(context: Context) -> str | None:
    """Why names of the teacher's outputs are not needed."""
    unnamed = context.kind is not None and not context.kind.names_labels
    return f"the outputs for {context.kind.title} have no names" if unnamed else _outputs_unused(context)


def _head_unused(context: Context) -> str | None:
    """Why the activation before the teacher's classifier does not matter."""
    of_tokens = context.kind is not None and context.kind.head != "sequence"
    return f"the head for {context.kind.title} has no activation" if of_tokens else teacher_unused(context)


def _of_stage(stage: str, name: str, group: str = "optimisation", **bounds: float) -> Any:
    """An option for a single stage, which overrides the option for both."""
    about = f"{name} of the {stage} stage"
    return option(None, help=about, group=group, unset=name, of_stage=stage, beats=True, sets=lambda value: {name: value}, **bounds)


@command(
    "distill", summary="distil a teacher into a student (task_distill.py)", recipe="task_distill:task_distill", script="task_distill.py"
)
class TaskDistillConfig(
    MethodOptions,
    RunOptions,
    OptimisationOptions,
    DataOptions,
    PruneScheduleOptions,
    StoredOptions,
    TeacherOptions,
    TeachersOptions,
):
    """Distil a fine-tuned teacher into a small student, on a known task or your own files, in one or two stages."""

    IGNORED = dialects.IGNORED_DISTILL
    UNSUPPORTED = dialects.UNSUPPORTED_DISTILL
    COMMAND = PRESET_SECTION = "distill"
    GROUPS = ORDER

    teacher_labels: str | None = in_models(
        None,
        help="labels of the teacher's outputs, in order, if its config.json does not name them",
        metavar="LABEL,LABEL,...",
        listed=True,
        unset="from its config.json, otherwise the task's order",
        no_effect=_names_unused,
    )
    allow_weak_teacher: bool = in_models(
        False, help="accept a teacher that is no better than the majority class on the dev set", no_effect=_outputs_unused
    )
    output_dir: Path = in_run(help="output folder; both stages of a task may share it")
    stage: str | None = in_stage(
        None,
        help="training stage: intermediate (hidden states, attention), prediction (logits), both (sequentially), joint (one loss)",
        choices=("intermediate", "prediction", "both", "joint"),
        unset="prediction with teacher_path, intermediate with teacher_model",
    )
    intermediate_distill: bool = in_stage(False, help="old spelling of --stage intermediate")
    pred_distill: bool = in_stage(False, help="old spelling of --stage prediction")
    ablation: str | None = in_stage(
        None,
        help="leave out a part, as in the paper: embedding (embd), hidden states (hidn), attention (attn), the last two (trm), "
        "or logits (pred)",
        choices=tuple(ABLATIONS),
        unset="none",
        sets=ABLATIONS.get,
    )
    teacher_head: str | None = in_conventions(
        None,
        help="the teacher's head as trained, or with a ReLU before the classifier",
        choices=("trained", "relu"),
        no_effect=_head_unused,
    )
    intermediate_epochs: float | None = _of_stage("intermediate", "num_train_epochs", above=0, at_most=1e6)
    prediction_epochs: float | None = _of_stage("prediction", "num_train_epochs", above=0, at_most=1e6)
    intermediate_learning_rate: float | None = _of_stage("intermediate", "learning_rate", above=0, at_most=10)
    prediction_learning_rate: float | None = _of_stage("prediction", "learning_rate", above=0, at_most=10)
    intermediate_max_steps: int | None = _of_stage("intermediate", "max_steps", at_least=-1, at_most=1e9)
    prediction_max_steps: int | None = _of_stage("prediction", "max_steps", at_least=-1, at_most=1e9)
    intermediate_aug: bool | None = _of_stage("intermediate", "use_aug", group="data")
    prediction_aug: bool | None = _of_stage("prediction", "use_aug", group="data")

    def check(self) -> list[Notice]:
        """Reject a missing teacher or student, two student sources, and contradictory stages."""
        notes = super().check()
        if not actions(self).train:
            return notes
        if self.preset not in (None, self.method_object.preset):
            for name, method in methods_of("distill").items():
                if method.preset == self.preset:
                    raise UserError(
                        f"--preset {self.preset} contains the values of --method {name}\nadd --method {name}, or choose another preset"
                    )
        soft = soft_label_option(self)
        if self.teacher_path is None and (self.method_object.reads_teacher and not soft or self.student_init):
            reason = "--student_init copies its layers" if self.student_init else "give a fine-tuned teacher, soft labels, or --method none"
            raise UserError(f"--teacher_path (or --teacher_model) is missing\n{reason}")
        stage = infer_stage(self)
        if soft is not None or number_of_teachers(self) > 1:
            self._check_logits_only(soft, stage)
        if actions(self).predict and stage.stage == "intermediate":
            raise UserError(
                "--do_predict needs a classifier, which the intermediate stage does not train\n"
                "leave it out, or ask for --stage both or --stage prediction"
            )
        self.resolve(self.task_name)  # rejects settings that leave nothing to learn
        return notes

    def _check_logits_only(self, soft: str | None, choice: StageChoice) -> None:
        """Reject soft labels or several teachers for what a teacher's layers teach, and the label order of several teachers."""
        several = number_of_teachers(self) > 1
        found = "only the logits of several teachers are averaged" if several else f"--{soft} has only {CONTENTS[str(soft)]}"
        for stage in choice.stages:
            if "layers" in self.method_object.learns(stage, choice.stage == "joint"):
                of = f"--method {self.method}" + (f" in --stage {choice.stage}" if len(self.method_object.stages) > 1 else "")
                raise UserError(
                    f"{found}, but {of} learns the teacher's hidden states or attention\n"
                    f"use --method logits, or give {'one' if several else 'a'} teacher with --teacher_path"
                )
        if several and self.teacher_labels is not None:
            raise UserError(
                "--teacher_labels describes the outputs of one teacher\nname the labels of several in their config.json (id2label) or file"
            )

    def resolve(self, task_name: str, kind: Kind | None = None, student_depth: int | None = None) -> Resolved:
        """The settings of each stage for a task of this kind and a student of this depth; of the prediction stage for evaluation only."""
        if not actions(self).train:
            return resolve_stages(self, ("prediction",), task_name, student_depth, kind=kind)
        choice = infer_stage(self)
        return resolve_stages(self, choice.stages, task_name, student_depth, kind=kind, joint=choice.stage == "joint")

    # === Called by `tinybert.config.resolve` ===

    def check_stage(self, context: Context) -> None:
        """Reject a stage that learns labels of rows that have none."""
        super().check_stage(context)
        if not self.unlabelled_file or not actions(self).train or context.method.at_once:
            return  # the recipe checks the objective of a single stage before it trains
        if context.stage == "prediction" and (context.get("alpha") or 0.0) < 1 and context.get("prediction_weight") != 0:
            alpha = f" with --alpha {context.alpha:g}" if context.get("alpha") else ""
            raise UserError(
                f"--unlabelled_file has no labels, but --method {self.method}{alpha} learns labels in the prediction stage\n"
                "learn only from the teacher (--alpha 1), or leave out the file"
            )

    def option_off(self, context: Context, declared: Option) -> str | None:
        """Pruning options apply to its first stage, method options to their method."""
        if declared.name in SCHEDULE_OPTIONS:
            return schedule_off(context, declared.name)
        return super().option_off(context, declared)

    def about(self, context: Context) -> dict[str, object]:
        """Stage, preset, task, method, and whether both stages are trained jointly."""
        return {**super().about(context), "joint": context.joint or None}

    def stage_notices(self, settings: Mapping[str, Settings]) -> list[Notice]:
        """Warn about a loss that is always 0."""
        if "prediction" not in settings or settings["prediction"].get("regression_target") != "softmax":
            return []
        text = (
            "regression_target softmax: the softmax of one class is always 1, so the prediction loss is 0 and nothing "
            "is learned; --regression_target teacher learns from the teacher"
        )
        return [Notice("zero-loss", text)]

"""Task distillation."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config import dialects
from tinybert.config.dialects import HUAWEI, MUD
from tinybert.config.distilling import (
    ORDER,
    IntermediateOptions,
    ModelOptions,
    check_layer_map,
    in_conventions,
    in_losses,
    in_models,
)
from tinybert.config.emd import EmdOptions, check_emd
from tinybert.config.groups import PRESET as FROM_PRESET
from tinybert.config.groups import (
    DataOptions,
    OptimisationOptions,
    RunOptions,
    actions,
    common_checks,
    in_data,
    in_optimisation,
    in_run,
)
from tinybert.config.mud import MudOptions, check_mud
from tinybert.config.notices import Notice
from tinybert.config.options import Alias, option
from tinybert.config.prune import PruneScheduleOptions, check_schedule
from tinybert.config.stages import ABLATIONS, infer_stage
from tinybert.config.stored import StoredOptions, check_stored
from tinybert.config.student_choice import check_student
from tinybert.errors import UserError

in_stage = partial(option, group="stage and method")


@command(
    "distill", summary="distil a teacher into a student (task_distill.py)", recipe="task_distill:task_distill", script="task_distill.py"
)
class TaskDistillConfig(
    RunOptions,
    OptimisationOptions,
    DataOptions,
    EmdOptions,
    MudOptions,
    PruneScheduleOptions,
    StoredOptions,
    IntermediateOptions,
    ModelOptions,
):
    """Distil a fine-tuned teacher into a small student on a known task or your own files, in one stage or two."""

    OBSOLETE = dialects.OBSOLETE_DISTILL
    FOREIGN = dialects.FOREIGN_DISTILL
    GROUPS = ORDER

    teacher_labels: str | None = in_models(
        None,
        help="what the teacher's outputs stand for, in their order, where its config.json does not name them",
        metavar="LABEL,LABEL,...",
        listed=True,
        unset="from its config.json, else the task's order",
    )
    allow_weak_teacher: bool = in_models(False, help="go on with a teacher that is no better on dev than the majority class")
    output_dir: Path = in_run(help="the folder of this run's results; both stages of a task may share it")
    stage: str | None = in_stage(
        None,
        help="what to learn: hidden states and attention, then logits, both one after the other, or all in one step (joint)",
        choices=("intermediate", "prediction", "both", "joint"),
        unset="from the spelling: teacher_path prediction, teacher_model intermediate",
    )
    intermediate_distill: bool = in_stage(False, help="old spelling of --stage intermediate")
    pred_distill: bool = in_stage(False, help="old spelling of --stage prediction")
    repr_distill: bool = in_stage(False, help="MUD's spelling of --stage intermediate; with --pred_distill: --stage joint")
    method: str = in_stage(
        "tinybert",
        help="tinybert: both stages; mud: both, a chosen part of the hidden states; emd: one stage, layers matched by transport; "
        "logits: logits only; none: gold labels only",
        choices=("tinybert", "mud", "emd", "logits", "none"),
    )
    ablation: str | None = in_stage(
        None,
        help="leave out, as the paper does: embedding, hidden states, attention, both of these (trm), or the logits",
        choices=tuple(ABLATIONS),
        unset="nothing left out",
    )
    T: float | None = in_losses(
        None,
        help="temperature of the logits",
        alias=(Alias("temperature", f"{HUAWEI}, {MUD}"),),
        unset=FROM_PRESET,
        above=0,
        at_most=1e6,
    )
    alpha: float | None = in_losses(
        None,
        help="weight of the teacher against gold labels in the prediction stage; 1: teacher only",
        unset=FROM_PRESET,
        at_least=0,
        at_most=1,
    )
    prediction_weight: float = in_losses(1.0, help="weight of the prediction loss", at_least=0)
    use_pred: bool = in_losses(True, help="learn the logits; without it the prediction stage learns gold labels")

    teacher_head: str | None = in_conventions(
        None,
        help="the teacher's head as it was trained, or with a ReLU before the classifier",
        choices=("trained", "relu"),
    )
    soft_ce_reduction: str | None = in_conventions(None, help="soft cross-entropy: sum or mean over the classes", choices=("sum", "mean"))
    temperature_square: bool | None = in_conventions(None, help="multiply the soft cross-entropy by T^2")
    regression_target: str | None = in_conventions(
        None,
        help="what a regression learns: the teacher's score, the gold score, or the softmax of one class (loss 0)",
        choices=("teacher", "gold", "softmax"),
    )

    intermediate_epochs: float | None = in_optimisation(
        None, help="num_train_epochs of the intermediate stage", unset="num_train_epochs", above=0, at_most=1e6
    )
    prediction_epochs: float | None = in_optimisation(
        None, help="num_train_epochs of the prediction stage", unset="num_train_epochs", above=0, at_most=1e6
    )
    intermediate_learning_rate: float | None = in_optimisation(
        None, help="learning_rate of the intermediate stage", unset="learning_rate", above=0
    )
    prediction_learning_rate: float | None = in_optimisation(
        None, help="learning_rate of the prediction stage", unset="learning_rate", above=0
    )
    intermediate_max_steps: int | None = in_optimisation(
        None, help="max_steps of the intermediate stage", unset="max_steps", at_least=-1, at_most=1e9
    )
    prediction_max_steps: int | None = in_optimisation(
        None, help="max_steps of the prediction stage", unset="max_steps", at_least=-1, at_most=1e9
    )
    intermediate_aug: bool | None = in_data(None, help="use_aug of the intermediate stage", unset="use_aug")
    prediction_aug: bool | None = in_data(None, help="use_aug of the prediction stage", unset="use_aug")

    def check(self) -> list[Notice]:
        """Refuse a missing teacher or student, two kinds of student, a malformed map, and contradictory stages."""
        notes = [*super().check(), *common_checks(self)]
        check_student(self)
        check_emd(self)
        check_mud(self)
        check_schedule(self)
        check_stored(self)
        if actions(self).train:
            if self.teacher_path is None and (self.method != "none" or self.student_init):
                reason = "--student_init copies its layers" if self.student_init else "give a fine-tuned teacher, or --method none"
                raise UserError(f"--teacher_path (or --teacher_model) is missing\n{reason}")
            stage = infer_stage(self).stage
            if actions(self).predict and stage == "intermediate":
                raise UserError(
                    "--do_predict needs a classifier, which the intermediate stage does not train\n"
                    "leave it out, or ask for --stage both or --stage prediction"
                )
        check_layer_map(self.layer_map)
        for name, value in ABLATIONS.get(self.ablation or "", {}).items():
            if name in self.given and getattr(self, name) != value:
                raise UserError(f"--ablation {self.ablation} sets {name} to {value}, --{name} says otherwise\ngive one of them")
        return notes

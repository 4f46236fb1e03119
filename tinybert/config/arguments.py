"""The arguments of fine-tuning and task distillation, and of the verbs with few options.

Those of `augment`, `pregenerate` and `prune` stand in the modules of those names, those of `general` are defined in `general`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tinybert.config import dialects
from tinybert.config.dialects import HF, HUAWEI, MUD
from tinybert.config.distilling import (
    ORDER,
    IntermediateArguments,
    ModelArguments,
    check_layer_map,
    in_conventions,
    in_losses,
    in_models,
)
from tinybert.config.emd import EmdArguments, check_emd
from tinybert.config.general import GeneralDistillArguments  # noqa: F401  scripts and verbs look for it here
from tinybert.config.groups import PRESET as FROM_PRESET
from tinybert.config.groups import (
    DataArguments,
    DeviceArguments,
    OptimisationArguments,
    RunArguments,
    actions,
    common_checks,
    in_data,
    in_optimisation,
    in_run,
)
from tinybert.config.mud import MudArguments, check_mud
from tinybert.config.notices import Notice
from tinybert.config.options import Alias, Arguments, flag
from tinybert.config.prune import PruneScheduleArguments, check_schedule
from tinybert.config.stages import ABLATIONS, infer_stage
from tinybert.config.stored import StoredArguments, check_stored
from tinybert.config.student_choice import check_student
from tinybert.errors import UserError

in_stage = partial(flag, group="stage and method")


@dataclass(kw_only=True)
class FinetuneArguments(RunArguments, OptimisationArguments, DataArguments):
    """Fine-tune a BERT-like encoder on a known task or your own files: a teacher, or a plain baseline to compare a student with."""

    OBSOLETE = dialects.OBSOLETE_FINETUNE
    GROUPS = ORDER

    model_name_or_path: str = in_models(help="the folder or name of the pre-trained model")
    model_type: str | None = in_models(None, help="the family of the model (bert, ernie, ...)", unset="from its configuration")
    tokenizer_name_or_path: str | None = in_models(
        None, help="the folder or name of the tokenizer", alias=(Alias("tokenizer_name", HF),), unset="the model's own"
    )
    output_dir: Path | None = in_run(
        None, help="the folder of this run's results", unset="pretrained_models/<TASK>; with compute_taylor the folder of the model"
    )
    preset: str = in_run(
        "sound",
        help="the named set of conventions and numbers that fills in what is not given",
        choices=("sound", "paper", "huawei", "paddlenlp", "emd", "mud", "rosita"),
    )
    compute_taylor: bool = in_stage(
        False, help="train nothing: accumulate the first-order importance of a fine-tuned model's weights, for pruning"
    )
    importance_mode: str | None = in_conventions(
        None, help="compute_taylor without dropout (eval) or, as published, with it (train)", choices=("eval", "train")
    )
    evaluate_during_training: bool = in_run(
        False, help="evaluate every logging_steps instead of every save_steps, as the Hugging Face scripts do"
    )

    def check(self, given: set[str], spelled: dict[str, str]) -> list[Notice]:
        """Refuse contradictions among the shared options."""
        return [*super().check(given, spelled), *common_checks(self, spelled)]


@dataclass(kw_only=True)
class TaskDistillArguments(
    RunArguments,
    OptimisationArguments,
    DataArguments,
    EmdArguments,
    MudArguments,
    PruneScheduleArguments,
    StoredArguments,
    IntermediateArguments,
    ModelArguments,
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

    def check(self, given: set[str], spelled: dict[str, str]) -> list[Notice]:
        """Refuse a missing teacher or student, two kinds of student, a malformed map, and contradictory stages."""
        notes = [*super().check(given, spelled), *common_checks(self, spelled)]
        check_student(self)
        check_emd(self, given, spelled)
        check_mud(self, given, spelled)
        check_schedule(self, given)
        check_stored(self)
        if actions(self).train:
            if self.teacher_path is None and (self.method != "none" or self.student_init):
                reason = "--student_init copies its layers" if self.student_init else "give a fine-tuned teacher, or --method none"
                raise UserError(f"--teacher_path (or --teacher_model) is missing\n{reason}")
            stage = infer_stage(self, spelled).stage
            if actions(self).predict and stage == "intermediate":
                raise UserError(
                    "--do_predict needs a classifier, which the intermediate stage does not train\n"
                    "leave it out, or ask for --stage both or --stage prediction"
                )
        check_layer_map(self.layer_map)
        for name, value in ABLATIONS.get(self.ablation or "", {}).items():
            if name in given and getattr(self, name) != value:
                raise UserError(f"--ablation {self.ablation} sets {name} to {value}, --{name} says otherwise\ngive one of them")
        return notes


@dataclass(kw_only=True)
class DemoArguments(DeviceArguments):
    """Fine-tune a small teacher and distil it, on the demo data that comes with the package."""

    task_name: str = in_data("demo", help="the task")
    model: str = in_models("all-minilm-l6-v2", help="the folder or name of the pre-trained model that becomes the teacher")
    output_dir: Path = in_run(Path("runs/demo"), help="the folder of the results")
    overwrite_output_dir: bool = in_run(False, help="replace earlier results")
    quick: bool = in_run(False, help="a few updates per stage: shows that everything works, not how well")
    seed: int = in_run(42, help="seed of sampling, dropout and fresh weights", at_least=0)


@dataclass(kw_only=True)
class DownloadArguments(Arguments):
    """Fetch the data of known tasks ahead of a run."""

    tasks: str = in_data(
        "all", help="task names separated by commas; all: the nine of GLUE, clue: those of CLUE", metavar="all|clue|SST-2,..."
    )
    glue_dir: Path | None = in_data(
        None,
        help="the folder that gets one folder per task",
        unset="$DATA_HOME/Glue, else $PPNLP_HOME/datasets/Glue; CLUE tasks: Clue in its place",
    )


@dataclass(kw_only=True)
class ConvertArguments(Arguments):
    """Write a model in Hugging Face's or PaddleNLP's layout or as a program for Paddle Inference, and prove that both are the same."""

    GROUPS = ("models", "run")

    model_path: str = in_models(help="the folder or name of the model; the output folder of a run means its best model")
    to: str = in_models(help="the layout to write", choices=("huggingface", "paddlenlp", "inference"))
    output_dir: Path = in_run(help="the folder of the result")
    overwrite_output_dir: bool = in_run(False, help="replace an earlier model in output_dir")


@dataclass(kw_only=True)
class DoctorArguments(Arguments):
    """Say what stands in the way of a run on this machine, and what to do about it."""

    NEEDS_PADDLE = False

    glue_dir: Path | None = in_data(
        None, help="the folder that holds one folder per task", unset="$DATA_HOME/Glue, else $PPNLP_HOME/datasets/Glue"
    )

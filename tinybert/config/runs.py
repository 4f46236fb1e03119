"""Options for the device, the output folder, checkpoints and evaluation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tinybert.config.custom_files import check_custom_files
from tinybert.config.dialects import HF, THREE
from tinybert.config.groups import in_optimisation, in_run, preset_option, threads_option
from tinybert.config.notices import Notice
from tinybert.config.options import Alias, Config, Derived
from tinybert.config.resolve import Context
from tinybert.config.resolved import Settings
from tinybert.errors import UserError


def _evaluated_with_logging(context: Context) -> Derived | None:
    if not context.evaluate_during_training:
        return None
    reason = "--evaluate_during_training evaluates every logging_steps" if context.save_steps > 0 else None
    source = f"logging_steps ({context.sources['logging_steps']}), with evaluate_during_training"
    return Derived(context.logging_steps, source, reason)


def _never_early(context: Context) -> str | None:
    if context.early_stopping_patience is None:
        return "it is not asked for"
    return "--prune_schedule needs all steps of the stage" if context.get("prune_schedule") else None


def _unweighed(context: Context) -> str | None:
    if context.class_weights is None:
        return "it is not asked for"
    if context.kind is not None and not context.kind.weighs_labels:
        return f"the labels of {context.kind.title} have no weights"
    if context.method is None:
        return None
    if context.stage != "prediction":
        return f"the {context.stage} stage does not learn from labels"
    return "alpha 1 learns from the teacher alone; give --alpha below 1" if context.get("alpha") == 1 else None


def vocabulary_reason(settings: Settings | Context, config: Config) -> str | None:
    """Why a stage must train all rows of the word embedding; None if training the rows in use is enough."""
    if settings.optimizer == "adam" and settings.weight_decay:
        return "the L2 penalty of --optimizer adam moves every row"
    if settings.get("prune_schedule"):
        return "--prune_schedule changes the embedding during training"
    if config.amp is not None:
        return "--amp stores the weights in another precision"
    return "--resume_changed may resume with other texts" if config.resume_changed else None


class DeviceOptions(Config):
    """The device and its settings."""

    device: str = in_run(
        "auto",
        help="auto, cpu, gpu, xpu or another device type of this Paddle (npu, gcu, mlu ...); all but the first two accept an optional :i",
        alias=(Alias("no_cuda", f"{THREE}, {HF}", means="cpu"),),
        metavar="auto|cpu|gpu[:i]|xpu[:i]|NAME[:i]",
    )
    threads: int | None = threads_option()

    def check(self) -> list[Notice]:
        """Reject a device that cannot exist."""
        if not re.fullmatch(r"auto|cpu|(?!auto|cpu|cuda)[a-z]\w*(:\d+)?", self.device, re.ASCII):
            raise UserError(
                f"--device got {self.device!r}\nexpected auto, cpu, gpu, xpu or another device type of Paddle, optionally with :i"
            )
        return super().check()


class ClusterOptions(Config):
    """Where the work is done."""

    runner: str = in_run("local", help="local: processes on this machine; ray: tasks on a Ray cluster", choices=("local", "ray"))
    address: str | None = in_run(None, help="address of the Ray cluster", unset="a cluster on this machine")

    def check(self) -> list[Notice]:
        """Reject a cluster's address without the cluster, and a number of local processes with it."""
        if self.address is not None and self.runner != "ray":
            raise UserError("--address needs a Ray cluster\nadd --runner ray, or leave it out")
        for name in ("num_workers", "parallel"):
            if self.runner == "ray" and name in self.given:
                raise UserError(
                    f"--{name} is for processes on this machine, --runner ray uses all CPUs of the cluster\ngive only one of them"
                )
        return super().check()


class TrainingRunOptions(DeviceOptions):
    """Output folder and checkpoints."""

    output_dir: Path | None = in_run(None, help="output folder")
    overwrite_output_dir: bool = in_run(False, help="replace results of the same stage in output_dir")
    resume: str | None = in_run(
        None,
        help="resume from a checkpoint: the newest in output_dir (auto), or the one at PATH, which discards later ones",
        metavar="auto|PATH",
        unset="start afresh",
    )
    resume_changed: bool = in_run(
        False, help="resume although data or arguments have changed since the checkpoint; the result is then not exact"
    )
    preset: str = preset_option("distill")
    amp: str | None = in_run(
        None,
        help="mixed precision: O1 (per operator) or O2 (also weights); needs a GPU",
        choices=("O1", "O2"),
        unset="float32",
        does="updates",
    )
    amp_dtype: str = in_run(
        "float16",
        help="half-precision type of --amp",
        choices=("float16", "bfloat16"),
        does="updates",
        no_effect=lambda context: "without --amp everything is computed in float32" if context.amp is None else None,
    )
    logging_steps: int = in_run(100, help="log every N updates", at_least=1, setting=True)
    save_steps: int = in_run(
        100,
        help="evaluate every N updates and keep the best model; 0: once per epoch, keeping best and final",
        alias=(Alias("eval_step", THREE), Alias("eval_steps", HF)),
        at_least=0,
        setting=True,
        does="scores",
        derived=_evaluated_with_logging,
    )
    early_stopping_patience: int | None = in_run(
        None,
        help="end a stage after this many evaluations in a row without a better score than the best one",
        unset="train to the last step",
        at_least=1,
        setting=True,
        does="scores",
        no_effect=_never_early,
    )
    checkpoint_steps: int | None = in_run(None, help="save a checkpoint for resuming every N updates", unset="by time", at_least=1)
    checkpoint_minutes: float = in_run(
        10.0,
        help="minutes between checkpoints, unless checkpoint_steps is given",
        above=0,
        no_effect=lambda context: None if context.checkpoint_steps is None else "--checkpoint_steps takes precedence",
    )
    keep_checkpoints: int = in_run(
        2, help="number of most recent checkpoints to keep", alias=(Alias("save_total_limit", HF),), at_least=1, does="updates"
    )

    def check(self) -> list[Notice]:
        """Reject contradictory options for resuming."""
        notes = super().check()
        self.refuse_both("resume", "overwrite_output_dir")
        if self.resume_changed and not self.resume:
            raise UserError("--resume_changed needs --resume auto or --resume PATH")
        return notes


class RunOptions(TrainingRunOptions):
    """A run that trains, evaluates or predicts."""

    do_train: bool = in_run(False, help="train; if none of the three is given, train and then evaluate")
    do_eval: bool = in_run(False, help="evaluate on the dev set; without do_train nothing is trained", does="scores")
    do_predict: bool = in_run(False, help="write the GLUE submission files; without do_train nothing is trained", does="scores")
    predict_format: str = in_run(
        "submission",
        help="output format of do_predict: as accepted by the GLUE and CLUE servers, or all label probabilities as CSV or JSON lines",
        choices=("submission", "csv", "jsonl"),
        does="scores",
        setting=False,
    )
    class_weights: str | None = in_optimisation(
        None,
        help="weights of the labels in the loss with the gold labels: balanced (inversely proportional to their number of rows), or a JSON "
        "or TSV file of labels and weights",
        metavar="balanced|FILE",
        unset="all labels weigh the same",
        does="updates",
        no_effect=_unweighed,
    )
    compact_vocabulary: str = in_optimisation(
        "auto",
        help="train only the word-embedding rows in use, with the same result; auto: on the CPU if at most 70% are in use",
        choices=("auto", "True", "False"),
        does="updates",
        setting=False,
        no_effect=lambda context: vocabulary_reason(context, context.config),
    )

    def check(self) -> list[Notice]:
        """Reject options for your own files that contradict each other or the actions of the run."""
        return [*super().check(), *check_custom_files(self, actions(self))]


@dataclass(frozen=True)
class Actions:
    """The actions of a run."""

    train: bool
    evaluate: bool
    predict: bool


def actions(config: RunOptions) -> Actions:
    """The requested actions; with none of do_train, do_eval and do_predict: train, then evaluate."""
    if config.do_train or config.do_eval or config.do_predict:
        return Actions(config.do_train, config.do_eval, config.do_predict)
    return Actions(train=True, evaluate=True, predict=False)

"""Options shared by several scripts: data, optimisation and the run itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinybert.config.custom_files import check_custom_files
from tinybert.config.dialects import EMD, HF, HUAWEI, MUD
from tinybert.config.notices import Notice
from tinybert.config.options import KEEP, Alias, Config, Derived, option
from tinybert.config.preset import preset_names
from tinybert.errors import UserError
from tinybert.kinds.registry import KINDS, METRICS

if TYPE_CHECKING:
    from tinybert.config.resolve import Context
    from tinybert.config.resolved import Settings

in_data = partial(option, group="data")
in_optimisation = partial(option, group="optimisation", setting=True)
in_run = partial(option, group="run")
THREE = f"{HUAWEI}, {EMD}, {MUD}"
PRESET = "from the preset"


# === When an option has no effect ===


def _data_dir_wins(context: Context) -> str | None:
    return "--data_dir already gives the folder of this task" if context.data_dir is not None else None


def _without_scores(context: Context) -> str | None:
    lowest = "the intermediate stage selects the model with the lowest loss on held-out rows"
    return lowest if context.stage == "intermediate" else None


def _max_steps_win(context: Context) -> str | None:
    return "max_steps takes precedence" if context.max_steps > 0 else None


def _constant(context: Context) -> str | None:
    return "a constant schedule has no warm-up" if context.lr_schedule == "constant" else None


def _counts_steps(context: Context) -> bool:
    """Steps or proportion, never both: explicit options override the preset, then steps above 0 win; 0 steps alone mean no warm-up."""
    by_share = context.given("warmup_proportion")
    steps = None if by_share and not context.given("warmup_steps") else context.warmup_steps
    return steps is not None and (steps > 0 or not by_share)


def _proportion_wins(context: Context) -> str | None:
    return _constant(context) or (None if _counts_steps(context) else "warmup_proportion takes precedence")


def _steps_win(context: Context) -> str | None:
    return _constant(context) or ("--warmup_steps takes precedence" if _counts_steps(context) else None)


def _no_clipping(context: Context) -> str | None:
    return "max_grad_norm 0 means no clipping" if context.max_grad_norm == 0 else None


def _bertadam_clips(context: Context) -> Derived | None:
    """BertAdam always clips per tensor, whatever was requested."""
    if context.optimizer != "bertadam" or context.grad_clip == "tensor":
        return None
    return Derived("tensor", "optimizer bertadam", "--optimizer bertadam clips each tensor separately")


def _evaluated_with_logging(context: Context) -> Derived | None:
    if not context.evaluate_during_training:
        return None
    reason = "--evaluate_during_training evaluates every logging_steps" if context.save_steps > 0 else None
    source = f"logging_steps ({context.sources['logging_steps']}), with evaluate_during_training"
    return Derived(context.logging_steps, source, reason)


def _by_steps(context: Context) -> str | None:
    return "--checkpoint_steps takes precedence" if context.checkpoint_steps is not None else None


def _without_amp(context: Context) -> str | None:
    return "without --amp everything is computed in float32" if context.amp is None else None


def vocabulary_reason(settings: Settings | Context, config: Config) -> str | None:
    """Why a stage must train all rows of the word embedding; None if training the rows in use is enough."""
    if settings.optimizer == "adam" and settings.weight_decay:
        return "the L2 penalty of --optimizer adam moves every row"
    if settings.get("prune_schedule"):
        return "--prune_schedule changes the embedding during training"
    if config.amp is not None:
        return "--amp stores the weights in another precision"
    return "--resume_changed may resume with other texts" if config.resume_changed else None


def _whole_vocabulary(context: Context) -> str | None:
    return vocabulary_reason(context, context.config)


def original_rows(context: Context) -> Derived | None:
    """Two rules of the paper: STS-B, and gold labels instead of logits, use the original rows even with --use_aug."""
    rule = f"preset {context.config.preset}" if context.preset_values.get("original_rows") else None
    if context.ablation == "pred" and context.stage == "prediction":
        rule = "ablation pred"
    if rule is None or context.sources["use_aug"] != "given":
        return None
    text = (
        f"{rule} trains the {context.stage} stage of {context.task_name} on the original rows; use --{context.stage}_aug for "
        "the augmented ones"
    )
    return Derived(False, rule, text, Notice("original-rows", text))


# === The options ===


class RowOptions(Config):
    """Which training rows are read, and how."""

    task_name: str = in_data(
        help="task name in any case: SST-2, sst-2, STS-b, MNLI, TNEWS, ChnSentiCorp, ... or demo; any name for your own files"
    )
    data_dir: Path | None = in_data(
        None,
        help="folder of this task's train, dev and test files",
        unset="--glue_dir/<TASK>, otherwise $DATA_HOME/Glue/<TASK> (docs/data.md)",
    )
    glue_dir: Path | None = in_data(
        None,
        help="folder that contains one folder per task",
        unset="$DATA_HOME/Glue, otherwise $PPNLP_HOME/datasets/Glue; for CLUE tasks, Clue instead of Glue",
        no_effect=_data_dir_wins,
    )
    train_file: Path | None = in_data(None, help="your own training rows: TSV, CSV, JSON lines or a JSON array")
    file_format: str | None = in_data(
        None,
        help="file format; jsonl: one object per line; json: an array of objects; parquet needs pyarrow, xlsx needs openpyxl; "
        "conll: tagged words in whitespace-separated columns",
        choices=("tsv", "csv", "jsonl", "json", "parquet", "xlsx", "conll"),
        unset="by suffix: .tsv .txt .csv .jsonl .ndjson .json .parquet .xlsx",
    )
    text_a_column: str | None = in_data(
        None,
        help="text column: a header name (JSON: a key) or a number, counted from 0",
        metavar="NAME|NUMBER",
        unset="required for your own files",
    )
    text_b_column: str | None = in_data(None, help="column of the second text of a pair", metavar="NAME|NUMBER", unset="single texts")
    label_column: str | None = in_data(
        None, help="column of the label or score", metavar="NAME|NUMBER", unset="required with train_file and dev_file"
    )
    header: bool | None = in_data(None, help="whether the first line of your TSV and CSV files contains the column names", unset="True")
    quoting: str | None = in_data(
        None,
        help="csv: fields may be quoted and contain delimiters and line breaks (RFC 4180); none: quotes are text",
        choices=("none", "csv"),
        unset="csv for CSV files, none for TSV files",
    )
    labels: str | None = in_data(
        None,
        help="labels in the order of the model's outputs",
        metavar="A,B,C",
        listed=True,
        unset="the distinct labels of train_file, sorted (numbers by value)",
    )
    kind: str | None = in_data(
        None,
        help="task kind of your own files: one class, a score, any number of labels, a tag for each word, or questions about a text",
        choices=tuple(KINDS),
        alias=(Alias("regression", "shorthand", means="regression"),),
        unset="the known task's kind; for your own files, classification",
    )
    doc_stride: int | None = in_data(
        None,
        help="question answering: stride in tokens between windows over a long text; at most the number of text tokens in a window",
        at_least=1,
        unset="128",
    )
    allow_suspicious_labels: bool = in_data(
        False, help="train labels that differ only in spelling (Yes, yes) or occur in a single row as separate classes"
    )
    do_lower_case: bool | None = in_data(None, help="lower-case the text", unset="from the tokenizer's config", setting=True)


class DataOptions(RowOptions):
    """Which other rows are read, and how all become token ids."""

    dev_file: Path | None = in_data(
        None, help="your own rows for evaluation; they select the best model", alias=(Alias("validation_file", HF),)
    )
    test_file: Path | None = in_data(None, help="your own rows for do_predict; their labels are ignored")
    metric: str | None = in_data(
        None,
        help="metric that selects the best model",
        alias=(Alias("metric_for_best_model", HF),),
        choices=METRICS,
        unset="the task's or the preset's; for your own files that of the task kind: accuracy, pearson_and_spearman, micro_f1",
        setting=True,
        does="scores",
        no_effect=_without_scores,
    )
    max_seq_length: int | None = in_data(
        None,
        help="maximum tokens per example, including [CLS] and [SEP]; longer examples are truncated",
        unset=PRESET,
        at_least=4,
        setting=True,
    )
    pad_to_max_length: bool | None = in_data(
        None,
        help="pad every batch to max_seq_length, like the published scripts, instead of to its longest row",
        unset=PRESET,
        setting=True,
    )
    use_aug: bool = in_data(
        False,
        help="train on train_aug.tsv, the augmented rows next to train.tsv",
        alias=(Alias("aug_train", THREE),),
        setting=True,
        derived=original_rows,
    )
    aug_file: Path | None = in_data(None, help="file of the augmented rows", unset="train_aug.tsv next to train.tsv")


class OptimisationOptions(Config):
    """How the weights are updated."""

    batch_size: int | None = in_optimisation(
        None,
        help="rows per device and forward pass; one update sees this times gradient_accumulation_steps",
        alias=(
            Alias("train_batch_size", THREE),
            Alias("per_gpu_train_batch_size", HF),
            Alias("per_device_train_batch_size", HF),
        ),
        unset=PRESET,
        at_least=1,
    )
    eval_batch_size: int | None = in_optimisation(
        None,
        help="rows per batch for evaluation",
        alias=(Alias("per_gpu_eval_batch_size", HF), Alias("per_device_eval_batch_size", HF)),
        unset=PRESET,
        at_least=1,
        does="scores",
    )
    learning_rate: float | None = in_optimisation(None, help="peak learning rate", unset=PRESET, above=0, at_most=10, does="updates")
    num_train_epochs: float | None = in_optimisation(
        None,
        help="number of epochs; may be fractional",
        unset=PRESET,
        above=0,
        at_most=1e6,
        does="updates",
        otherwise=KEEP,
        no_effect=_max_steps_win,
    )
    max_steps: int = in_optimisation(
        -1, help="stop after this many updates; if above 0, takes precedence over num_train_epochs", at_least=-1, at_most=1e9
    )
    optimizer: str | None = in_optimisation(
        None,
        help="adamw: with bias correction; bertadam: without, like the published PyTorch scripts; adam: with an L2 penalty "
        "instead of weight decay",
        choices=("adamw", "bertadam", "adam"),
        unset=PRESET,
        does="updates",
    )
    weight_decay: float | None = in_optimisation(
        None,
        help="decoupled weight decay; biases and layer norms are exempt",
        alias=(Alias("wd", THREE),),
        unset=PRESET,
        at_least=0,
        does="updates",
    )
    adam_epsilon: float | None = in_optimisation(None, help="epsilon of the optimizer", unset=PRESET, above=0, at_most=1, does="updates")
    lr_schedule: str | None = in_optimisation(
        None,
        help="linear: warm-up, then linear decay to 0; constant: without warm-up",
        choices=("constant", "linear"),
        unset=PRESET,
        does="updates",
    )
    warmup_steps: int | None = in_optimisation(
        None,
        help="number of warm-up updates; if above 0, takes precedence over warmup_proportion; 0 without warmup_proportion: no warm-up",
        unset="from warmup_proportion",
        at_least=0,
        does="updates",
        otherwise=0,
        no_effect=_proportion_wins,
    )
    warmup_proportion: float | None = in_optimisation(
        None,
        help="share of all updates used for warm-up",
        alias=(Alias("warmup_ratio", HF),),
        unset=PRESET,
        at_least=0,
        below=1,
        does="updates",
        otherwise=0.0,
        no_effect=_steps_win,
    )
    max_grad_norm: float | None = in_optimisation(
        None, help="maximum gradient norm for clipping; 0: no clipping", unset=PRESET, at_least=0, does="updates"
    )
    grad_clip: str | None = in_optimisation(
        None,
        help="clip by the norm of all gradients together (global) or of each parameter separately (tensor, as bertadam always does)",
        choices=("global", "tensor"),
        unset=PRESET,
        does="updates",
        derived=_bertadam_clips,
        no_effect=_no_clipping,
    )
    gradient_accumulation_steps: int = in_optimisation(1, help="forward passes per update", at_least=1, does="updates")
    drop_last: bool | None = in_optimisation(None, help="skip an incomplete last batch, like the published PyTorch scripts", unset=PRESET)
    seed: int = in_optimisation(42, help="random seed for sampling, dropout and new weights", at_least=0)


def threads_option(unset: str = "all available cores", owner: str = "this process", **more: Any) -> int | None:
    """`--threads` of every script; the meaning of None differs."""
    return in_run(None, help=f"CPU threads of {owner}", unset=unset, at_least=1, at_most=1024, **more)


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


class TrainingRunOptions(DeviceOptions):
    """Where results go, and how often they are saved."""

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
    preset: str = in_run(
        "sound",
        help="preset with the values of options that are not given",
        choices=preset_names("distill"),
    )
    amp: str | None = in_run(
        None,
        help="mixed precision: O1 (per operator) or O2 (also weights); needs a GPU",
        choices=("O1", "O2"),
        unset="float32",
        does="updates",
    )
    amp_dtype: str = in_run(
        "float16", help="half-precision type of --amp", choices=("float16", "bfloat16"), does="updates", no_effect=_without_amp
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
    checkpoint_steps: int | None = in_run(None, help="save a checkpoint for resuming every N updates", unset="by time", at_least=1)
    checkpoint_minutes: float = in_run(
        10.0, help="minutes between checkpoints, unless checkpoint_steps is given", above=0, no_effect=_by_steps
    )
    keep_checkpoints: int = in_run(
        2, help="number of most recent checkpoints to keep", alias=(Alias("save_total_limit", HF),), at_least=1, does="updates"
    )


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
    compact_vocabulary: str = in_optimisation(
        "auto",
        help="train only the word-embedding rows that occur in the stage's texts and apply weight decay to the others when "
        "saving, with the same result; auto: on the CPU if at most 70% of the rows are in use",
        choices=("auto", "True", "False"),
        does="updates",
        setting=False,
        no_effect=_whole_vocabulary,
    )


@dataclass(frozen=True)
class Actions:
    """What a run does."""

    train: bool
    evaluate: bool
    predict: bool


def actions(config: RunOptions) -> Actions:
    """The requested actions; with none of do_train, do_eval and do_predict: train, then evaluate."""
    if config.do_train or config.do_eval or config.do_predict:
        return Actions(config.do_train, config.do_eval, config.do_predict)
    return Actions(train=True, evaluate=True, predict=False)


def common_checks(config: TrainingRunOptions) -> list[Notice]:
    """Check the shared options for contradictions; returns notices."""
    notes = check_custom_files(config, actions(config)) if isinstance(config, DataOptions) else []
    if config.resume and config.overwrite_output_dir:
        raise UserError("--resume and --overwrite_output_dir contradict each other\ngive only one of them")
    if config.resume_changed and not config.resume:
        raise UserError("--resume_changed needs --resume auto or --resume PATH")
    accumulation = config.gradient_accumulation_steps
    if config.spelled.get("batch_size") == "train_batch_size" and accumulation > 1:
        text = (
            "--train_batch_size counts rows per forward pass here, not per update as in the published scripts: one update "
            f"sees {config.batch_size} x {accumulation} rows"
        )
        notes.append(Notice("rows-per-update", text))
    return notes

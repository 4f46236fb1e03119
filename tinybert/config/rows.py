"""Options for the rows of a task, and how they are tokenised."""

from __future__ import annotations

from pathlib import Path

from tinybert.config.dialects import HF, THREE
from tinybert.config.groups import in_data
from tinybert.config.notices import Notice
from tinybert.config.options import Alias, Config, Derived
from tinybert.config.resolve import Context
from tinybert.config.soft_labels import soft_label_option
from tinybert.kinds.registry import KINDS, METRICS


def _without_scores(context: Context) -> str | None:
    lowest = "the intermediate stage selects the model with the lowest loss on held-out rows"
    return lowest if context.stage == "intermediate" else None


def _undivided(context: Context) -> str | None:
    return "only --dev_share uses it" if context.dev_share is None else None


def _original_rows(context: Context) -> Derived | None:
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


class RowOptions(Config):
    """The training rows and how they are read."""

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
        no_effect=lambda context: None if context.data_dir is None else "--data_dir already gives the folder of this task",
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
        unset="128, at most half of the text tokens in a window",
    )
    allow_suspicious_labels: bool = in_data(
        False, help="train labels that differ only in spelling (Yes, yes) or occur in a single row as separate classes"
    )
    dev_share: float | None = in_data(
        None,
        help="use this share of train_file as dev rows instead of a dev_file: stratified by label; equal texts, and questions about one "
        "text, stay on one side",
        unset="no share",
        above=0,
        at_most=0.5,
        setting=True,
        no_effect=_undivided,
    )
    dev_seed: int = in_data(
        42,
        help="seed of dev_share; teacher, students and augmentation need the same",
        at_least=0,
        setting=True,
        no_effect=_undivided,
    )
    do_lower_case: bool | None = in_data(None, help="lower-case the text", unset="from the tokenizer's config", setting=True)


class DataOptions(RowOptions):
    """The other rows, and tokenisation."""

    dev_file: Path | None = in_data(
        None, help="your own rows for evaluation; they select the best model", alias=(Alias("validation_file", HF),)
    )
    id_column: str | None = in_data(
        None,
        help="column of the training rows' ids, by which their soft labels are found in a file with the same column",
        metavar="NAME|NUMBER",
        unset="soft labels are in the order of the rows",
        no_effect=lambda context: None if soft_label_option(context) else "only soft labels from a file are found by ids",
    )
    unlabelled_file: list[Path] | None = in_data(
        None,
        help="files of texts without labels, trained on in addition to the training rows, or instead of train_file: .txt with one text per "
        "line, or the formats and columns of your own files; of any size",
        no_effect=lambda context: "fine-tuning learns labels" if context.method is None else None,
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
        None, help="maximum tokens per example, including [CLS] and [SEP]; longer examples are truncated", at_least=4, setting=True
    )
    pad_to_max_length: bool | None = in_data(
        None, help="pad every batch to max_seq_length, like the published scripts, instead of to its longest row", setting=True
    )
    use_aug: bool = in_data(
        False,
        help="train on train_aug.tsv, the augmented rows next to train.tsv",
        alias=(Alias("aug_train", THREE),),
        setting=True,
        derived=_original_rows,
    )
    aug_file: Path | None = in_data(None, help="file of the augmented rows", unset="train_aug.tsv next to train.tsv")

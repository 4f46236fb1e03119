"""The options of `predict`."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.deployed import DeployedModel
from tinybert.config.groups import in_data, in_run
from tinybert.config.runs import ClusterOptions


@command("predict", summary="predict rows with a trained or an exported model", recipe="predict:predict")
class PredictConfig(DeployedModel, ClusterOptions):
    """Predict the rows of a file of any size, or of standard input, with a trained or exported model."""

    NEEDS_PADDLE = False  # exported models for other engines do not need it
    GROUPS = ("models", "data", "run")

    input: Path = in_data(
        help="input rows: TSV, CSV, JSON lines, a JSON array, or - for stdin with one text per line (pairs separated by a tab)"
    )
    file_format: str | None = in_data(
        None, help="input format", choices=("tsv", "csv", "jsonl", "json"), unset="by suffix; stdin: tsv without a header"
    )
    text_a_column: str | None = in_data(
        None, help="text column", metavar="NAME|NUMBER", unset="text, sentence, sentence1, ..., or the only column"
    )
    text_b_column: str | None = in_data(
        None, help="column of the second text of a pair", metavar="NAME|NUMBER", unset="text_b, sentence2, ... for a model of pairs"
    )
    id_column: str | None = in_data(
        None,
        help="column that identifies a row in the output",
        metavar="NAME|NUMBER",
        unset="id, index, idx, guid or qid, otherwise row numbers",
    )
    header: bool | None = in_data(
        None, help="whether the first line of TSV and CSV contains the column names", unset="True; for stdin and .txt False"
    )
    quoting: str | None = in_data(
        None,
        help="csv: fields may be quoted (RFC 4180); none: quotes are text",
        choices=("none", "csv"),
        unset="csv for CSV, none for TSV",
    )
    output: Path = in_run(help="output file, or - for stdout; a stopped run resumes")
    output_format: str | None = in_run(None, help="its format", choices=("csv", "tsv", "jsonl"), unset="by suffix; stdout: tsv")
    overwrite_output: bool = in_run(False, help="replace an earlier file and start over instead of resuming")
    proba: bool = in_run(False, help="also write the probability of every label")
    top_k: int = in_run(1, help="number of most probable labels to write", at_least=1, at_most=10_000)
    batch_size: int | None = in_run(
        None, help="batch size", unset="64; 1 for an export whose outputs depend on the batch", at_least=1, at_most=65536
    )

"""The options of `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tinybert.commands.registry import command
from tinybert.config.distilling import in_models
from tinybert.config.groups import in_data, in_run, threads_option
from tinybert.config.options import Config


@command("predict", summary="predict rows with a trained or an exported model", recipe="predict:predict")
class PredictConfig(Config):
    """Predict the rows of a file of any size, or of standard input, with a trained or an exported model."""

    NEEDS_PADDLE: ClassVar[bool] = False  # a model for another engine needs none
    GROUPS: ClassVar[tuple[str, ...]] = ("models", "data", "run")

    model_path: str = in_models(help="the folder of a model or of an export; the output folder of a run means its best model")
    max_seq_length: int | None = in_models(
        None, help="word pieces per row, [CLS] and [SEP] included; longer ones are cut", unset="as the model was trained", at_least=4
    )
    input: Path = in_data(help="the rows: TSV, CSV, JSON lines, a JSON array, or - for stdin, one text a line (pairs: a tab between)")
    file_format: str | None = in_data(
        None, help="the format of the input", choices=("tsv", "csv", "jsonl", "json"), unset="by suffix; stdin: tsv without a header"
    )
    text_a_column: str | None = in_data(
        None, help="the column of the text", metavar="NAME|NUMBER", unset="text, sentence, sentence1, ..., or the only column"
    )
    text_b_column: str | None = in_data(
        None, help="the column of the second text of a pair", metavar="NAME|NUMBER", unset="text_b, sentence2, ... for a model of pairs"
    )
    id_column: str | None = in_data(
        None, help="the column that names a row in the output", metavar="NAME|NUMBER", unset="id, index, idx, guid or qid, else row numbers"
    )
    header: bool | None = in_data(None, help="the first line of TSV and CSV names the columns", unset="True; for stdin and .txt False")
    quoting: str | None = in_data(
        None,
        help="csv: fields may stand in double quotes (RFC 4180); none: quotes are text",
        choices=("none", "csv"),
        unset="csv for CSV, none for TSV",
    )
    output: Path = in_run(help="the file of predictions, or - for stdout; a stopped run goes on where it was")
    output_format: str | None = in_run(None, help="its format", choices=("csv", "tsv", "jsonl"), unset="by suffix; stdout: tsv")
    overwrite_output: bool = in_run(False, help="replace an earlier file, and begin anew where a run was stopped")
    proba: bool = in_run(False, help="write the probability of every label too")
    top_k: int = in_run(1, help="write so many of the most probable labels", at_least=1, at_most=10_000)
    batch_size: int | None = in_run(
        None, help="rows that run together", unset="64; 1 for a file whose answers depend on the batch", at_least=1, at_most=65536
    )
    threads: int | None = threads_option()

"""Predicts the rows of a file or of standard input, of any size in bounded memory, and continues after an interruption."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from tinybert import storage
from tinybert.commands.predict import PredictConfig
from tinybert.data.progress import TextProgress
from tinybert.deploy.input_rows import InputFile, InputRows
from tinybert.deploy.predictions_file import STDOUT, PredictionsFile, RowFormat, StandardOutput, format_for
from tinybert.deploy.predictor import Predictor
from tinybert.errors import UserError
from tinybert.log import keep_stdout_free, logger

_CHUNK = 32  # batches whose rows are sorted by length together


def predict(config: PredictConfig) -> None:
    """Read `--input`, predict with `--model_path`, write `--output`."""
    with keep_stdout_free() if str(config.output) == STDOUT else contextlib.nullcontext():
        _predict(config)


def _predict(config: PredictConfig) -> None:
    file = InputFile(
        config.input,
        config.file_format,
        config.header,
        config.quoting,
        config.text_a_column,
        config.text_b_column,
        config.id_column,
    )
    if not file.is_stdin and config.input.expanduser().absolute() == config.output.expanduser().absolute():
        raise UserError(f"--output {config.output} is the input. Choose another file.")
    predictor = Predictor.open(config.model_path, config.threads, config.max_seq_length)
    form = _format(config, predictor)
    rows = InputRows(file, predictor.rows.pair)
    total = None if file.is_stdin else rows.count(predictor.check)  # before anything is written
    batch = predictor.batch_size(config.batch_size)
    for line in (_title(predictor, batch), *predictor.notes):
        logger.info(line)
    written = RowFormat(form, predictor.labels, config.proba, min(config.top_k, max(1, len(predictor.labels))))
    out = _output(config, written, predictor, rows)
    if out.done:
        logger.info(f"resuming after {out.done:,} rows")
    progress = TextProgress("predicting", total or 0, "rows", out.done, "row")
    begun, done, cut = time.monotonic(), out.done, 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        progress.show(done, done)

    try:
        for chunk in rows.chunks(_CHUNK * batch, out.done):
            predictor.check(chunk.text_b is not None)
            predictions, shortened = predictor.run(chunk.text_a, chunk.text_b, batch, advance)
            cut += shortened
            out.write(chunk.ids, predictions)
        out.finish()
    except KeyboardInterrupt:
        if str(config.output) != STDOUT:
            logger.warning(f"stopped after {done:,} rows; continue with the same command")
        raise
    finally:
        out.close()
    rate = (done - out.done) / max(time.monotonic() - begun, 1e-9)
    cut_rows = f"; {cut:,} were truncated to {predictor.length} tokens (--max_seq_length)" if cut else ""
    logger.info(f"predictions: {config.output}, {done:,} rows, {rate:,.0f} rows/s{cut_rows}")


def _format(config: PredictConfig, predictor: Predictor) -> str:
    """The output format: JSON lines for spans, because a row can have any number of them.

    Raises:
        UserError: an unknown suffix, or an option that does not apply to spans.
    """
    if predictor.kind.head == "sequence":
        return format_for(config.output, config.output_format)
    form = "jsonl" if str(config.output) == STDOUT and config.output_format is None else format_for(config.output, config.output_format)
    what = f"{predictor.folder} predicts {predictor.kind.label_word}s within a text"
    if form != "jsonl":
        raise UserError(f"{what}, and {form} has one prediction per row; expected JSON lines.\nUse --output_format jsonl.")
    for option, given in (("--proba", config.proba), ("--top_k", config.top_k > 1)):
        if given:
            raise UserError(f"{what}; {option} applies only to labels of whole texts.\nLeave it out.")
    return form


def _title(predictor: Predictor, batch: int) -> str:
    if predictor.kind.of_windows:
        what = "answers"
    else:
        what = f"{predictor.kind.label_word}s {', '.join(predictor.labels[:20])}" if predictor.labels else "a score"
    task = f" of {predictor.rows.task}" if predictor.rows.task else ""
    line = f"predicting {what}{task}, {predictor.engine.name} {predictor.engine.precision}, {predictor.length} tokens per row"
    if predictor.engine.batch_dependent:
        line += f"\noutputs of this export depend on the batch: {'one row' if batch == 1 else f'{batch} rows'} at a time (--batch_size)"
    return line


def _output(config: PredictConfig, written: RowFormat, predictor: Predictor, rows: InputRows) -> PredictionsFile | StandardOutput:
    if str(config.output) == STDOUT:
        return StandardOutput(written)
    source = {} if rows.file.is_stdin else {"bytes": rows.path.stat().st_size, "modified": rows.path.stat().st_mtime_ns}
    identity = {
        "input": str(config.input),
        **source,
        "columns": written.columns,
        "format": written.form,
        "model": _fingerprint(predictor.folder),
        "max_seq_length": predictor.length,
    }
    return PredictionsFile(config.output.expanduser(), written, identity, config.overwrite_output)


def _fingerprint(folder: Path) -> str:
    """Identifies a model folder by its manifest, else by the sizes and times of its files."""
    manifest = folder / storage.MANIFEST
    if manifest.is_file():
        return storage.sha256_of(manifest)
    return str(sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()))

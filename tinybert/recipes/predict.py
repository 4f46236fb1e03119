"""Predicts the rows of a file or of standard input, of any size in bounded memory, and continues after an interruption."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tinybert import runtime, storage
from tinybert.commands.predict import PredictConfig
from tinybert.data.progress import TextProgress
from tinybert.deploy.input_rows import Chunk, InputFile, InputRows
from tinybert.deploy.predictions_file import STDOUT, PredictionsFile, RowFormat, StandardOutput, format_for
from tinybert.deploy.predictor import Prediction, Predictor
from tinybert.engine.cluster import ClusterWorkers
from tinybert.errors import UserError
from tinybert.log import keep_stdout_free, logger

_CHUNK = 32  # batches whose rows are sorted by length together
_READING = ("file_format", "header", "quoting", "text_a_column", "text_b_column", "id_column")


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
        for ids, predictions, shortened in _predictions(config, predictor, rows.chunks(_CHUNK * batch, out.done), batch, advance):
            cut += shortened
            out.write(ids, predictions)
        out.finish()
    except KeyboardInterrupt:
        if file.is_stdin and str(config.output) != STDOUT:
            logger.warning(f"stopped after {done:,} rows, which are not kept: standard input cannot be resumed")
        elif str(config.output) != STDOUT:
            other = " without --overwrite_output" if config.overwrite_output and not out.empty else ""
            logger.warning(f"stopped after {done:,} rows; continue with the same command{other}")
        raise
    finally:
        out.close()
    rate = (done - out.done) / max(time.monotonic() - begun, 1e-9)
    cut_rows = f"; {cut:,} were truncated to {predictor.length} tokens (--max_seq_length)" if cut else ""
    logger.info(f"predictions: {config.output}, {done:,} rows, {rate:,.0f} rows/s{cut_rows}")


Predicted = tuple[list[str], list[Prediction], int]  # ids, predictions, number of truncated rows


@dataclass
class ChunkPredictor:
    """Predicts chunks of rows in any process, which loads its own model."""

    model: str
    threads: int
    max_seq_length: int | None
    batch: int
    predictor: Predictor | None = field(default=None, repr=False)

    def __call__(self, chunk: Chunk) -> Predicted:
        if self.predictor is None:
            self.predictor = Predictor.open(self.model, self.threads, self.max_seq_length)
        return chunk.ids, *self.predictor.run(chunk.text_a, chunk.text_b, self.batch)


def _predictions(
    config: PredictConfig, predictor: Predictor, chunks: Iterable[Chunk], batch: int, advance: Callable[[int], None]
) -> Iterator[Predicted]:
    """The predictions of each chunk, in order."""

    def checked() -> Iterator[Chunk]:
        for chunk in chunks:
            predictor.check(chunk.text_b is not None)
            yield chunk

    if config.runner == "local":
        for chunk in checked():
            yield chunk.ids, *predictor.run(chunk.text_a, chunk.text_b, batch, advance)
        return
    threads = config.threads or runtime.available_cores()  # float32 sums depend on it
    work = ChunkPredictor(config.model_path, threads, config.max_seq_length, batch)
    with ClusterWorkers((work,), config.address, threads) as workers:
        for found in workers.ordered(work, checked()):
            advance(len(found[0]))
            yield found


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
        **{name: getattr(rows.file, name) for name in _READING},
        "columns": written.columns,
        "format": written.form,
        "model": _fingerprint(predictor.folder),
        "max_seq_length": predictor.length,
    }
    return PredictionsFile(config.output.expanduser(), written, identity, config.overwrite_output, resumable=not rows.file.is_stdin)


def _fingerprint(folder: Path) -> str:
    """Identifies a model folder by its manifest, else by the sizes and times of its files."""
    manifest = folder / storage.MANIFEST
    if manifest.is_file():
        return storage.sha256_of(manifest)
    return str(sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()))

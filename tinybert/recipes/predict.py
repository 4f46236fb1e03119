"""Predictions for the rows of a file or of standard input: any number of them, in bounded memory, and again from where a run stopped."""

from __future__ import annotations

import datetime
import sys
import time
from pathlib import Path

from tinybert import storage
from tinybert.config.predict import PredictArguments
from tinybert.deploy.input_rows import InputFile, InputRows
from tinybert.deploy.predictions_file import STDOUT, PredictionsFile, RowFormat, StandardOutput, format_for
from tinybert.deploy.predictor import Predictor
from tinybert.errors import UserError

SECONDS = 5  # between lines about what is done
_CHUNK = 32  # batches whose rows are sorted by length together


def predict(arguments: PredictArguments, given: set[str], spelled: dict[str, str]) -> None:
    """Read `--input`, predict with `--model_path`, write `--output`."""
    form = format_for(arguments.output, arguments.output_format)
    file = InputFile(
        arguments.input,
        arguments.file_format,
        arguments.header,
        arguments.quoting,
        arguments.text_a_column,
        arguments.text_b_column,
        arguments.id_column,
    )
    if not file.is_stdin and arguments.input.expanduser().absolute() == arguments.output.expanduser().absolute():
        raise UserError(f"--output {arguments.output} is the input. Name another file.")
    predictor = Predictor.open(arguments.model_path, arguments.threads, arguments.max_seq_length)
    rows = InputRows(file, predictor.rows.pair)
    total = None if file.is_stdin else rows.count(predictor.check)  # before anything is written
    batch = predictor.batch_size(arguments.batch_size)
    for line in (_title(predictor, batch), *predictor.notes):
        print(line, file=sys.stderr, flush=True)
    written = RowFormat(form, predictor.labels, arguments.proba, min(arguments.top_k, max(1, len(predictor.labels))))
    out = _output(arguments, written, predictor, rows)
    if out.done:
        print(f"resuming behind {out.done:,} rows that are written", file=sys.stderr, flush=True)
    progress = _Progress(total, out.done)
    cut = 0
    try:
        for chunk in rows.chunks(_CHUNK * batch, out.done):
            predictor.check(chunk.text_b is not None)
            store, shortened = predictor.encode(chunk.text_a, chunk.text_b)
            cut += shortened
            logits = predictor.logits(store, batch, progress.advance)
            out.write(chunk.ids, predictor.predictions(logits))
        out.finish()
    except KeyboardInterrupt:
        print(f"stopped behind {progress.done:,} rows: the same command goes on from there", file=sys.stderr)
        raise
    finally:
        out.close()
    progress.close()
    if cut:
        print(f"{cut:,} rows were cut to {predictor.length} word pieces (--max_seq_length)", file=sys.stderr)
    if str(arguments.output) != STDOUT:
        print(f"predictions: {arguments.output}", file=sys.stderr)


def _title(predictor: Predictor, batch: int) -> str:
    what = f"labels {', '.join(predictor.labels[:20])}" if predictor.labels else "a score"
    task = f" of {predictor.rows.task}" if predictor.rows.task else ""
    line = f"predicting {what}{task}, {predictor.engine.name} {predictor.engine.precision}, {predictor.length} word pieces a row"
    if predictor.engine.batch_dependent:
        line += (
            f"\nanswers of this file depend on the rows of a batch: {'one row' if batch == 1 else f'{batch} rows'} at a time (--batch_size)"
        )
    return line


def _output(arguments: PredictArguments, written: RowFormat, predictor: Predictor, rows: InputRows) -> PredictionsFile | StandardOutput:
    if str(arguments.output) == STDOUT:
        return StandardOutput(written)
    source = {} if rows.file.is_stdin else {"bytes": rows.path.stat().st_size, "modified": rows.path.stat().st_mtime_ns}
    identity = {
        "input": str(arguments.input),
        **source,
        "columns": written.columns,
        "format": written.form,
        "model": _fingerprint(predictor.folder),
        "max_seq_length": predictor.length,
    }
    return PredictionsFile(arguments.output.expanduser(), written, identity, arguments.overwrite_output)


def _fingerprint(folder: Path) -> str:
    """What tells one model folder from another: its manifest, else the sizes and times of its files."""
    manifest = folder / storage.MANIFEST
    if manifest.is_file():
        return storage.sha256_of(manifest)
    return str(sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()))


class _Progress:
    """A line every few seconds: rows, rate, and where the number of rows is known, the time to go."""

    def __init__(self, total: int | None, done: int) -> None:
        self.total, self.done, self.before = total, done, done
        self.begun = self.shown = time.monotonic()

    def advance(self, rows: int) -> None:
        """Count rows."""
        self.done += rows
        if time.monotonic() - self.shown >= SECONDS:
            self._show()

    def close(self) -> None:
        """Tell the whole."""
        self._show()

    def _show(self) -> None:
        self.shown = time.monotonic()
        rate = (self.done - self.before) / max(self.shown - self.begun, 1e-9)
        line = f"{self.done:,} rows, {rate:.0f} rows/s"
        if self.total is not None and self.done < self.total:
            left = datetime.timedelta(seconds=int((self.total - self.done) / max(rate, 1e-9)))
            line = f"{self.done:,} of {self.total:,} rows ({100 * self.done / self.total:.0f} %), {rate:.0f} rows/s, ETA {left}"
        print(line, file=sys.stderr, flush=True)

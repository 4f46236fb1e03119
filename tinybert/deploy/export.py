"""Exports a model to other engines, and verifies and measures every file first."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tinybert import runtime, storage
from tinybert.data.batches import assemble
from tinybert.data.tasks import Task
from tinybert.deploy.engine import INPUTS, RECORD, engine_module
from tinybert.deploy.export_session import Export, ExportSession
from tinybert.deploy.model_card import card
from tinybert.deploy.onnx_file import write_onnx
from tinybert.deploy.predictor import Predictor
from tinybert.deploy.scoring import ScoredRows, check_training_rows
from tinybert.deploy.vocabulary import with_vocabulary
from tinybert.engine.run_record import RunRecord, now, write_record
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.models.configuration import TrainedOn
from tinybert.models.hub import resolve
from tinybert.models.loading import LoadedModel, LoadReport, load_pretrained


@dataclass(frozen=True)
class ExportOptions:
    """What to export.

    formats, precisions: every supported combination is written. max_drop: points of the task's metric that an export may lose compared
    with the float32 model; `allow_drop` writes it anyway. calibration_rows: training rows for calibrating OpenVINO's int8.
    prune_vocabulary: omit tokens that do not occur in the training rows. threads: None: all cores.
    """

    formats: tuple[str, ...] = ("onnx",)
    precisions: tuple[str, ...] = ("float32",)
    max_drop: float = 0.5
    allow_drop: bool = False
    calibration_rows: int = 300
    prune_vocabulary: bool = False
    threads: int | None = None
    max_seq_length: int | None = None

    def pairs(self) -> list[tuple[str, str]]:
        """The combinations of format and precision.

        Raises:
            UserError: a format or precision is in no supported combination.
        """
        found = []
        for form in self.formats:
            able = engine_module(form).PRECISIONS
            mine = [(form, precision) for precision in self.precisions if precision in able]
            if not mine:
                raise UserError(f"--format {form} does not support {' or '.join(self.precisions)}; it supports {', '.join(able)}.")
            found += mine
        for precision in self.precisions:
            if all(precision != other for _, other in found):
                raise UserError(f"--precision {precision}: not supported by {', '.join(self.formats)}.")
        return found


class _Source:
    """The inputs of the engines' exports."""

    def __init__(self, loaded: LoadedModel, rows: ScoredRows | None, folder: Path, count: int) -> None:
        self.loaded, self._rows, self._folder, self._count = loaded, rows, folder, count

    @cached_property
    def onnx(self) -> Path:
        """The model as ONNX."""
        path = self._folder / "model.onnx"
        write_onnx(path, self.loaded)
        return path

    def calibration(self) -> list[dict[str, np.ndarray]]:
        """Training rows, evenly spaced from the shortest to the longest."""
        store = self._rows.training_store(self.loaded.tokenizer)
        order = np.argsort(store.lengths, kind="stable")
        picked = order[np.linspace(0, len(order) - 1, min(self._count, len(order))).astype(int)]
        batches = (assemble(store, np.array([row]), int(store.lengths[row]), {}) for row in picked)
        return [dict(zip(INPUTS, (batch.input_ids, batch.token_type_ids), strict=True)) for batch in batches]


def export_model(
    model_path: str | Path,
    output_dir: Path,
    task: Task,
    locate: Callable[[Task, list[str]], Path],
    options: ExportOptions,
    *,
    replace: bool = False,
) -> list[Export]:
    """Write `output_dir`: a single export itself, several in one subfolder each, named `<format>-<precision>`.

    task, locate: the evaluation rows, and where their files are. Every export is evaluated, loaded in a new process, and timed together
    with the float32 model; the table is in `export.json` and in the model card. Returns the model itself first.

    Raises:
        UserError: no trained head, a missing library, an export that cannot be verified, or one that loses more than
        `max_drop` points; nothing is written then.
    """
    wanted = options.pairs()
    source = resolve(str(model_path))
    loaded, config = load_pretrained(str(source))
    for form, precision in wanted:
        engine_module(form).check(precision, loaded)
    threads = options.threads or runtime.available_cores()
    runtime.set_threads(threads)
    baseline = Predictor.of_model(loaded, source, config, options.max_seq_length)
    splits = [task.eval_splits[0]] if task.eval_splits else []
    if options.prune_vocabulary or ("openvino", "int8") in wanted:
        check_training_rows(task)
        splits.append("train")
    rows = ScoredRows.of(task, locate(task, splits), baseline)
    if options.prune_vocabulary:
        loaded, kept = with_vocabulary(loaded, rows.training_store(loaded.tokenizer).word_pieces())
        logger.info(
            f"vocabulary: {kept:,} of {baseline.tokenizer.vocab_size:,} tokens occur in the training rows; other words become [UNK]"
        )
    storage.recover(output_dir.parent)
    with tempfile.TemporaryDirectory() as scratch, storage.new_folder(output_dir, replace=replace) as folder:
        session = ExportSession(baseline, loaded, rows, threads, options.max_drop)
        exports = []
        for form, precision in wanted:
            target = folder if len(wanted) == 1 else folder / f"{form}-{precision}"
            exports.append(session.write(target, form, precision, _Source(loaded, rows, Path(scratch), options.calibration_rows), config))
        _refuse(exports, options)
        session.time()
        everything = [session.model, *exports]
        for export in exports:
            _finish(export, everything, rows)
            export.folder = output_dir if len(wanted) == 1 else output_dir / export.folder.name
        if len(wanted) > 1:
            storage.write_json(folder / RECORD, {"exports": [_line(export) for export in everything]})
    return everything


def untrained(folder: Path, form: str, precision: str, loaded: LoadedModel, rows: TrainedOn, threads: int) -> Predictor:
    """Export an untrained student and open it with its engine: speed and size are the same as after training.

    rows: its future training rows. Not supported for int8 of OpenVINO, which is calibrated on a trained model.
    """
    folder.mkdir(parents=True)
    module = engine_module(form)
    loaded = replace(loaded, report=LoadReport("random weights"))  # a new head would be rejected
    quantised = module.export(folder, precision, _Source(loaded, None, folder, 0))
    engine = module.open_engine(folder, {"format": form, "precision": precision, "quantised": quantised}, threads)
    return Predictor(folder, engine, loaded.tokenizer, loaded.output_names, rows, rows.max_seq_length, kind=loaded.kind)


def _refuse(exports: Sequence[Export], options: ExportOptions) -> None:
    refused = [export for export in exports if export.refused]
    lines = "\n".join(f"  {export.name}: {export.refused}" for export in refused)
    if options.allow_drop and refused:
        logger.warning(f"written although the score drops:\n{lines}")
    if options.allow_drop or not refused:
        return
    raise UserError(f"nothing was written because of\n{lines}\nLeave it out, raise --max_drop, or write it anyway with --allow_drop.")


def _finish(export: Export, everything: Sequence[Export], rows: ScoredRows) -> None:
    """Write the record, with all measurements of the run, and the model card."""
    record = {
        **export.record,
        "rows": {"task": rows.task.name, "split": rows.split, "metric": rows.task.metric, "max_seq_length": rows.length},
        "measures": export.measures,
        "run": [_line(other) for other in everything],
        "versions": runtime.versions(),
    }
    storage.write_json(export.folder / RECORD, record)
    measured = {"engine": export.engine, "precision": export.precision, "measures": export.measures, "rows": record["rows"]}
    write_record(export.folder, "export", RunRecord("export", finished=now(), versions=runtime.versions(), details=measured))
    storage.write_file(export.folder / "README.md", card(record, rows.task.kind))


def _line(export: Export) -> dict:
    return {name: value for name, value in asdict(export).items() if name in ("format", "precision", "engine", "measures")}

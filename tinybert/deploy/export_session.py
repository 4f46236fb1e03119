"""One run of `export`: every file is written, evaluated, reloaded and timed in the same process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.deploy import measure
from tinybert.deploy.engine import RECORD, Engine, ExportSource, check_rows, engine_module
from tinybert.deploy.engines import dygraph
from tinybert.deploy.predictor import Predictor
from tinybert.deploy.scoring import ScoredRows
from tinybert.errors import UserError
from tinybert.kinds.registry import kind_of_outputs
from tinybert.log import logger
from tinybert.models.configuration import TrainedOn, trained_on
from tinybert.models.limits import max_positions
from tinybert.models.loading import LoadedModel
from tinybert.models.saving import config_dict
from tinybert.models.trace import token_types

BASELINE = "model float32"
# maximum difference of logits from those in another environment, relative to the largest logit (at least 1)
_TOLERANCES = {"float32": 1e-3, "bfloat16": 0.05, "int8": 0.25}
_BATCH_TOLERANCE = 0.02  # larger relative differences between a single row and a batch mean that answers depend on the batch


@dataclass
class Export:
    """An exported and measured file; `refused` is the reason for rejecting it, empty if accepted."""

    format: str
    precision: str
    engine: str
    measures: dict[str, float | int | None]
    record: dict = field(repr=False, default_factory=dict)
    refused: str = ""
    folder: Path | None = None

    @property
    def name(self) -> str:
        """`onnx int8`."""
        return f"{self.format} {self.precision}"


class ExportSession:
    """One run: the outputs of the float32 model, and the engines that are timed together at the end."""

    def __init__(self, baseline: Predictor, loaded: LoadedModel, rows: ScoredRows, threads: int, max_drop: float) -> None:
        self.baseline, self.loaded, self.rows, self.threads, self.max_drop = baseline, loaded, rows, threads, max_drop
        self.store = rows.store(baseline.tokenizer)
        self.logits = baseline.logits(self.store, 64)
        self.scores = rows.score(self.logits, self.store.gold)
        again = measure.reload(baseline.folder, self.store, threads)
        self.model = Export("model", "float32", baseline.engine.name, self._measures(baseline.folder, self.logits, self.scores, again))
        self.engines: dict[str, Engine] = {BASELINE: baseline.engine}
        self.exports: list[Export] = []
        logger.info(f"model: {rows.task.name} {rows.split}, {rows.task.metric} {100 * self.scores[rows.task.metric]:.2f}")

    def write(self, folder: Path, form: str, precision: str, source: ExportSource, config: dict) -> Export:
        """Write one file, and evaluate it here and in a new process."""
        folder.mkdir(exist_ok=True)
        module = engine_module(form)
        quantised = module.export(folder, precision, source)
        known = trained_on(config)
        rows = TrainedOn(known.task or self.rows.task.name, self.rows.task.is_pair, self.baseline.length, known.doc_stride)
        storage.write_json(folder / "config.json", _config(self.loaded) | rows.entry())
        self.loaded.tokenizer.save(folder, tokenizer_class=self.loaded.family.tokenizer)
        record = {"format": form, "precision": precision, "quantised": quantised}
        engine = module.open_engine(folder, record, self.threads)
        record |= {"engine": engine.name, **self._check(engine, precision)}
        engine.batch_dependent = record["batch_dependent"]
        storage.write_json(folder / RECORD, record)
        predictor = Predictor.open(folder, self.threads)
        store = self.rows.store(self.loaded.tokenizer)
        logits = predictor.logits(store, predictor.batch_size())
        scores = self.rows.score(logits, store.gold)
        again = measure.reload(folder, store, self.threads)
        metric = self.rows.task.metric
        apart = abs(self.rows.score(again.logits, store.gold)[metric] - scores[metric])
        if apart > 1e-9:
            raise UserError(
                f"{form} {precision}: {metric} differs by {100 * apart:.2f} points when the file is loaded in a new process.\n"
                "Nothing was written; please report this."
            )
        measures = self._measures(folder, logits, scores, again)
        export = Export(form, precision, engine.name, measures, record, folder=folder)
        self.engines[export.name] = predictor.engine
        self.exports.append(export)
        logger.info(f"{export.name}: {metric} {100 * scores[metric]:.2f} ({measures['score_change']:+.2f} points)")
        if quantised:
            share = f"{quantised['products']} of {quantised['products_before']}"
            logger.info(f"{export.name}: {share} matrix products with weights and all embedding tables are in int8")
        if record["batch_dependent"]:
            logger.info(
                f"{export.name}: the outputs of a row depend on its batch, by up to {record['batch_difference']:.2g}: rows are "
                "run one by one"
            )
        if -measures["score_change"] > self.max_drop:
            export.refused = f"{metric} drops by {-measures['score_change']:.2f} points; allowed: {self.max_drop:g}"
        return export

    def _check(self, engine: Engine, precision: str) -> dict:
        """Answers to fixed rows, to verify the file later, and whether answers depend on the batch."""
        tokenizer = self.loaded.tokenizer
        ids, segments = check_rows(tokenizer.pad_id, tokenizer.vocab_size)
        width = min(ids.shape[1], self.baseline.length)
        ids, segments = ids[:, :width], segments[:, :width] * (token_types(self.loaded.model) > 1)
        answers = engine.logits(ids, segments)
        expected = dygraph.of_model(self.loaded).logits(ids, segments)
        scale = max(1.0, float(np.abs(answers).max()))
        if precision == "float32" and not np.abs(answers - expected).max() <= _TOLERANCES[precision] * scale:
            raise UserError(
                f"{engine.name} does not match the model: logits differ by {np.abs(answers - expected).max():.3g}.\n"
                "Nothing was written; please report this."
            )
        lengths = (ids != tokenizer.pad_id).sum(1)
        alone = [engine.logits(ids[i : i + 1, :length], segments[i : i + 1, :length])[0] for i, length in enumerate(lengths)]
        together = [answer[:length] if answers.ndim > 2 else answer for answer, length in zip(answers, lengths, strict=True)]
        apart = max(float(np.abs(one - other).max()) for one, other in zip(alone, together, strict=True))
        check = {"input_ids": ids.tolist(), "token_type_ids": segments.tolist(), "logits": answers.tolist()}
        return {
            "check": {**check, "tolerance": _TOLERANCES[precision] * scale},
            "batch_difference": apart,
            "batch_dependent": apart > _BATCH_TOLERANCE * scale,
        }

    def _measures(self, folder: Path, logits: np.ndarray, scores: dict[str, float], again: measure.Reloaded) -> dict:
        metric = self.rows.task.metric
        flips = self.rows.flips(logits, self.logits)
        return {
            "megabytes": measure.megabytes(folder),
            "score": 100 * scores[metric],
            "score_change": 100 * (scores[metric] - self.scores[metric]),
            "label_flips": flips,
            "label_flips_percent": None if flips is None else 100 * flips / len(logits),
            "logit_difference": float(np.abs(logits - self.logits).max()),
            "load_seconds": again.load_seconds,
            "peak_megabytes": again.peak_megabytes,
        }

    def time(self) -> None:
        """Time all engines alternately, and add the results to their measurements."""
        inputs = {}
        for rows, width in measure.SHAPES:
            shape = (rows, min(width, max_positions(self.loaded)))
            for name, tokenizer in (
                (BASELINE, self.baseline.tokenizer),
                *((export.name, self.loaded.tokenizer) for export in self.exports),
            ):
                inputs[f"{rows} x {width}/{name}"] = measure.rows_of_shape(shape, tokenizer.vocab_size, 5)
        found = measure.side_by_side(self.engines, inputs)
        for name, export in ((BASELINE, self.model), *((export.name, export) for export in self.exports)):
            export.measures |= {
                "milliseconds_1x32": found[name]["1 x 32"],
                "milliseconds_1x128": found[name]["1 x 128"],
                "rows_per_second_32x64": 32_000 / found[name]["32 x 64"],
                "threads": self.threads,
            }


def _config(loaded: LoadedModel) -> dict:
    """The configuration for other programs: label names and problem type."""
    kind = loaded.kind or kind_of_outputs(int(loaded.config.num_labels))
    names = loaded.output_names
    problem = {"problem_type": kind.problem_type} if kind.problem_type else {}
    return {**problem, **config_dict(loaded.model, loaded.family, names, loaded.head_config(names))}

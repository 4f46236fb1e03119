"""Evaluation of a classifier, and the distillation loss on held-out rows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from tinybert import runtime, storage
from tinybert.config.runs import Actions
from tinybert.data.batches import sequential
from tinybert.data.metrics import check_outputs
from tinybert.data.outputs import OutputPlaces
from tinybert.data.readers import read_split
from tinybert.data.store import Rows
from tinybert.data.tasks import Task
from tinybert.deploy.predictions_file import RowFormat
from tinybert.deploy.predictor import Predictor
from tinybert.engine.processes import sum_dict, sum_over_ranks
from tinybert.engine.run_folder import RunFolder
from tinybert.errors import NumericalError, UserError
from tinybert.log import logger
from tinybert.models.loading import LoadedModel
from tinybert.models.trace import EncoderTrace, Inputs, Needs, base_of, trace
from tinybert.objectives.trained_layer import TrainedLayer
from tinybert.recipes.result import Result
from tinybert.recipes.task_data import TaskData
from tinybert.report.submission import submission_path, write_answers, write_submission, write_tags

SUBMISSION = "submission"  # value of --predict_format


@contextlib.contextmanager
def _evaluating(*models: nn.Layer) -> Iterator[None]:
    """Disable dropout in this block, and restore the models' modes afterwards."""
    training = [model for model in models if model.training]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for model in training:
            model.train()


def predict(model: nn.Layer, store: Rows, batch_size: int, head: str | None = None) -> np.ndarray:
    """The logits of every row, `[N, C]`, of every word that has a token, or of every token of a window, in the order of the store.

    Rows are distributed over processes. The model's mode is unchanged.
    """
    places = OutputPlaces(store)
    logits = np.zeros((places.count, base_of(model).config.num_labels))
    with _evaluating(model), paddle.no_grad():
        for batch in sequential(store, batch_size, runtime.rank(), runtime.world_size()):
            found = trace(model, Inputs.of(batch), Needs(logits=True), head).logits.astype("float32").numpy()
            logits[places.of(batch)] = places.select(batch, found)
    return sum_over_ranks(logits)  # each row was computed by one rank and is 0 on the others


def score(loaded: LoadedModel, data: TaskData, stores: dict[str, Rows], batch_size: int, decide: bool = False) -> dict[str, float]:
    """The task's metrics on its evaluation splits.

    Metrics of the first split have their plain names; those of further splits (MNLI mismatched) include the split's name.
    decide: choose the kind's decision parameters on the first split, and keep them in `loaded`.
    """
    scores: dict[str, float] = {}
    for number, split in enumerate(data.task.eval_splits):
        store = stores[split]
        logits = predict(loaded.model, store, batch_size)
        if decide and number == 0:
            loaded.decision = data.task.kind.decide(data.task, logits, store.gold)
        values = data.task.kind.score(data.task, logits, store.gold, loaded.decision)
        prefix = "" if number == 0 else f"{split.removeprefix('dev_')}_"
        scores |= {f"{prefix}{name}": float(value) for name, value in values.items()}
    return scores


@dataclass(frozen=True)
class Decision:
    """The decision that `score` chose for a model, as state of checkpoints: a run resumed at its last step does not choose it again."""

    loaded: LoadedModel

    def arrays(self) -> dict[str, np.ndarray]:
        """The decision parameters by name."""
        return {name: np.array([value]) for name, value in self.loaded.decision.items()}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore them."""
        self.loaded.decision = {name: float(value[0]) for name, value in arrays.items()}


def held_out_loss(layer: TrainedLayer, teacher: Callable[[Inputs], EncoderTrace] | None, store: Rows, batch_size: int) -> dict[str, float]:
    """The objective's terms on held-out rows without dropout in student and teacher, averaged over all rows independent of batching."""
    names = [*(part.name for part in layer.objective.parts), "loss"]
    sums = dict.fromkeys(names, 0.0)
    live = (teacher.model,) if getattr(teacher, "model", None) is not None else ()  # stored traces have no dropout
    with _evaluating(layer, *live), paddle.no_grad():
        for batch in sequential(store, batch_size, runtime.rank(), runtime.world_size()):
            inputs = Inputs.of(batch)  # its shares refer to the whole store
            for name, value in layer(inputs, teacher(inputs) if teacher else None).items():
                sums[name] += float(value)
    return {f"held_out_{name}": value for name, value in sum_dict(sums).items()}


def score_only(results: RunFolder, loaded: LoadedModel, data: TaskData, do: Actions, batch_size: int, form: str) -> Result:
    """`--do_eval` and `--do_predict` without training: the unchanged model.

    Raises:
        UserError: an output is NaN or infinite.
    """
    scores: dict[str, float] = {}
    if do.evaluate:
        stores = {split: data.store(split) for split in data.task.eval_splits}
        data.report(stores)
        data.warn_if_used_differently("model", loaded.trained_on)
        try:
            scores = score(loaded, data, stores, batch_size)
        except NumericalError as error:
            raise UserError(f"{loaded.report.source}: {error}.\nIts weights are finite but too large: use an earlier checkpoint.") from None
        logger.info(f"{data.task.name}: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
        results.write_results({"source": loaded.report.source, "scores": scores})
    if do.predict:
        write_predictions(results.path, loaded, data, batch_size, form)
    return Result(results.path, scores)


def prediction_files(folder: Path, task: Task, form: str) -> list[Path]:
    """The files written by `write_predictions`.

    Raises:
        UserError: the format does not support this kind of task.
    """
    if form != SUBMISSION and task.kind.head != "sequence":
        raise UserError(f"--predict_format {form}: {task.kind.title} ({task.name}) does not predict one label per row\nleave it out")
    return [_prediction_file(folder, task, split, form) for split in task.test_splits]


def _prediction_file(folder: Path, task: Task, split: str, form: str) -> Path:
    path = submission_path(folder, task, split)
    return path if form == SUBMISSION else path.with_suffix(f".{form}")


def write_predictions(folder: Path, loaded: LoadedModel, data: TaskData, batch_size: int, form: str) -> None:
    """Predict every test split of the task and write its file in the format `--predict_format`."""
    data.warn_if_used_differently("model", loaded.trained_on)
    for split in data.task.test_splits:
        ids = None if data.task.kind.head != "sequence" else read_split(data.task, data.folder, split).ids
        logits = predict(loaded.model, data.store(split), batch_size)
        check_outputs(logits, "the model", split)
        if runtime.rank() != 0:
            continue
        if form != SUBMISSION:
            path = _prediction_file(folder, data.task, split, form)
            predictor = replace(Predictor.of_model(loaded, folder, {}), labels=data.task.labels)
            folder.mkdir(parents=True, exist_ok=True)
            rows, names = RowFormat(form, data.task.labels, proba=True), ids or [str(i) for i in range(len(logits))]
            storage.write_file(path, rows.header() + rows.rows(names, predictor.predictions(logits.astype("float32"))))
        elif data.task.kind.of_windows:
            path = write_answers(folder, data.task, split, logits, data.store(split).windows, loaded.decision)
        elif data.task.kind.of_words:
            path = write_tags(folder, data.task, data.folder, split, logits, data.store(split).words)
        else:
            path = write_submission(folder, data.task, split, ids, logits, loaded.decision)
        logger.info(f"predictions for {split}: {path}")

"""Models and exports compared on the same rows: score, latency with and without tokenisation, rows per second, size."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinybert.data.questions import read_questions
from tinybert.data.readers import read_split, split_path
from tinybert.data.tagged import iter_sentences
from tinybert.data.tasks import Task
from tinybert.deploy import measure
from tinybert.deploy.predictor import Predictor
from tinybert.deploy.scoring import ScoredRows
from tinybert.log import logger
from tinybert.report.table import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROUNDS = 3


@dataclass(frozen=True)
class Measured:
    """One model of a comparison. Times are median milliseconds for a single row; `run` excludes tokenisation, `tokenise` is only that."""

    name: str
    engine: str
    precision: str
    score: float | None
    milliseconds: float
    tokenise_milliseconds: float
    run_milliseconds: float
    rows_per_second: float
    megabytes: float


def compare(
    models: dict[str, Predictor], task: Task, folder: Path, rows: int, batch_size: int, known: Mapping[str, float] | None = None
) -> list[Measured]:
    """Evaluate every model on the first evaluation split, unless its score is `known`, then time them as `timed` does."""
    scores = dict(known or {})
    scored = {name: ScoredRows.of(task, folder, predictor) for name, predictor in models.items() if name not in scores}
    scores |= {name: _score(models[name], rows) for name, rows in scored.items()}
    for name, score in scores.items():
        logger.info(f"{name}: {task.metric} {score:.2f}")
    return [replace(one, score=scores[one.name]) for one in timed(models, task, folder, rows, batch_size)]


def timed(models: dict[str, Predictor], task: Task, folder: Path, rows: int, batch_size: int) -> list[Measured]:
    """Time all models alternately, by row and by batch, on `rows` rows of the first evaluation split; without scores."""
    texts = _sampled(_texts(task, folder, task.eval_splits[0]), rows)
    alone = _one_by_one(models, texts)
    together = _together(models, texts, batch_size)
    return [
        Measured(
            name,
            predictor.engine.name,
            predictor.engine.precision,
            None,
            1000 * statistics.median(whole for whole, _ in alone[name]),
            1000 * statistics.median(tokenise for _, tokenise in alone[name]),
            1000 * statistics.median(whole - tokenise for whole, tokenise in alone[name]),
            together[name],
            measure.megabytes(predictor.folder),
        )
        for name, predictor in models.items()
    ]


def _score(predictor: Predictor, rows: ScoredRows) -> float:
    store = rows.store(predictor.tokenizer)
    return 100 * rows.score(predictor.logits(store, predictor.batch_size()), store.gold)[rows.task.metric]


def _texts(task: Task, folder: Path, split: str) -> list[tuple[str, str | None]]:
    """All texts or pairs of a split; of tagged sentences the words, of questions with their contexts."""
    if task.kind.of_words:
        chunks = iter_sentences(split_path(task, folder, split), task.split(split))
        return [(" ".join(words), None) for chunk in chunks for words in chunk.words]
    if task.kind.of_windows:
        return [(question.text, question.context) for question in read_questions(split_path(task, folder, split)).items]
    examples = read_split(task, folder, split)
    return list(zip(examples.text_a, examples.text_b or [None] * len(examples), strict=True))


def _sampled(texts: list[tuple[str, str | None]], count: int) -> list[tuple[str, str | None]]:
    """Rows evenly spaced from the shortest to the longest text."""
    both = sorted(texts, key=lambda row: len(row[0]) + len(row[1] or ""))
    return [both[i] for i in np.linspace(0, len(both) - 1, min(count, len(both))).astype(int)]


def _answer(predictor: Predictor, rows: Sequence[tuple[str, str | None]], batch_size: int) -> tuple[float, float]:
    """Seconds from text to predictions, and the part of it spent on tokenisation."""
    started = time.perf_counter()
    second = None if rows[0][1] is None else [b or "" for _, b in rows]
    first = [a for a, _ in rows]
    store, _ = predictor.read(first, second)
    tokenised = time.perf_counter()
    predictor.predictions_of(first, store, predictor.logits(store, batch_size))
    return time.perf_counter() - started, tokenised - started


def _one_by_one(models: dict[str, Predictor], texts: list[tuple[str, str | None]]) -> dict[str, list[tuple[float, float]]]:
    """The times of every row; models alternate on each row, and the first round is discarded."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for round_ in range(_ROUNDS + 1):
        for text in texts if round_ else texts[: max(1, len(texts) // 5)]:
            for name, predictor in models.items():
                times = _answer(predictor, [text], 1)
                if round_:
                    found[name].append(times)
    return found


def _together(models: dict[str, Predictor], texts: list[tuple[str, str | None]], batch_size: int) -> dict[str, float]:
    """Rows per second in batches, the median of a few alternating passes; one row at a time if answers depend on the batch."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for round_ in range(_ROUNDS + 1):
        for name, predictor in models.items():
            whole, _ = _answer(predictor, texts, 1 if predictor.engine.batch_dependent else batch_size)
            if round_:
                seconds[name].append(whole)
    return {name: len(texts) / statistics.median(values) for name, values in seconds.items()}


def table(found: Sequence[Measured], metric: str, batch_size: int) -> str:
    """The comparison as a Markdown table; the factor is the first model's time divided by this one's."""
    header = ["model", "engine", metric, "ms a row", "factor", "tokenise", "run", f"rows/s at {batch_size}", "MB"]
    rows = [
        [
            one.name,
            f"{one.engine} {one.precision}",
            f"{one.score:.2f}",
            f"{one.milliseconds:.2f}",
            f"{found[0].milliseconds / one.milliseconds:.1f}",
            f"{one.tokenise_milliseconds:.2f}",
            f"{one.run_milliseconds:.2f}",
            f"{one.rows_per_second:.0f}",
            f"{one.megabytes:.1f}",
        ]
        for one in found
    ]
    return markdown_table(header, rows)


def efficient(found: Sequence[Measured]) -> list[Measured]:
    """The Pareto-optimal models by score and time, fastest first."""
    kept: list[Measured] = []
    for one in sorted(found, key=lambda one: (one.milliseconds, -one.score)):
        if not kept or one.score > kept[-1].score:
            kept.append(one)
    return kept


def pareto_figure(found: Sequence[Measured], metric: str, task: str, chosen: str | None = None) -> Figure:
    """Plot score over latency, with area by size, and the Pareto front. chosen: the name of a model to mark."""
    from tinybert.report.figure import caption, new_figure

    figure = new_figure(8, 5)
    axis = figure.subplots()
    best = efficient(found)
    axis.plot(
        [one.milliseconds for one in best],
        [one.score for one in best],
        color="0.75",
        linewidth=1.5,
        zorder=1,
        label=caption("not beaten in both"),
    )
    largest = max(one.megabytes for one in found) or 1.0
    engines = list(dict.fromkeys(one.engine for one in found))
    for i, engine in enumerate(engines):
        own = [one for one in found if one.engine == engine]
        sizes = [max(12.0, 900 * one.megabytes / largest) for one in own]
        points = ([one.milliseconds for one in own], [one.score for one in own])
        axis.scatter(*points, s=sizes, color=f"C{i}", alpha=0.55, edgecolors="white", zorder=2)
        axis.scatter([], [], s=40, color=f"C{i}", alpha=0.55, label=engine)
    for one, (x, y) in zip(found, _label_places(found), strict=True):
        beside = math.sqrt(max(12.0, 900 * one.megabytes / largest) / math.pi)  # the radius of its circle
        axis.annotate(one.name, (one.milliseconds, one.score), xytext=(x + beside, y), textcoords="offset points", fontsize=8, zorder=3)
    for one in (one for one in found if one.name == chosen):
        axis.plot(one.milliseconds, one.score, marker="*", markersize=16, color="tab:red", linestyle="", label="chosen", zorder=4)
    axis.set_xscale("log")
    for ticks in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        ticks(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "125" else "")
    axis.set_xlabel(caption("milliseconds a row, tokenisation included (area: megabytes on disk)"))
    axis.set_ylabel(caption(f"{metric} on dev"))
    axis.set_title(task)
    axis.grid(alpha=0.25)
    axis.margins(0.15)
    figure.legend(fontsize=8, loc="outside lower center", ncols=3)
    return figure


def write_pareto(figure: Figure, folder: Path) -> None:
    """Write the figure as `pareto.png` and `pareto.svg`."""
    from tinybert.report.figure import saved

    for form in ("png", "svg"):
        saved(figure, folder / f"pareto.{form}")


def _label_places(found: Sequence[Measured]) -> list[tuple[int, int]]:
    """Label positions above each point, one line higher for each nearby point."""
    places: list[tuple[int, int]] = []
    for i, one in enumerate(found):
        near = [
            other for other in found[:i] if abs(np.log(other.milliseconds / one.milliseconds)) < 0.5 and abs(other.score - one.score) < 0.5
        ]
        places.append((3, 3 + 11 * len(near)))
    return places

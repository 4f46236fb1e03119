"""Weights of the labels in the loss with the gold labels (`--class_weights`): read and checked, computed, given to the loss."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.config.resolved import Settings
from tinybert.data.store import Rows
from tinybert.data.tasks import Task
from tinybert.errors import UserError
from tinybert.kinds.kind import some_of
from tinybert.log import detail
from tinybert.objectives.gold import WeightedLoss
from tinybert.objectives.objective import Objective

BALANCED = "balanced"


def weights_identity(settings: Settings, task: Task) -> dict[str, str]:
    """The hash of the file of weights, if there is one, which must match when resuming. Checks the file.

    Raises:
        UserError: it cannot be read, or does not have one positive number for each label.
    """
    if settings.class_weights in (None, BALANCED):
        return {}
    _given(settings.class_weights, task.labels)
    return {"class_weights_file": storage.sha256_of(Path(settings.class_weights).expanduser())}


def weigh_labels(objective: Objective, settings: Settings, task: Task, train: Rows) -> dict[str, object]:
    """Give the gold terms of an objective their weights; returns the weights by label for run.json, nothing if there are none."""
    if settings.class_weights is None:
        return {}
    counts, decisions = task.kind.label_counts(train, task.labels)
    given = None if settings.class_weights == BALANCED else _given(settings.class_weights, task.labels)
    factors = task.kind.label_weights(counts, decisions, given)
    for part in objective.parts:
        if isinstance(part.loss, WeightedLoss):
            part.loss.weigh(factors)
    found = {label: values.tolist() for label, values in zip(task.labels, factors.round(6), strict=True)}
    shown = [f"{label} {' / '.join(f'{value:.4g}' for value in np.atleast_1d(values))}" for label, values in found.items()]
    detail(f"class weights{' (with / without the label)' if factors.ndim > 1 else ''}: {', '.join(shown)}")
    return {"class_weights": found}


def _given(path: str, labels: tuple[str, ...]) -> np.ndarray:
    """The weights in a file, in the order of the labels."""
    pairs = _pairs(path)
    names = [name for name, _ in pairs]
    found = [f"{name!r} twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    found += [f"{name!r}, which is not a label" for name in names if name not in labels]
    if missing := tuple(label for label in labels if label not in names):
        found.append(f"no weight for {some_of(missing)}")
    if found:
        raise UserError(f"--class_weights {path}: found {found[0]}\nexpected one weight for each of {some_of(labels)}")
    weights = dict(pairs)
    for name, value in weights.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
            raise UserError(f"--class_weights {path}: found {value!r} for {name!r}\nexpected a finite number above 0")
    return np.array([float(weights[label]) for label in labels])


def _pairs(path: str) -> list[tuple[str, object]]:
    file = Path(path).expanduser()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--class_weights {path}: {error}\nexpected {BALANCED}, or a JSON or TSV file of labels and weights") from None
    if text.lstrip().startswith("{"):
        try:
            pairs = json.loads(text, object_pairs_hook=list)
        except (ValueError, RecursionError) as error:
            raise UserError(f'--class_weights {path}: {error}\nexpected a JSON object such as {{"good": 1, "bad": 2.5}}') from None
        return pairs
    return [_of_line(path, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _of_line(path: str, number: int, line: str) -> tuple[str, object]:
    name, _, value = line.rpartition("\t")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise UserError(f"--class_weights {path}, line {number}: found {line!r}\nexpected a label, a tab and a number") from None

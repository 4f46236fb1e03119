"""Decides whether a stage trains the student's whole word embedding or only the rows in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from tinybert import devices
from tinybert.config.options import Config
from tinybert.config.resolved import Settings
from tinybert.config.runs import vocabulary_reason
from tinybert.data.store import TokenStore
from tinybert.engine.optimizers import without_gradient
from tinybert.models.compact import CompactVocabulary
from tinybert.models.trace import base_of
from tinybert.objectives.trained_layer import TrainedLayer

MAX_USED_SHARE = 0.7  # with a larger share of the rows, the mapping costs more than it saves


def compact_vocabulary(
    config: Config, settings: Settings, layer: TrainedLayer, texts: Sequence[TokenStore], rate: Callable[[int], float]
) -> tuple[CompactVocabulary | None, str]:
    """The word embedding of `layer` reduced to the tokens in `texts` if requested and worthwhile, else None; and a log line.

    texts: all rows that the student reads in this stage; if unknown, the whole table is trained and the line is empty. rate: maps a
    step to its learning rate.
    """
    if not texts:
        return None, ""
    student = base_of(layer.student)
    embedding = student.embeddings.word_embeddings
    rows, asked = len(embedding.weight), config.compact_vocabulary
    reason = vocabulary_reason(settings, config)
    if asked == "False":
        reason = "--compact_vocabulary False"
    elif asked == "auto" and not devices.uses_cpu():
        reason = reason or "the cost is negligible on this device"
    if reason:
        return None, f"word embedding: updating all {rows:,} rows: {reason}"
    padding = {embedding._padding_idx, student.config.pad_token_id} - {None}
    used = reduce(np.union1d, (text.word_pieces() for text in texts), np.array(sorted(padding), np.int64))
    if len(used) == rows or (asked == "auto" and len(used) > MAX_USED_SHARE * rows):
        return None, f"word embedding: updating all {rows:,} rows, {len(used):,} of which occur in this stage's data"

    products = [1.0]

    def left(step: int) -> float:
        while len(products) <= step:
            products.append(products[-1] * without_gradient(settings.optimizer, settings.weight_decay, rate(len(products) - 1)))
        return products[step]

    line = f"word embedding: updating {len(used):,} of {rows:,} rows (the rest do not occur in this data; only weight decay applies)"
    return CompactVocabulary(layer, layer.student, used, left), line

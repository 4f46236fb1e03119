"""Statistics of a task's rows before training: classes, duplicates, dev rows in the training set, empty texts.

Computed from stored tokens: two rows are equal if a model would read the same ids, truncated to the same length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinybert.data.store import CHUNK_IDS, TokenStore

# shares of rows above which a count becomes a warning; GLUE's files are below (CoLA: 1.5% of dev rows are in train), TNEWS (11%)
# and ChnSentiCorp (28%) are not
MAX_REPEATED = 0.05
MAX_CONTRADICTING = 0.01
MAX_LEAKED = 0.02
MAX_EMPTY = 0.01
MAX_UNKNOWN = 0.05  # of the tokens
MAX_CLASSES = 10  # classes that are listed; if there are more, the largest and the smallest
EXAMPLES = 3


@dataclass(frozen=True)
class SplitReport:
    """The report of one split: a line and warnings."""

    line: str
    warnings: list[str]


class DataReport:
    """Reports on splits, each printed once per process."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def lines(self, stores: dict[str, TokenStore], labels: Sequence[str], unk_id: int | None = None) -> tuple[list[str], list[str]]:
        """Lines and warnings about these splits, the training rows first; those already printed are omitted."""
        reports = report(stores, labels, unk_id)
        new = [r.line for r in reports if r.line not in self._said], [w for r in reports for w in r.warnings if w not in self._said]
        self._said.update(*new)
        return new


def report(stores: dict[str, TokenStore], labels: Sequence[str], unk_id: int | None = None) -> list[SplitReport]:
    """A report on each split; the first one is the training set, in which rows of the others are searched.

    labels: class names in the order of their indices; empty for scores. unk_id: the id of the unknown token.
    """
    reports, trained = [], None
    for number, (split, store) in enumerate(stores.items()):
        hashes = row_hashes(store)
        parts, warnings = _labels(split, store, labels)
        if number == 0 and split.startswith("train"):
            trained = np.sort(hashes)
            if split == "train":  # variants of a row are similar by design
                found = _repeated(split, hashes, store.labels)
                parts, warnings = parts + found[0], warnings + found[1]
        elif trained is not None and len(trained):
            found = _leaked(split, hashes, trained)
            parts, warnings = parts + found[0], warnings + found[1]
        empty = _empty(store)
        parts.append(f"{len(empty):,} empty")
        if len(empty) > MAX_EMPTY * len(store):
            warnings.append(f"{_share(len(empty), len(store))} of {split} have an empty text ({_examples(empty)})")
        if unk_id is not None:
            unknown = store.unknown_share(unk_id)
            parts.append(f"{100 * unknown:.2f}% of the tokens unknown")
            if unknown > MAX_UNKNOWN:
                warnings.append(
                    f"{100 * unknown:.1f}% of the tokens of {split} are unknown ([UNK]): the vocabulary is for another language "
                    "or script, or --do_lower_case does not match the model"
                )
        reports.append(SplitReport(f"{split}: {len(store):,} rows; " + ", ".join(parts), warnings))
    return reports


def row_hashes(store: TokenStore) -> np.ndarray:
    """A 64-bit hash of each row's ids, uint64 `[N]`: equal for equal rows, and for different ones with probability 2^-64."""
    random = np.random.default_rng(0)
    of_id = random.integers(0, 1 << 64, int(store.meta.get("vocab_size") or store.ids.max(initial=0) + 1), np.uint64)
    at = random.integers(0, 1 << 63, int(store.lengths.max(initial=1)), np.uint64) * np.uint64(2) + np.uint64(1)
    hashes = np.empty(len(store), np.uint64)
    begin = 0
    while begin < len(store):
        end = max(begin + 1, int(np.searchsorted(store.offsets, store.offsets[begin] + CHUNK_IDS, "right")) - 1)
        first, last = int(store.offsets[begin]), int(store.offsets[end])
        starts = np.asarray(store.offsets[begin:end]) - first
        places = np.arange(last - first) - np.repeat(starts, store.lengths[begin:end])
        hashes[begin:end] = np.add.reduceat(of_id[store.ids[first:last]] * at[places], starts)
        begin = end
    return hashes


# === Checks ===


def _labels(split: str, store: TokenStore, labels: Sequence[str]) -> tuple[list[str], list[str]]:
    values = store.labels
    if values is not None and values.ndim == 2 and len(labels) == values.shape[1] and len(values):
        counts = np.asarray(values, np.int64).sum(0)
        order = np.argsort(-counts, kind="stable")[:MAX_CLASSES]
        shown = [f"{labels[i]} {counts[i]:,} ({100 * counts[i] / len(values):.1f}%)" for i in order]
        return [f"{counts.sum() / len(values):.2f} labels per row", *shown], []
    if values is None or values.ndim != 1 or not len(values):
        return [], []
    if values.dtype.kind == "f":
        return [f"scores {values.min():g} to {values.max():g}, mean {values.mean():.3g}"], []
    counts = np.bincount(values, minlength=len(labels))
    order = np.argsort(-counts, kind="stable") if len(counts) > MAX_CLASSES else np.arange(len(counts))
    shown = [f"{labels[i]} {counts[i]:,} ({100 * counts[i] / len(values):.1f}%)" for i in order[:MAX_CLASSES]]
    if len(counts) > MAX_CLASSES:
        shown.append(f"... {len(counts) - MAX_CLASSES} more classes, the smallest {labels[order[-1]]} with {counts[order[-1]]:,}")
    absent = [labels[i] for i in np.flatnonzero(counts == 0)]
    warnings = []
    if absent and split.startswith("train"):
        some = ", ".join(map(repr, absent[:MAX_CLASSES])) + (", ..." if len(absent) > MAX_CLASSES else "")
        warnings.append(f"no row of {split} has the label {some}: a model cannot learn it")
    return shown, warnings


def _repeated(split: str, hashes: np.ndarray, labels: np.ndarray | None) -> tuple[list[str], list[str]]:
    order = np.argsort(hashes, kind="stable")
    new = np.concatenate([[True], hashes[order][1:] != hashes[order][:-1]]) if len(order) else np.zeros(0, bool)
    repeated = order[~new]
    parts, warnings = [f"{len(repeated):,} repeated"], []
    if len(repeated) > MAX_REPEATED * len(hashes):
        warnings.append(f"{_share(len(repeated), len(hashes))} of {split} repeat an earlier row ({_examples(np.sort(repeated))})")
    if labels is not None and labels.ndim == 1 and len(repeated):
        starts = np.flatnonzero(new)
        lowest, highest = np.minimum.reduceat(labels[order], starts), np.maximum.reduceat(labels[order], starts)
        sizes = np.diff(np.append(starts, len(order)))
        other = np.sort(order[np.repeat(lowest != highest, sizes)])
        parts.append(f"{len(other):,} identical to a row with another label")
        if len(other) > MAX_CONTRADICTING * len(hashes):
            warnings.append(f"{_share(len(other), len(hashes))} of {split} are identical to a row with another label ({_examples(other)})")
    return parts, warnings


def _leaked(split: str, hashes: np.ndarray, trained: np.ndarray) -> tuple[list[str], list[str]]:
    at = np.minimum(np.searchsorted(trained, hashes), len(trained) - 1)
    leaked = np.flatnonzero(trained[at] == hashes)
    warnings = []
    if len(leaked) > MAX_LEAKED * len(hashes):
        warnings.append(
            f"{_share(len(leaked), len(hashes))} of {split} are also in the training file ({_examples(leaked)}): scores on them "
            "show memorisation"
        )
    return [f"{len(leaked):,} also in the training file"], warnings


def _empty(store: TokenStore) -> np.ndarray:
    """Rows in which a text has no tokens."""
    columns = store.meta.get("columns") or [None, None]
    nothing = np.asarray(store.first) == 2  # [CLS] and [SEP]
    if columns[1] is not None:
        nothing = nothing | (store.lengths == np.asarray(store.first) + 1)
    return np.flatnonzero(nothing)


def _share(count: int, rows: int) -> str:
    return f"{count:,} rows ({100 * count / rows:.1f}%)"


def _examples(rows: np.ndarray) -> str:
    return "such as row " + ", ".join(f"{row + 1:,}" for row in rows[:EXAMPLES])

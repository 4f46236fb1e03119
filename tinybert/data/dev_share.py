"""Divides a training file into training and dev rows (`--dev_share`): two files in the cache, the same for every run."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.data.cache import open_cached
from tinybert.data.formats import JSON, NAMED
from tinybert.data.questions import read_questions
from tinybert.data.readers import UsedRows
from tinybert.data.rewriting import Rewriter
from tinybert.data.stratify import set_aside
from tinybert.data.tagged import OUTSIDE, iter_sentences
from tinybert.data.tasks import DevRows, Split, Task
from tinybert.errors import UserError
from tinybert.log import logger

FORMAT = 1
RECORD = "rows.json"
Row = tuple[int, tuple[int, ...]]  # a hash of the text that a group of rows shares, and the row's labels


def with_dev_rows(task: Task, share: float, seed: int) -> Task:
    """The task with a part of its training rows as dev rows; `train_aug` stays what it is.

    Rows with equal texts (without regard to case and blanks) and questions about one text stay together. The shares of classes, labels or
    types of entities are those of the whole file; for other kinds the rows are random.

    Raises:
        UserError: a row cannot be read, or there are too few rows.
    """
    split = task.split("train")
    path = Path(split.file)
    description = {
        "format": FORMAT, "sha256": storage.sha256_of(path), "columns": [*split.key, split.index], "kind": task.kind.name,
        "labels": list(task.labels), "share": share, "seed": seed,
    }  # fmt: skip

    def build(new: Path) -> None:
        keys, labels, seen = array("Q"), [], {}
        for key, own in _questions(path) if task.kind.of_windows else _sentences(split) if task.kind.of_words else _rows(task):
            keys.append(key)
            labels.append(seen.setdefault(own, own))  # one tuple for all rows with these labels
        chosen = set_aside(np.asarray(keys), labels, share, seed)
        if chosen.all() or not chosen.any():
            raise UserError(
                f"--dev_share {share:g} of the {len(keys)} rows of {path} leaves no {'training' if chosen.any() else 'dev'} rows.\n"
                "Give another share, more rows, or a --dev_file."
            )
        write = _write_questions if task.kind.of_windows else _write_sentences if task.kind.of_words else _write_rows
        names = [write(new, name, task, own) for name, own in (("train", ~chosen), ("dev", chosen))]
        numbers = np.flatnonzero(chosen).tolist()
        sha256 = hashlib.sha256(json.dumps(numbers).encode()).hexdigest()
        record = {"share": share, "seed": seed, "rows": len(keys), "dev_rows": len(numbers), "sha256": sha256}
        storage.write_json(new / RECORD, {"files": names, "record": record, "numbers": numbers})

    def read(folder: Path) -> Task:
        storage.verify(folder)
        with storage.reading(folder):
            content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            parts = {
                name: replace(_as_written(task), file=str(folder / file))
                for name, file in zip(("train", "dev"), content["files"], strict=True)
            }
            return replace(task, splits={**task.splits, **parts}, dev_rows=DevRows(**content["record"]))

    return open_cached("dev_shares", description, read, build)


def _key(*texts: str) -> int:
    plain = "\n".join(" ".join(text.split()).casefold() for text in texts)
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "little")


def _as_written(task: Task) -> Split:
    """How the two files are read: like the training file, except that tagged words, tables and workbooks become JSON lines."""
    split = task.split("train")
    if task.kind.of_words:
        return replace(split, text_a="words", label="tags", header=True, format="jsonl")
    return replace(split, format="jsonl") if split.format in NAMED and split.format not in JSON else split


# === What a row is ===


def _rows(task: Task) -> Iterator[Row]:
    used = UsedRows(task, Path(), "train")
    sorted_place = {label: place for place, label in enumerate(sorted(task.labels))}
    places = [sorted_place[label] for label in task.labels]  # the order of --labels makes no difference
    for row, value in used:
        labels = np.flatnonzero(value).tolist() if task.kind.many_labels else [value] if task.kind.names_labels else []
        yield _key(row.text_a, row.text_b or ""), tuple(places[int(label)] for label in labels)
    for line in used.left_out():
        logger.warning(line)


def _sentences(split: Split) -> Iterator[Row]:
    types: dict[str, int] = {}
    for part in iter_sentences(Path(split.file), split):
        for words, tags in zip(part.words, part.tags or (), strict=True):
            names = dict.fromkeys(tag[2:] for tag in tags if tag != OUTSIDE)
            yield _key(*words), tuple(types.setdefault(name, len(types)) for name in names)


def _questions(path: Path) -> Iterator[Row]:
    read_questions(path)  # reports what is wrong with the file
    for paragraph in (paragraph for article in _content(path)["data"] for paragraph in article["paragraphs"]):
        for _ in paragraph["qas"]:
            yield _key(paragraph["context"]), ()


def _content(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8-sig"))


# === Files ===


def _write_rows(folder: Path, name: str, task: Task, own: np.ndarray) -> str:
    split, used = task.split("train"), UsedRows(task, Path(), "train")
    written = _as_written(task)
    file = f"{name}{Path(split.file).suffix}" if written == split else f"{name}.jsonl"
    with open(folder / file, "w", encoding="utf-8", newline="") as out:
        rewriter, between = None, ""
        for (row, _), wanted in zip(used, own, strict=True):
            if written != split:
                values = {split.text_a: row.text_a, split.text_b: row.text_b, split.label: row.label, split.index: row.index}
                out.write(json.dumps({key: value for key, value in values.items() if key is not None}) + "\n" if wanted else "")
                continue
            if rewriter is None:
                rewriter = Rewriter.of(split, used.reader.picked, row.raw, published=False)
                frame = rewriter.frame(used.reader.header, bom=False)
                out.write(frame.head)
            if wanted:
                out.write(between + rewriter.row(row.raw))
                between = frame.between
        out.write(frame.tail if rewriter else "")
    return file


def _write_sentences(folder: Path, name: str, task: Task, own: np.ndarray) -> str:
    split, number = task.split("train"), 0
    with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as out:
        for part in iter_sentences(Path(split.file), split):
            for words, tags in zip(part.words, part.tags or (), strict=True):
                out.write(json.dumps({"words": words, "tags": tags}) + "\n" if own[number] else "")
                number += 1
    return f"{name}.jsonl"


def _write_questions(folder: Path, name: str, task: Task, own: np.ndarray) -> str:
    content, number = _content(Path(task.split("train").file)), 0
    for article in content["data"]:
        kept = []
        for paragraph in article["paragraphs"]:
            if paragraph["qas"] and own[number]:
                kept.append(paragraph)
            number += len(paragraph["qas"])
        article["paragraphs"] = kept
    storage.write_json(folder / f"{name}.json", content)
    return f"{name}.json"

"""Data: a known task, files, or rows in memory."""

from __future__ import annotations

import hashlib
import json
import math
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tinybert import storage
from tinybert.api.process import ready
from tinybert.config.rows import DataOptions
from tinybert.data.places import cache_home, locate
from tinybert.data.questions import read_questions
from tinybert.data.readers import UsedRows, split_path
from tinybert.data.tagged import iter_sentences
from tinybert.data.tasks import UNLABELLED, Split
from tinybert.errors import UserError

Rows = Iterable[Mapping[str, object]] | Iterable[Sequence[object]]
_COLUMNS = {"text": "text_a_column", "text_pair": "text_b_column", "label": "label_column"}


class Data:
    """The rows of a task: where they are, how they are read, and which labels they have.

    task: name, labels, splits and metrics. options: the corresponding command-line options, which every procedure accepts.

    Raises:
        UserError: files that are missing or do not match their description.
    """

    def __init__(self, **options: object) -> None:
        config = DataOptions(**options)
        ready()
        from tinybert.recipes.task_data import task_of

        self.task = task_of(config)
        splits = [name for name in self.task.splits if name != "train_aug"]
        wanted = splits if self.task.own else [name for name in splits if name == "train" or name in self.task.eval_splits]
        self.folder = locate(self.task, config.data_dir, config.glue_dir, wanted)
        self.options = {name: getattr(config, name) for name in config.options() if name in config.given}

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the model's outputs; empty for regression tasks."""
        return self.task.labels

    def rows(self, split: str = "dev") -> list[dict[str, str | list[str]]]:
        """The rows of a split: `text`, `text_pair` for pairs, and `label` for labelled rows (a list of labels in a multi-label task).

        Tagged sentences have `words` and `tags`. Questions have their context as `text_pair` and the list of their answers as `label`.

        Raises:
            UserError: no such split, or a row that cannot be read.
        """
        if split not in self.task.splits:
            raise UserError(f"{self.task.name} has no split {split!r}\nexpected one of {', '.join(self.task.splits)}")
        columns = self.task.splits[split]
        if self.task.kind.head != "sequence":
            return list(_within_texts(split_path(self.task, self.folder, split), columns, self.task.kind.of_words))
        found = []
        for row, _ in UsedRows(self.task, self.folder, split):
            label = list(dict.fromkeys(filter(None, row.label.split("|")))) if columns.many_labels and row.label is not None else row.label
            values = {"text": row.text_a, "text_pair": row.text_b, "label": label}
            there = {"text": True, "text_pair": columns.text_b is not None, "label": columns.label is not None}
            found.append({name: value for name, value in values.items() if there[name]})
        return found

    def __repr__(self) -> str:
        splits = ", ".join(name for name in self.task.splits if name != "train_aug")
        labels = ", ".join(self.labels[:10]) + (", ..." if len(self.labels) > 10 else "")
        return f"Data({self.task.name}: {splits}{f'; labels {labels}' if labels else ''})"


def _within_texts(path: Path, columns: Split, tagged: bool) -> Iterator[dict[str, str | list[str]]]:
    """The rows of a file of tagged words or questions."""
    if tagged:
        for part in iter_sentences(path, columns):
            for number, words in enumerate(part.words):
                yield {"words": words} | ({"tags": part.tags[number]} if part.tags is not None else {})
        return
    for question in read_questions(path).items:
        label = {"label": list(question.answers)} if columns.label is not None else {}
        yield {"text": question.text, "text_pair": question.context} | label


def load_task(name: str, data_dir: str | Path | None = None, **options: object) -> Data:
    """A known task (`SST-2`, `MNLI`, `ChnSentiCorp`, ..., `demo`), downloaded if it is not found locally.

    data_dir: the folder of its files; None: the default locations (docs/data.md). options: of the group `data`, such as `metric`.

    Raises:
        UserError: unknown task, or its files are missing and cannot be downloaded.
    """
    return Data(task_name=name, data_dir=data_dir, **options)


def from_files(
    train: str | Path | None = None,
    dev: str | Path | None = None,
    test: str | Path | None = None,
    *,
    unlabelled: str | Path | Sequence[str | Path] | None = None,
    text: str | int | None = None,
    text_pair: str | int | None = None,
    label: str | int | None = None,
    name: str = "custom",
    **options: object,
) -> Data:
    """Your own files: TSV, CSV, JSON lines or a JSON array.

    train, dev, test: paths; dev selects the best model, test may be unlabelled. unlabelled: one or more files of texts without labels,
    which distillation trains on too (`.txt`: one text per line). text, text_pair, label: the columns, by name or by number from 0. name:
    the task name in records. options: of the group `data`, such as `labels`, `kind`, `file_format`, `dev_share`.

    Raises:
        UserError: a missing file or column, or labels that do not form a task.
    """
    texts = [unlabelled] if isinstance(unlabelled, (str, Path)) else unlabelled
    files = {"train_file": train, "dev_file": dev, "test_file": test, "unlabelled_file": texts and list(texts)}
    columns = {"text_a_column": text, "text_b_column": text_pair, "label_column": label}
    return Data(task_name=name, **files, **{name: None if at is None else str(at) for name, at in columns.items()}, **options)


def from_rows(
    train: Rows | None = None,
    dev: Rows | None = None,
    test: Rows | None = None,
    *,
    unlabelled: Rows | Sequence[str] | None = None,
    text: str = "text",
    text_pair: str | None = None,
    label: str = "label",
    name: str = "custom",
    **options: object,
) -> Data:
    """Rows in memory: a pandas DataFrame, a list of dicts, a dict of lists, or a list of `(text, label)` or `(text, text_pair, label)`.

    They are written to the cache folder (TINYBERT_CACHE) under a content hash, so that a run on the same rows can be resumed.
    unlabelled: texts, or rows without labels. text, text_pair, label: the keys or columns; `text_pair` is also used by default if the
    rows have that key.

    Raises:
        UserError: a row without text or label, or a value that is neither text nor a number.
    """
    given = {"train": train, "dev": dev, "test": test, UNLABELLED: unlabelled}
    rows = {split: _records(content, split, text, text_pair, label) for split, content in given.items() if content is not None}
    if not any(rows.values()):
        raise UserError("no rows were given\nexpected at least train=, dev= or test= with one row")
    some = next(content[0] for content in rows.values() if content)
    pair = text_pair or ("text_pair" if "text_pair" in some else None)
    keys = {"text_a_column": text, "text_b_column": pair, "label_column": label if "train" in rows or "dev" in rows else None}
    more = {"train": [label, options.get("id_column")], "dev": [label], UNLABELLED: [options.get("id_column")]}
    files = {f"{split}_file": _written(content, split, [text, pair, *more.get(split, [])]) for split, content in rows.items()}
    return Data(task_name=name, file_format="jsonl", **files, **keys, **options)


def _records(content: object, split: str, text: str, text_pair: str | None, label: str) -> list[dict[str, object]]:
    """The rows as dicts."""
    if hasattr(content, "to_dict") and hasattr(content, "columns"):  # pandas
        return content.to_dict("records")
    if isinstance(content, Mapping):
        columns = {name: list(column) for name, column in content.items()}
        if len({len(column) for column in columns.values()}) > 1:
            raise UserError(f"{split}: the columns have {', '.join(f'{len(column)} ({name})' for name, column in columns.items())} rows")
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if isinstance(content, (str, bytes)) or not isinstance(content, Iterable):
        raise UserError(
            f"{split} got {type(content).__name__}\nexpected rows: a DataFrame, a list of dicts or of tuples; for a file, from_files"
        )
    records = []
    for number, row in enumerate(content):
        if isinstance(row, str):
            row = {text: row}
        elif not isinstance(row, Mapping):
            row = list(row)
            names = {1: [text], 2: [text, label], 3: [text, text_pair or "text_pair", label]}.get(len(row))
            if names is None:
                raise UserError(f"{split}, row {number}: found {len(row)} values\nexpected (text, label) or (text, text_pair, label)")
            row = dict(zip(names, row, strict=True))
        records.append(dict(row))
    return records


def _written(rows: list[dict[str, object]], split: str, keys: list[str | None]) -> Path:
    """The cached file of these rows; it is written if missing."""
    wanted = [key for key in keys if key is not None]
    lines = []
    for number, row in enumerate(rows):
        missing = next((key for key in wanted if key not in row), None)
        if missing is not None:
            raise UserError(f"{split}, row {number}: found the keys {', '.join(map(repr, row))}\nexpected the key {missing!r}")
        lines.append(json.dumps({key: _plain(row[key], f"{split}, row {number}", key) for key in wanted}))
    content = "".join(f"{line}\n" for line in lines)
    path = cache_home() / "rows" / f"{split}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.jsonl"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.write_file(path, content)
    return path


def _plain(value: object, where: str, key: str) -> object:
    """A text, number, boolean, or list of them, as in JSON."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 1) == 0:  # NumPy scalars
        value = value.item()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item, where, key) for item in value]
    if isinstance(value, (str, bool)) or (isinstance(value, numbers.Real) and math.isfinite(value)):
        return value
    raise UserError(f"{where}: found {value!r} under {key!r}\nexpected a text or a number; correct or remove the row")

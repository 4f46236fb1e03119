"""Custom files as a task: formats, columns, labels and metrics from the command line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tinybert.data.dev_share import with_dev_rows
from tinybert.data.fields import column_names
from tinybert.data.formats import FORMATS, JSON, LINES, NAMED, TAGGED, format_of, other_delimiter
from tinybert.data.labels import check_labels, check_spelling, count_labels
from tinybert.data.questions import looks_like_questions
from tinybert.data.readers import iter_labels
from tinybert.data.tagged import OUTSIDE, tags_of_file
from tinybert.data.tasks import UNDECIDED, UNLABELLED, Column, Split, Task, augmented
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.kinds.registry import DEFAULT, KINDS, get_kind

TAGGED_SUFFIXES = (".conll", ".bio", ".iob", ".iob2", ".bioes", ".bmes")
_WINDOWS = next(kind for kind in KINDS.values() if kind.of_windows)
MAX_LABELS = 10_000  # more labels in a training file indicate the wrong column


@dataclass(frozen=True)
class CustomFiles:
    """The options that describe custom files; the names are those of the options.

    Columns are names or 0-based numbers as text; `labels` is a comma-separated list in which labels that contain a comma are in double
    quotes. None: detected from the files.
    """

    train_file: Path | None = None
    dev_file: Path | None = None
    test_file: Path | None = None
    file_format: str | None = None
    text_a_column: str | None = None
    text_b_column: str | None = None
    label_column: str | None = None
    header: bool | None = None
    quoting: str | None = None
    labels: str | None = None
    kind: str | None = None
    doc_stride: int | None = None
    allow_suspicious_labels: bool = False
    dev_share: float | None = None
    dev_seed: int = 42
    id_column: str | None = None
    unlabelled_file: list[Path] | None = None


def custom_task(name: str, files: CustomFiles) -> Task:
    """The task that these files define. Reads headers, and the labels of the training file unless they are given.

    Rows labelled `-`, on which annotators did not agree, are skipped and counted, unless `--labels` contains that label.

    Raises:
        UserError: a missing file or column, or labels that do not form a classification task.
    """
    kind = _kind_of(files)
    unlabelled = _unlabelled(files, kind)
    splits: dict[str, Split] = {}
    if files.train_file is not None:
        splits["train"] = _with_ids(custom_split(files.train_file, files, kind), files)
        splits["train_aug"] = augmented(splits["train"])
    if files.dev_file is not None:
        splits["dev"] = custom_split(files.dev_file, files, kind)
    if files.test_file is not None:
        splits["test"] = custom_split(files.test_file, files, kind, labelled=False)
    splits |= unlabelled
    labels = _labels(name, files, kind, splits.get("train")) if kind.names_labels else ()
    if kind is DEFAULT and UNDECIDED in labels and files.labels is None and len(labels) > 2:  # as in files of SNLI, MNLI and OCNLI
        labels = tuple(label for label in labels if label != UNDECIDED)
    if kind is DEFAULT and UNDECIDED not in labels:
        splits = {split: replace(columns, skipped_labels=(UNDECIDED,) * bool(columns.label)) for split, columns in splits.items()}
    metrics = kind.own_metrics(labels)
    task = Task(name, name, labels, splits, metrics, metrics[0], own=True, kind=kind)
    return task if files.dev_share is None else with_dev_rows(task, files.dev_share, files.dev_seed)


def _kind_of(files: CustomFiles) -> Kind:
    """The given kind, else the one detected from the suffix or the beginning of a file."""
    if files.kind is not None:
        return get_kind(files.kind)
    paths = [Path(path).expanduser() for path in (files.train_file, files.dev_file, files.test_file) if path is not None]
    if any(path.suffix.lower() in TAGGED_SUFFIXES for path in paths):
        return next(kind for kind in KINDS.values() if kind.of_words)
    return _WINDOWS if any(map(looks_like_questions, paths)) else DEFAULT


def _labels(name: str, files: CustomFiles, kind: Kind, train: Split | None) -> tuple[str, ...]:
    if files.labels is not None:
        labels = listed_labels(files.labels)
        if kind.of_words and labels[0] != OUTSIDE:
            raise UserError(f"--labels {files.labels}: the first tag is {labels[0]!r}, expected {OUTSIDE!r}, which means no entity")
        if not files.allow_suspicious_labels:
            check_spelling(labels, f"--labels {files.labels}")
        return labels
    if train is None:
        raise UserError(
            "--labels is missing: neither a --train_file nor the model's config.json gives the labels and their order.\n"
            "Give --labels a,b,c in the order of the training run (which printed them), or the --train_file of that run."
        )
    return tags_of_file(train) if kind.of_words else labels_of_file(train, name, kind, files.allow_suspicious_labels)


def with_custom_files(task: Task, files: CustomFiles) -> Task:
    """A known task that also trains on `unlabelled_file`, and predicts only the rows of `test_file`."""
    more = _unlabelled(files, task.kind)
    if more and task.is_pair != (files.text_b_column is not None):
        found, expected = ("single texts", "pairs: give --text_b_column") if task.is_pair else ("pairs", "single texts")
        raise UserError(f"--unlabelled_file: found {found}, but the rows of {task.name} are {expected}")
    task = replace(task, splits={**task.splits, **more})
    if files.test_file is None:
        return task
    kept = {name: split for name, split in task.splits.items() if name not in task.test_splits}
    return replace(task, splits={**kept, "test": custom_split(files.test_file, files, task.kind, labelled=False)})


def _unlabelled(files: CustomFiles, kind: Kind) -> dict[str, Split]:
    """The files of unlabelled texts; `.txt` has one text per line unless a format is given."""
    if files.unlabelled_file and kind.head != "sequence":
        raise UserError(f"--unlabelled_file: {kind.title} learns from labelled rows only\nleave it out")
    found = {}
    for number, path in enumerate(files.unlabelled_file or (), 1):
        if path.suffix.lower() != ".txt" or files.file_format is not None:
            split = custom_split(path, files, kind, labelled=False)
        elif files.text_b_column is not None or files.id_column is not None:
            raise UserError(f"--unlabelled_file {path}: a text per line has no second text and no id\ngive one of {', '.join(FORMATS)}")
        else:
            split = custom_split(
                path, replace(files, file_format=LINES, text_a_column="0", header=False, quoting=None), kind, labelled=False
            )
        found[UNLABELLED if number == 1 else f"{UNLABELLED}_{number}"] = _with_ids(split, files)
    return found


def with_metric(task: Task, metric: str | None) -> Task:
    """The task with another metric for selecting the best model; None keeps its own.

    Raises:
        UserError: the metric does not apply to this kind of task.
    """
    if metric is None:
        return task
    fitting = task.kind.metrics(task.labels)
    if metric not in fitting:
        what = task.kind.title + (f" with {len(task.labels)} labels" if task.labels else "")
        raise UserError(f"--metric got {metric!r}\nexpected for {task.name} ({what}) one of {', '.join(fitting)}")
    return replace(task, metric=metric, metrics=task.metrics if metric in task.metrics else (*task.metrics, metric))


# === Files and columns ===


def custom_split(path: Path, files: CustomFiles, kind: Kind, labelled: bool = True) -> Split:
    """One file with its columns resolved; `labelled`: whether its labels are read."""
    path = Path(path).expanduser().absolute()
    if not path.is_file():
        raise UserError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; expected a file of rows")
    if not path.stat().st_size:
        raise UserError(f"{path} is empty; expected a file of rows. Is it complete?")
    if kind.of_windows:
        for option in ("header", "quoting", "text_a_column", "text_b_column", "label_column", "file_format"):
            if getattr(files, option) not in (None, True):
                raise UserError(f"--{option} does not apply to question files, which use SQuAD's layout\nleave it out")
        return Split(str(path), "context", "question", "answers" if labelled else None, format="json", stride=files.doc_stride or 0)
    if files.doc_stride is not None:
        raise UserError(f"--doc_stride applies only to question answering\nleave it out, or add --kind {_WINDOWS.name}")
    if kind.of_words:
        return _tagged_split(path, files, labelled)
    form = files.file_format or format_of(path)
    quoting = files.quoting or ("csv" if form == "csv" else "none")
    split = Split(str(path), 0, header=files.header is not False, format=form, quoted=quoting == "csv")
    names = column_names(path, split)

    def column(option: str) -> Column | None:
        wanted = getattr(files, option)
        return None if wanted is None else _column(option, wanted, path, split, names)

    text_a = column("text_a_column")
    if text_a is None:
        raise UserError(f"--text_a_column is missing: it gives the text column\n{_there(path, split, names)}")
    label = column("label_column") if labelled else None
    if labelled and label is None:
        raise UserError(f"--label_column is missing: it gives the label column\n{_there(path, split, names)}")
    return replace(split, text_a=text_a, text_b=column("text_b_column"), label=label, many_labels=label is not None and kind.many_labels)


def _with_ids(split: Split, files: CustomFiles) -> Split:
    """The split with the column of its ids, if it is given."""
    if files.id_column is None or split.format == TAGGED or split.stride is not None:
        return split
    path = Path(split.file)
    return replace(split, index=_column("id_column", files.id_column, path, split, column_names(path, split)))


def _tagged_split(path: Path, files: CustomFiles, labelled: bool) -> Split:
    """A file of tagged words: JSON by its suffix, else whitespace-separated columns, the word first and the tag last."""
    form = files.file_format or (format_of(path) if path.suffix.lower().startswith(".json") else TAGGED)
    if form not in (*JSON, TAGGED):
        raise UserError(
            f"--file_format {form}: tagged words are read from whitespace-separated columns ({TAGGED}) or JSON ({', '.join(JSON)})"
        )
    for option in ("header", "quoting", "text_b_column"):
        if getattr(files, option) not in (None, True):
            raise UserError(f"--{option} does not apply to files of tagged words\nleave it out")
    if form in JSON:
        return Split(str(path), files.text_a_column or "words", label=(files.label_column or "tags") if labelled else None, format=form)
    given = {"text_a_column": files.text_a_column or "0", "label_column": files.label_column or "-1"}
    for option, value in given.items():
        if not value.removeprefix("-").isdigit():
            raise UserError(f"--{option} {value}: whitespace-separated columns have no names\ngive a number, counted from 0")
    label = int(given["label_column"]) if labelled else None
    return Split(str(path), int(given["text_a_column"]), label=label, header=False, format=form)


def _column(option: str, wanted: str, path: Path, split: Split, names: list[str]) -> Column:
    if split.format in NAMED:
        return wanted  # a row without this key is reported with its line
    if names.count(wanted) == 1:
        return wanted
    if names.count(wanted) > 1:
        raise UserError(f"--{option} {wanted}: {path} has {names.count(wanted)} columns of that name\nGive the column's number instead.")
    if wanted.isascii() and wanted.isdigit():
        if names and int(wanted) >= len(names):
            raise UserError(f"--{option} {wanted}: columns are numbered from 0\n{_there(path, split, names)}")
        return int(wanted)
    if not split.header:
        raise UserError(f"--{option} {wanted}: with --header False, columns are numbers counted from 0")
    raise UserError(f"--{option} {wanted}: there is no such column\n{_there(path, split, names)}")


def _there(path: Path, split: Split, names: list[str]) -> str:
    what = "keys" if split.format in NAMED else "columns"
    shown = ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")
    there = f"{path} has the {what} {shown}" if shown else f"{path} has no column names: give column numbers, counted from 0"
    hint = other_delimiter(path, split.format)
    return f"{there}. {hint}" if hint else there


# === Labels ===


def listed_labels(text: str, option: str = "--labels") -> tuple[str, ...]:
    """The labels of `--labels a,b,c`, or of another option.

    Raises:
        UserError: fewer than two labels, an empty one, or a duplicate.
    """
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise UserError(f"{option} got {text!r} ({error})\nexpected labels separated by commas") from None
    labels = tuple(label.strip() for row in rows for label in row)
    return _checked(labels, f"{option} {text}")


def joined_labels(labels: tuple[str, ...]) -> str:
    """The inverse of `listed_labels`."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="").writerow(labels)
    return text.getvalue()


def labels_of_file(split: Split, name: str, kind: Kind, allow_suspicious: bool) -> tuple[str, ...]:
    """The distinct labels of a file, sorted, numbers numerically.

    Raises:
        UserError: a row without a label, fewer than two labels, more than `MAX_LABELS`, or, unless allowed, labels that look like
        misspellings of others (`check_labels`).
    """
    path = Path(split.file)
    counts = count_labels(_present(path, split, name, kind))
    if len(counts) > 1 and not allow_suspicious:
        skipped = kind is DEFAULT and len(counts) > 2
        check_labels({label: count for label, count in counts.items() if not (skipped and label == UNDECIDED)}, str(path))
    return _checked(in_order(counts), str(path))


def _present(path: Path, split: Split, name: str, kind: Kind) -> Iterator[tuple[int, str]]:
    """Lines and labels; rejects a row without a label, and too many different labels."""
    found = set()
    for line, text in iter_labels(path, split, name):
        names = kind.names_in(text)
        if not all(names):
            raise UserError(f"{path}, line {line}: found an empty label, expected a text. Label or remove the row.")
        found.update(names)
        if len(found) > MAX_LABELS:
            raise UserError(
                f"{path} has more than {MAX_LABELS} different labels in {split.label!r}.\n"
                "Is that the label column? For scores give --kind regression; if the labels are correct, list them with --labels."
            )
        yield from ((line, label) for label in names)


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Sorted numerically if all are numbers, else alphabetically; 1 and 1.0 are two labels."""
    labels = list(labels)
    try:
        numbers = {label: float(label) for label in labels}
    except ValueError:
        return tuple(sorted(labels))
    if not all(map(math.isfinite, numbers.values())):
        return tuple(sorted(labels))
    return tuple(sorted(labels, key=lambda label: (numbers[label], label)))


def _checked(labels: tuple[str, ...], where: str) -> tuple[str, ...]:
    if len(set(labels)) < 2:
        found = f"only the label {labels[0]!r}" if labels and labels[0] else "no label"
        raise UserError(f"{where}: found {found}, expected at least two. For scores give --kind regression.")
    twice = sorted({label for label in labels if labels.count(label) > 1}) if len(set(labels)) < len(labels) else []
    if twice or not all(labels):
        raise UserError(f"{where}: found {'an empty label' if not all(labels) else f'{twice[0]!r} twice'}, expected different labels")
    broken = [label for label in labels if any(character in label for character in "\t\r\n")]
    if broken:
        raise UserError(
            f"{where}: the label {broken[0]!r} contains a tab or line break, which a prediction file cannot represent. Rename it."
        )
    return labels

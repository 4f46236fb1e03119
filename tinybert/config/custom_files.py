"""Contradictions among the options that describe custom files, found before any file is opened."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from tinybert.config.notices import Notice
from tinybert.errors import UserError
from tinybert.kinds.registry import DEFAULT, KINDS

if TYPE_CHECKING:
    from pathlib import Path

    from tinybert.config.rows import RowOptions
    from tinybert.config.runs import Actions

FILES = ("train_file", "dev_file", "test_file")
# what describes such files
_ABOUT = (
    "file_format", "text_a_column", "text_b_column", "label_column", "header", "quoting", "labels", "kind", "doc_stride",
    "allow_suspicious_labels", "dev_share", "dev_seed", "id_column",
)  # fmt: skip


_HOW = ("file_format", "text_a_column", "text_b_column", "header", "quoting")  # how texts without labels are read


def is_custom(config: RowOptions) -> bool:
    """Whether the task is defined by the user's files, rather than a known task with another test file."""
    if any(_path(config, name) is not None for name in ("train_file", "dev_file")):
        return True
    return _path(config, "test_file") is not None and (config.labels is not None or config.kind is not None)


def _path(config: RowOptions, name: str) -> Path | None:
    """The path of one of `FILES`; None if it is not given or the command does not read it."""
    return getattr(config, name, None)


def check_custom_files(config: RowOptions, do: Actions) -> list[Notice]:
    """Reject options that contradict each other or the actions of the run; returns notices.

    Raises:
        UserError: says what was found and what to do.
    """
    unlabelled = bool(getattr(config, "unlabelled_file", None))
    if all(_path(config, name) is None for name in FILES):
        about = [name for name in _ABOUT if name in config.given and (getattr(config, name) is not False or name == "header")]
        about = [name for name in about if not unlabelled or name not in _HOW]
        if about:
            raise UserError(f"--{about[0]} applies only to your own files\ngive files with --train_file, --dev_file or --test_file")
        return []
    kind = KINDS[config.kind or DEFAULT.name]
    if not kind.names_labels and config.labels is not None:
        raise UserError(
            f"--kind {kind.name} and --labels contradict each other\n{kind.title} learns {kind.label_word}s, which have no names: "
            "give only one of them"
        )
    if config.dev_share is not None and config.train_file is None:
        raise UserError("--dev_share needs --train_file, whose rows it divides\ngive the file, or leave out the share")
    if config.dev_share is not None and _path(config, "dev_file") is not None:
        raise UserError("--dev_share and --dev_file contradict each other: both give the dev rows\ngive only one of them")
    if is_custom(config):
        _check_own_task(config, do)
    elif _path(config, "test_file") is not None and not do.predict:
        raise UserError("--test_file is only used by --do_predict\nadd --do_predict, or leave out the file")
    _check_format(config)
    _check_columns(config)
    same = config.train_file is not None and config.train_file == _path(config, "dev_file")
    text = "--dev_file is the same as --train_file: the scores show memorisation, not generalisation"
    return [Notice("dev-is-train", text)] if same else []


def _check_own_task(config: RowOptions, do: Actions) -> None:
    for name in ("data_dir", "glue_dir"):
        if getattr(config, name) is not None:
            raise UserError(f"--{name} and your own files contradict each other\ngive either the folder of a known task or your own files")
    name = config.task_name
    if name.strip() != name or name in (".", "..") or not re.fullmatch(r"[^\x00-\x1f/\\:*?\"<>|]{1,100}", name) or len(name.encode()) > 200:
        raise UserError(
            f"--task_name {name!r} is used in folder and file names\n"
            'expected at most 100 characters (200 bytes), no / \\ : * ? " < > |, such as reviews'
        )
    from_teacher = getattr(config, "method_object", None) is not None and bool(getattr(config, "unlabelled_file", None))
    if do.train and config.train_file is None and not from_teacher:
        raise UserError(
            "--train_file is missing: there is no training data\ngive it together with --dev_file, or only evaluate with --do_eval"
        )
    if (do.train or do.evaluate) and _path(config, "dev_file") is None and config.dev_share is None:
        why = "it selects the best model" if do.train else "--do_eval evaluates it"
        raise UserError(f"--dev_file is missing: {why}\nset aside some labelled rows for it, or let --dev_share 0.1 do so")
    if do.predict and _path(config, "test_file") is None:
        raise UserError("--do_predict has nothing to predict\ngive the rows with --test_file")


def _check_format(config: RowOptions) -> None:
    paths = [str(_path(config, name)) for name in FILES if _path(config, name) is not None]
    json = [path for path in paths if os.path.splitext(path)[1].lower() in (".json", ".jsonl", ".ndjson", ".parquet", ".xlsx")]
    if config.file_format is None and len(json) < len(paths):
        return
    if config.file_format in (None, "json", "jsonl", "parquet", "xlsx"):
        for name in ("header", "quoting"):
            if getattr(config, name) is not None:
                raise UserError(f"--{name} applies only to TSV and CSV files\nrows of other formats name their fields; leave it out")


def _check_columns(config: RowOptions) -> None:
    seen: dict[str, str] = {}
    for option in ("text_a_column", "text_b_column", "label_column"):
        column = getattr(config, option)
        if column is None:
            continue
        if column in seen:
            raise UserError(f"--{seen[column]} and --{option} are both {column}\neach needs its own column")
        seen[column] = option

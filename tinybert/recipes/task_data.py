"""The token stores of one task, and batches as tensors."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.config.custom_files import is_custom
from tinybert.config.options import Config
from tinybert.config.resolved import Settings
from tinybert.data.custom_files import CustomFiles, custom_task, joined_labels, with_custom_files, with_metric
from tinybert.data.places import locate
from tinybert.data.readers import split_path
from tinybert.data.report import DataReport
from tinybert.data.store import Rows, TokenStore
from tinybert.data.tasks import Task, get_task, is_task
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.kinds.registry import DEFAULT, get_kind, kind_of_config
from tinybert.log import logger
from tinybert.models.configuration import TrainedOn, labels_of, read_config
from tinybert.models.hub import resolve


def task_of(config: Config) -> Task:
    """The task given by the data options: a known one, or one defined by custom files.

    Raises:
        UserError: no such task, or files that do not match their description.
    """
    files = CustomFiles(**{entry.name: getattr(config, entry.name, None) for entry in fields(CustomFiles)})
    told = files.labels
    own = is_custom(config) or (files.test_file is not None and not is_task(config.task_name))
    if own and files.train_file is None and files.kind is None:
        kind = _kind_of_model(config)
        files = replace(files, kind=kind.name if kind is not None else None)
    if own and files.train_file is None and files.labels is None and get_kind(files.kind or DEFAULT.name).names_labels:
        # the classes of a trained model are fixed: its training run has accepted them
        files = replace(files, labels=_labels_of_model(config), allow_suspicious_labels=True)
    task = custom_task(config.task_name, files) if own else with_custom_files(get_task(config.task_name), files)
    if told is not None and not task.kind.names_labels:
        raise UserError(f"--labels: the {task.kind.label_word}s of {task.kind.title} have no names\nleave it out")
    task = with_metric(task, getattr(config, "metric", None))
    if getattr(config, "aug_file", None) is None:
        return task
    if not any(getattr(config, name, False) for name in ("use_aug", "intermediate_aug", "prediction_aug")):
        raise UserError("--aug_file is only used with --use_aug\nadd --use_aug, or leave out the file")
    if not config.aug_file.expanduser().is_file():
        raise UserError(f"--aug_file {config.aug_file} is not a file; expected the output of tinybert augment")
    rows = replace(task.split("train_aug"), file=str(config.aug_file.expanduser().absolute()))
    return replace(task, splits={**task.splits, "train_aug": rows})


def _folder_config(config: Config) -> dict | None:
    """config.json of the model to evaluate or to predict with, or of the teacher that texts without labels are given."""
    names = (*(("teacher_path",) if getattr(config, "unlabelled_file", None) else ()), "student_model_name_or_path", "model_name_or_path")
    path = next((path for name in names if (path := getattr(config, name, None))), None)
    path = path[0] if isinstance(path, list) else path
    return read_config(resolve(str(path))) if path else None


def _kind_of_model(config: Config) -> Kind | None:
    """The kind in the configuration of the model to evaluate or to predict with; None if missing."""
    known = _folder_config(config)
    return None if known is None else kind_of_config(known)


def _labels_of_model(config: Config) -> str | None:
    """The labels in the configuration of the model to evaluate or to predict with, in the format of `--labels`; None if missing."""
    known = _folder_config(config)
    labels = labels_of(known) if known is not None else None
    return None if labels is None else joined_labels(labels)


def log_outputs(task: Task, config: Config) -> None:
    """Print what custom files determine: the dev rows of `--dev_share`, and the meaning of each output of the model."""
    if not task.own:
        return
    if task.dev_rows is not None:
        found = task.dev_rows
        logger.info(f"dev: {found.dev_rows:,} of the {found.rows:,} rows of {config.train_file} (row numbers {found.sha256[:16]})")
    if not task.labels:
        logger.info(f"output: {task.kind.describe(task.labels)}")
        return
    origin = f"{config.train_file}, sorted" if config.train_file is not None else "the model's config.json"
    origin = origin if config.labels is None else "--labels"
    logger.info(f"{task.num_outputs} outputs ({origin}): {', '.join(task.labels)}")


def check_predictable(task: Task) -> None:
    """Reject `--do_predict` for a task without rows to predict.

    Raises:
        UserError: it has none.
    """
    if not task.test_splits:
        raise UserError(
            f"--do_predict has nothing to predict: {task.name} has no test file.\nGive the rows with --test_file, or leave it out."
        )


def preset_metric(task: Task, settings: Settings) -> Task:
    """The task with the metric chosen by these settings; for custom files only `--metric` applies."""
    return task if task.own else with_metric(task, settings.metric)


@dataclass
class TaskData:
    """The files of a task and how they are tokenised."""

    task: Task
    folder: Path
    tokenizer: WordPiece
    max_seq_length: int
    reports: DataReport = field(default_factory=DataReport)

    @classmethod
    def find(cls, task: Task, config: Config, splits: list[str], tokenizer: WordPiece, max_seq_length: int) -> TaskData:
        """Locate (or download) the files of these splits, according to the data options."""
        folder = locate(task, config.data_dir, config.glue_dir, splits)
        return cls(task, folder, tokenizer, max_seq_length)

    @property
    def trained_on(self) -> TrainedOn:
        """The description of these rows for a model's folder."""
        stride = next(iter(self.task.splits.values())).stride
        return TrainedOn(self.task.name, self.task.is_pair, self.max_seq_length, stride or None)

    def facts(self) -> dict[str, object]:
        """What run.json records about the rows besides their hashes: how a training file was divided."""
        return {} if self.task.dev_rows is None else {"dev_rows": asdict(self.task.dev_rows)}

    def warn_if_used_differently(self, role: str, known: TrainedOn) -> None:
        """Warn if a trained model is used on different rows than in training."""
        for line in known.used_differently(self.trained_on):
            logger.warning(f"the {role} {line}")

    def store(self, split: str) -> TokenStore:
        """The tokens of one split, built once and then memory-mapped."""
        store = TokenStore.build_or_open(self.task, self.folder, split, self.tokenizer, self.max_seq_length)
        cut = store.meta["truncated"]
        if self.task.own and cut:
            logger.info(f"{split}: {cut} of {len(store)} rows are truncated to {self.max_seq_length} tokens (--max_seq_length)")
        lost = store.meta.get("answers_lost")
        if lost:
            kept = " and are not trained on" if split.startswith("train") else ""
            logger.warning(f"{split}: {lost:,} of {store.meta['answers']:,} answers are not at their answer_start{kept}")
        lost = store.meta.get("words_cut")
        if lost:
            logger.warning(f"{split}: {lost:,} of {store.meta['words']:,} words are beyond --max_seq_length and count as outside")
        same = store.labels is not None and split in self.task.eval_splits and len(store) and not np.ptp(store.labels)
        if same:
            logger.warning(
                f"all {len(store)} rows of {split} have the same {self.task.kind.label_word}: scores on them are not informative"
            )
        return store

    def report(self, stores: dict[str, TokenStore]) -> None:
        """Print statistics of the rows of these splits, the training rows first, and warnings about problems."""
        lines, warnings = self.reports.lines(stores, self.task.labels, self.tokenizer.unk_id)
        for line in lines:
            logger.info(line)
        for warning in warnings:
            logger.warning(warning)

    def bytes_to_store(self, splits: list[str]) -> int:
        """The approximate size of tokens of these splits that are not stored yet: the size of their text."""
        sources = [
            split_path(self.task, self.folder, split)
            for split in splits
            if not TokenStore.is_stored(self.task, self.folder, split, self.tokenizer, self.max_seq_length)
        ]
        return sum(source.stat().st_size for source in sources)

    def identity(self, train: TokenStore) -> dict[str, str]:
        """What must match when resuming: the training rows, how they are read, and the tokens."""
        return rows_identity(self.task, train.meta["source_sha256"], train.meta["columns"], self.tokenizer)


def scored_rows(stores: dict[str, Rows]) -> dict[str, str]:
    """The evaluation rows, which are compared when resuming: their hashes, named like the data in run.json."""
    return {f"{split}_rows": store.meta["source_sha256"] for split, store in stores.items()}


def rows_identity(task: Task, sha256: str, columns: list, tokenizer: WordPiece) -> dict[str, str]:
    """The same without the stored tokens: from the hash of the rows' file, see `rows_hash`, and how it is read."""
    known = {"train_data": sha256, "tokenizer": tokenizer.fingerprint}
    if task.own:
        known |= {"columns": str(columns), "labels": ", ".join(task.labels)}
    return known


def rows_hash(task: Task, config: Config, split: str) -> str:
    """sha256 of the file of a split, as stores and run.json have it."""
    return storage.sha256_of(split_path(task, locate(task, config.data_dir, config.glue_dir, [split]), split))


def splits_for(task: Task, *, augmented: bool = False, train: bool = False, evaluate: bool = False, predict: bool = False) -> list[str]:
    """The splits that a run reads; training also evaluates on the evaluation splits."""
    names = ["train_aug" if augmented else "train"] if train else []
    if train or evaluate:
        names += task.eval_splits
    if predict:
        names += task.test_splits
    return names

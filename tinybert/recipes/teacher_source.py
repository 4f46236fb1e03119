"""Where a stage's teacher traces come from: the teacher itself, or knowledge that was stored before."""

from __future__ import annotations

import gc
import hashlib
import json
from pathlib import Path

import numpy as np

from tinybert.data.custom_files import listed_labels
from tinybert.data.places import cache_home
from tinybert.data.store import TokenStore
from tinybert.kinds.kind import Kind
from tinybert.knowledge.building import CacheSpec, build, is_complete, open_stored
from tinybert.knowledge.layout import Layout
from tinybert.knowledge.selection import Selection
from tinybert.knowledge.store import StoredKnowledge
from tinybert.models.loading import LoadedModel, load_classifier
from tinybert.models.outline import ModelInfo, function_words, read_model_info
from tinybert.models.trace import Needs
from tinybert.objectives.trained_layer import Teacher
from tinybert.recipes.evaluate import predict
from tinybert.recipes.run_log import describe_model, describe_model_info
from tinybert.recipes.task_data import TaskData


class LazyTeacher:
    """The teacher of a run, whose weights are read when something first needs them."""

    def __init__(self, config, labels: tuple[str, ...], kind: Kind | None = None) -> None:
        self.config, self.task_labels, self.kind = config, labels, kind
        self._loaded: LoadedModel | None = None
        self._outline: ModelInfo | None = None

    @property
    def own_labels(self) -> tuple[str, ...] | None:
        """The labels that its outputs stand for, in their order: those of `--teacher_labels`, else of its configuration."""
        return self._told_labels() or self.known.labels

    def _told_labels(self) -> tuple[str, ...] | None:
        told = self.config.teacher_labels
        return listed_labels(told, "--teacher_labels") if told and self.task_labels else None

    @property
    def function(self) -> str:
        """What the same weights may compute differently by, in words; the same whether they are loaded or not."""
        return function_words(self.config.teacher_path, self.known.family, "teacher")

    def load(self) -> LoadedModel:
        """The teacher with its weights."""
        if self._loaded is None:
            self._loaded = load_classifier(
                self.config.teacher_path,
                labels=self.task_labels,
                needs_head=self.config.method != "none",
                kind=self.kind,
                do_lower_case=self.config.do_lower_case,
                role="teacher",
                own_labels=self._told_labels(),
            )
        return self._loaded

    def release(self) -> None:
        """Let go of the weights."""
        self._loaded = None
        gc.collect()

    @property
    def known(self) -> LoadedModel | ModelInfo:
        """What is known of it: everything if it is loaded, else what its folder says without its weights."""
        if self._loaded is not None:
            return self._loaded
        if self._outline is None:
            self._outline = read_model_info(self.config.teacher_path, self.config.do_lower_case, "teacher")
        return self._outline

    def describe(self) -> dict:
        """Print what is known of it; returns its entry for run.json."""
        known = self.known
        return describe_model("teacher", known) if isinstance(known, LoadedModel) else describe_model_info("teacher", known)


def stores(config, stage: str) -> bool:
    """Whether the knowledge of a stage is to be stored."""
    return config.cache_knowledge is not None or (config.cache_teacher and stage == "prediction")


class LiveTeacher:
    """The teacher runs beside the student."""

    def __init__(self, teacher: LazyTeacher, settings, needs: Needs) -> None:
        self.teacher = Teacher(teacher.load().model, needs, settings.teacher_mode or "eval", _head(settings))
        self.batch_size = settings.eval_batch_size

    def of(self, split: str, store: TokenStore) -> Teacher:
        """What takes a batch of this split and returns the teacher's trace."""
        return self.teacher

    def logits(self, split: str, store: TokenStore) -> np.ndarray:
        """The teacher's logits on a split, `[N, C]`."""
        return predict(self.teacher.model, store, self.batch_size, self.teacher.head)

    def facts(self) -> dict:
        """Nothing for run.json."""
        return {}


class StoredTeacher:
    """The teacher runs once over every split, unless its knowledge is there already, and is then let go of."""

    def __init__(self, config, teacher: LazyTeacher, settings, needs: Needs, selection: Selection, data: TaskData, entry: dict) -> None:
        self.config, self.teacher, self.settings, self.needs = config, teacher, settings, needs
        known = teacher.known
        self.depth = known.config.num_hidden_layers
        self.layout = Layout(selection, known.config.hidden_size, data.task.num_outputs, settings.max_seq_length)
        self.entry = entry
        self.identity = {
            "teacher": entry["sha256"],
            "teacher_architecture": teacher.function,
            "teacher_head": settings.teacher_head,
            "teacher_labels": config.teacher_labels or ", ".join(known.labels or ()) or None,
            "labels": ", ".join(data.task.labels),
            "tokenizer": data.tokenizer.fingerprint,
            "max_seq_length": settings.max_seq_length,
        }
        self._opened: dict[str, StoredKnowledge] = {}

    def _wanted(self, split: str, store: TokenStore) -> CacheSpec:
        identity = {**self.identity, "data": store.meta["source_sha256"], "columns": str(store.meta["columns"])}
        wanted = CacheSpec(Path(), identity, self.entry, self.depth, self.layout)
        if self.config.cache_knowledge is not None:
            root = Path(self.config.cache_knowledge)
        else:
            key = hashlib.sha256(json.dumps(wanted.fingerprint(), sort_keys=True).encode()).hexdigest()
            root = cache_home() / "knowledge" / key
        return CacheSpec(root / split, identity, self.entry, self.depth, self.layout)

    def of(self, split: str, store: TokenStore) -> StoredKnowledge:
        """What takes a batch of this split and returns what was stored of it."""
        if split not in self._opened:
            wanted = self._wanted(split, store)
            if not is_complete(wanted, store):
                build(wanted, store, self._live, self.settings.eval_batch_size)
                self.teacher.release()
            self._opened[split] = open_stored(wanted, store, self.needs)
        return self._opened[split]

    def _live(self, needs: Needs) -> Teacher:
        return Teacher(self.teacher.load().model, needs, "eval", _head(self.settings))

    def logits(self, split: str, store: TokenStore) -> np.ndarray:
        """The teacher's logits on a split, `[N, C]`."""
        return self.of(split, store).logits()

    def facts(self) -> dict:
        """Where the knowledge is and what it costs, for run.json."""
        names = ("rows", "bytes", "bytes_per_row", "of_full", "seconds")
        return {
            "knowledge": {
                split: {"folder": str(stored.folder), **{name: stored.record.get(name) for name in names}}
                for split, stored in self._opened.items()
            }
        }


def _head(settings) -> str | None:
    return "relu" if settings.teacher_head == "relu" else None

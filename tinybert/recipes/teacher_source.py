"""The source of a stage's teacher traces: the teacher itself in every epoch, or a store that is filled in the first one."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from pathlib import Path

import numpy as np

from tinybert import runtime, storage
from tinybert.commands.distill import TaskDistillConfig
from tinybert.config.resolved import Settings
from tinybert.data.batches import assemble, sequential
from tinybert.data.custom_files import listed_labels
from tinybert.data.places import cache_home
from tinybert.data.store import Rows, TokenStore
from tinybert.data.tokenizer import WordPiece
from tinybert.devices import Precision
from tinybert.engine.processes import sum_over_ranks
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.log import logger
from tinybert.models.loading import LoadedModel, load_classifier
from tinybert.models.model_info import ModelInfo, function_words, read_model_info
from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.models.translation import have_same_tokens, read_ids_of
from tinybert.objectives.custom import losses_of
from tinybert.objectives.trained_layer import Teacher
from tinybert.recipes.evaluate import predict
from tinybert.recipes.run_log import weights_hash
from tinybert.recipes.task_data import TaskData
from tinybert.traces.parts import RowParts
from tinybert.traces.selection import Selection
from tinybert.traces.stored_teacher import StoredTeacher
from tinybert.traces.trace_store import DESCRIPTION, INDEX_BYTES, TraceStore, row_key

MAX_INDEXED = 1_000_000  # rows that `auto` stores: each takes about 200 bytes of memory


class LazyTeacher:
    """A teacher of a run, whose weights are loaded on first use. path: by default the first one."""

    def __init__(self, config: TaskDistillConfig, labels: tuple[str, ...], kind: Kind | None = None, path: str | None = None) -> None:
        self.config, self.task_labels, self.kind = config, labels, kind
        self.path = path or config.teacher_path[0]
        self._loaded: LoadedModel | None = None
        self._info: ModelInfo | None = None
        self._sha256: str | None = None
        self._given: WordPiece | None = None

    def read_ids_of(self, tokenizer: WordPiece) -> None:
        """Use rows with the ids of this vocabulary if it has the same tokens as the teacher's own; else see `own_rows`."""
        self._given = tokenizer if have_same_tokens(tokenizer, self.known.tokenizer) else None
        if self._loaded is not None and self._given is not None:
            read_ids_of(self._loaded.model, self._loaded.tokenizer, tokenizer)

    def own_rows(self, data: TaskData, splits: Iterable[str], needs: Needs) -> dict[str, TokenStore]:
        """The rows of these splits as the teacher's own tokenizer reads their texts; empty if it reads the student's ids.

        Raises:
            UserError: the objective needs values of single tokens.
        """
        if self._given is not None:
            return {}
        if needs.hidden or needs.scores or needs.qkv:
            raise UserError(
                "a loss compares hidden states or attention, but teacher and student split texts into different tokens.\n"
                "Use only logits and pooled outputs, or a student with the teacher's vocabulary."
            )
        tokenizer = self.known.tokenizer
        logger.info(f"the teacher reads the texts with its own tokenizer of {tokenizer.vocab_size:,} tokens")
        return {split: TokenStore.build_or_open(data.task, data.folder, split, tokenizer, data.max_seq_length) for split in splits}

    @property
    def tokens(self) -> str:
        """The fingerprint of the vocabulary whose ids it is given."""
        return (self._given or self.known.tokenizer).fingerprint

    @property
    def own_labels(self) -> tuple[str, ...] | None:
        """The labels of its outputs in order: from `--teacher_labels`, else from its configuration."""
        return self._told_labels() or self.known.labels

    def _told_labels(self) -> tuple[str, ...] | None:
        told = self.config.teacher_labels
        return listed_labels(told, "--teacher_labels") if told and self.task_labels else None

    @property
    def function(self) -> str:
        """A description of what affects the outputs besides the weights; the same whether they are loaded or not."""
        return function_words(self.path, self.known.family, "teacher")

    @property
    def is_loaded(self) -> bool:
        """Whether its weights are in memory."""
        return self._loaded is not None

    @property
    def sha256(self) -> str | None:
        """The hash of its weight file; None if it has none."""
        if self._sha256 is None:
            source = self._loaded.report.source if self._loaded is not None else self.known.weights
            self._sha256 = weights_hash(str(source)) if source is not None else None
        return self._sha256

    def load(self) -> LoadedModel:
        """The teacher with its weights."""
        if self._loaded is None:
            self._loaded = load_classifier(
                self.path,
                labels=self.task_labels,
                needs_head=self.config.method_object.reads_teacher,
                kind=self.kind,
                do_lower_case=self.config.do_lower_case,
                role="teacher",
                own_labels=self._told_labels(),
            )
            if self._given is not None:
                read_ids_of(self._loaded.model, self._loaded.tokenizer, self._given)
        return self._loaded

    def release(self) -> None:
        """Unload the weights."""
        self._loaded = None
        gc.collect()

    @property
    def known(self) -> LoadedModel | ModelInfo:
        """The model if it is loaded, else the information in its folder without the weights."""
        if self._loaded is not None:
            return self._loaded
        if self._info is None:
            self._info = read_model_info(self.path, self.config.do_lower_case, "teacher")
        return self._info


@dataclass(frozen=True)
class WantedTraces:
    """What a stage needs from its teacher: the parts of a trace, the `selection` of its hidden states, and the number of outputs."""

    config: TaskDistillConfig
    settings: Settings
    teacher: LazyTeacher
    needs: Needs
    selection: Selection
    outputs: int

    def parts(self, needs: Needs) -> RowParts:
        """The stored parts of a row for these needs; always including logits, to evaluate the teacher."""
        dtype = self.config.teacher_traces_dtype
        whole = reduce(or_, (loss.teacher or Needs() for loss in losses_of(self.settings.stage)), Needs())
        return RowParts.of(needs | Needs(logits=True), self.teacher.known.config, self.outputs, dtype, self.selection, whole)

    def live(self, needs: Needs, mode: str = "eval") -> Teacher:
        """The teacher with its weights."""
        head = "relu" if self.settings.get("teacher_head") == "relu" else None
        return Teacher(self.teacher.load().model, needs, mode, head)

    def in_precision(self, needs: Needs) -> Callable[[Inputs], EncoderTrace]:
        """The same, in the precision of the run's steps wherever it is called."""
        teacher, precision = self.live(needs), Precision(self.config.amp, self.config.amp_dtype)

        def run(inputs: Inputs) -> EncoderTrace:
            with precision.autocast():
                return teacher(inputs)

        return run


@dataclass(frozen=True)
class TraceSource:
    """The source of the traces of one stage.

    mode: `live` or `stored`. reason: why. bytes: estimated size for all rows of the stage. rows: their number. full_bytes: size of all
    hidden states of the teacher without padding, in float16.
    """

    mode: str
    reason: str
    folder: Path | None = None
    bytes: int = 0
    rows: int = 0
    full_bytes: int = 0

    def describe(self, dtype: str) -> str:
        """One line for the user."""
        if self.mode == "live":
            return f"teacher traces: live, in every epoch ({self.reason})"
        return f"teacher traces: stored in {self.folder}, about {self.bytes / 1e6:,.1f} MB in {dtype} ({self.reason})"


def asked_source(config: TaskDistillConfig) -> str:
    """`--teacher_traces`; by default `auto`, and `live` with the preset of a published system, which runs its teacher in every epoch."""
    return config.teacher_traces or ("auto" if config.preset == "sound" else "live")


def keeps_live(config: TaskDistillConfig, settings: Settings) -> bool:
    """Whether a stage certainly runs its teacher in every epoch."""
    return asked_source(config) == "live" or bool(asked_source(config) == "auto" and unstorable(settings))


def is_needed(config: TaskDistillConfig, settings: Settings, teacher: LazyTeacher) -> bool:
    """Whether a stage certainly needs the teacher's weights: it runs in every epoch, or there is no store yet."""
    if keeps_live(config, settings):
        return True
    return teacher.sha256 is not None and not (_folder(config, settings, teacher) / DESCRIPTION).is_file()


def _folder(config: TaskDistillConfig, settings: Settings, teacher: LazyTeacher) -> Path:
    asked = asked_source(config)
    if asked in ("auto", "store"):
        return cache_home() / "traces" / _key(trace_identity(config, settings, teacher))
    several = len(config.teacher_path) > 1
    return Path(asked) / f"teacher_{config.teacher_path.index(teacher.path) + 1}" if several else Path(asked)


def choose_source(wanted: WantedTraces, stores: Sequence[TokenStore], passes: float, resumed: str | None = None) -> TraceSource:
    """Decide according to `--teacher_traces` whether a stage stores its teacher's traces.

    stores: all rows for which traces are needed. passes: number of passes over the training rows. resumed: the mode of the resumed run,
    which is kept.

    Raises:
        UserError: a store was requested, and the stage needs something that cannot be stored.
    """
    config, settings, known = wanted.config, wanted.settings, wanted.teacher.known.config
    asked = asked_source(config)
    if asked == "live":
        return TraceSource("live", "asked for" if config.teacher_traces else f"preset {config.preset}")
    obstacles = unstorable(settings)
    if asked != "auto" and obstacles:
        raise UserError(
            f"--teacher_traces {asked}: the {settings.stage} stage needs outputs that cannot be stored: "
            + "; ".join(reason for _, reason in obstacles)
            + f"\nadd {' '.join(option for option, _ in obstacles)}, or train with --teacher_traces live"
        )
    if obstacles:
        return TraceSource("live", obstacles[0][1])
    parts = wanted.parts(wanted.needs)
    size = _size(parts, ((length, int(count)) for store in stores for length, count in enumerate(store.length_counts()) if count))
    full = sum(int(store.offsets[-1]) for store in stores) * (known.num_hidden_layers + 1) * known.hidden_size * 2
    sizes = {"bytes": size, "rows": sum(map(len, stores)), "full_bytes": full}
    folder = _folder(config, settings, wanted.teacher)
    if asked != "auto":
        place = storage.existing_parent(folder)
        if not (folder / DESCRIPTION).is_file() and not os.access(place, os.W_OK | os.X_OK):
            raise UserError(f"--teacher_traces {asked}: {place} is not a folder in which files can be written\nchoose another folder")
        return TraceSource("stored", "asked for", folder, **sizes)
    if resumed is not None:
        return TraceSource(resumed, "as when the run started", folder, **sizes)
    if sizes["rows"] > MAX_INDEXED:
        return TraceSource("live", f"{sizes['rows']:,} rows: the index of a store is in memory; up to {MAX_INDEXED:,} are stored")
    held = TraceStore(folder, trace_identity(config, settings, wanted.teacher))
    missing = _size(parts, _missing_lengths(held, parts, stores).items()) if len(held) else size
    if not missing:
        return TraceSource("stored", "all rows are already stored", folder, **sizes)
    if passes <= 1:
        return TraceSource("live", "the run is a single epoch")
    room = shutil.disk_usage(storage.existing_parent(cache_home())).free / 2 + size - missing
    limit = room if config.teacher_traces_gb is None else min(room, config.teacher_traces_gb * 1e9)
    if size > limit:
        where = "half of the free disk space" if limit == room else "--teacher_traces_gb"
        return TraceSource("live", f"a store would take {size / 1e9:,.1f} GB, more than {limit / 1e9:,.1f} GB, {where}")
    return TraceSource("stored", f"{passes:.3g} passes", folder, **sizes)


def _size(parts: RowParts, counts: Iterable[tuple[int, int]]) -> int:
    """The bytes of rows in a store, by length and number."""
    return sum(count * (parts.bytes(length) + INDEX_BYTES) for length, count in counts)


def _missing_lengths(held: TraceStore, parts: RowParts, stores: Sequence[TokenStore]) -> Counter[int]:
    """How many rows of each length are not stored yet."""
    return Counter(
        length
        for store in stores
        for i, (length, first) in enumerate(zip(store.lengths.tolist(), store.first.tolist(), strict=True))
        if not held.has(row_key(store.row(i), np.arange(length) >= first), parts)
    )


def unstorable(settings: Settings) -> list[tuple[str, str]]:
    """Options, with reasons, that make a stage's traces differ between epochs or depend on the batch."""
    found = []
    if settings.teacher_mode == "train":
        found.append(("--teacher_mode eval", "with dropout the teacher's outputs differ in every epoch"))
    if settings.attention_reduction not in (None, "masked"):
        found.append(("--attention_reduction masked", f"attention_reduction {settings.attention_reduction} includes padding"))
    if settings.hidden_reduction not in (None, "masked"):
        found.append(("--hidden_reduction masked", f"hidden_reduction {settings.hidden_reduction} includes padding"))
    if settings.get("mask_threshold") == "batch":
        found.append(("--mask_threshold example", "mask_threshold batch depends on the other rows of a batch"))
    if settings.get("mask_first_step") is False:
        found.append(("--mask_first_step True", "the unmasked first step needs all hidden entries"))
    return found


def trace_identity(config: TaskDistillConfig, settings: Settings, teacher: LazyTeacher) -> dict[str, object]:
    """Everything that the trace of a row depends on, by name; without `teacher` if its weights are not available."""
    known = teacher.known
    identity = {
        "teacher": teacher.sha256,
        "teacher_architecture": teacher.function,
        "teacher_head": settings.get("teacher_head"),
        "teacher_labels": config.teacher_labels or ", ".join(known.labels or ()) or None,
        "labels": ", ".join(teacher.task_labels),
        "vocabulary": teacher.tokens,
        "precision": f"{config.amp} {config.amp_dtype} in all rows" if config.amp else "float32",
    }
    return {name: value for name, value in identity.items() if name != "teacher" or value is not None}


def _key(identity: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


class TeacherTraces:
    """The teacher of a stage in training: called with a batch, it returns the traces that the objective needs.

    `model` is that of the live teacher, None if traces are stored.
    """

    def __init__(self, source: TraceSource, wanted: WantedTraces, rows: int, own: Rows | None = None) -> None:
        """`rows`: number of training rows per epoch. `own`: these rows with the teacher's tokens, if it does not read the student's."""
        self.source, self.lazy, self._wanted, self._rows, self._own = source, wanted.teacher, wanted, rows, own
        self._evaluation_seconds = 0.0
        self.model = None
        if source.mode == "live":
            self.teacher = wanted.live(wanted.needs, wanted.settings.teacher_mode or "eval")
            self.model = self.teacher.model
            return
        store = TraceStore(source.folder, trace_identity(wanted.config, wanted.settings, wanted.teacher))
        load = wanted.in_precision if wanted.teacher.sha256 is not None else None
        self.teacher = StoredTeacher(store, wanted.needs, wanted.parts, load, wanted.teacher.path)

    @property
    def kind(self) -> str:
        """`live`, or `stored` with the type to which traces are rounded."""
        return "live" if self.model is not None else f"stored {self._wanted.config.teacher_traces_dtype}"

    @property
    def needs(self) -> Needs:
        """The content of a trace."""
        return self.teacher.needs

    @needs.setter
    def needs(self, needs: Needs) -> None:
        self.teacher.needs = needs

    def __call__(self, inputs: Inputs) -> EncoderTrace | None:
        """The teacher's trace of a micro-batch of training rows, without gradients; None if the objective does not need it."""
        trace = self.teacher(inputs if self._own is None else _same_rows(self._own, inputs.rows))
        if self.model is None and self.lazy.is_loaded and self.teacher.read_in_a_row >= self._rows:
            self.teacher.release()  # a whole epoch did not need its weights
            self.lazy.release()
        return trace

    def logits(self, store: TokenStore) -> np.ndarray:
        """The teacher's logits of every row of a store, `[N, C]`."""
        rows = self._wanted.settings.eval_batch_size
        if self.model is not None:
            return predict(self.model, store, rows, self.teacher.head)
        found = np.zeros((len(store), self._wanted.outputs))
        for batch in sequential(store, rows, runtime.rank(), runtime.world_size()):
            found[batch.rows] = self.teacher(Inputs.of(batch)).logits.numpy()
        self._evaluation_seconds, self.teacher.seconds = self.teacher.seconds, 0.0
        return sum_over_ranks(found)  # each row was computed by one rank and is 0 on the others

    def facts(self) -> dict:
        """Details for run.json."""
        if self.model is not None:
            return {"teacher_traces": {"mode": "live", "reason": self.source.reason}}
        store = self.teacher.store
        counts = {"rows_computed": self.teacher.computed_rows, "rows_read": self.teacher.read_rows, "bytes_written": store.written}
        counts |= {"rows_damaged": store.damaged, "training_seconds": self.teacher.seconds, "evaluation_seconds": self._evaluation_seconds}
        source = self.source
        sizes = {"bytes_per_row": round(source.bytes / source.rows, 1), "of_all_hidden_states": source.bytes / source.full_bytes}
        return {"teacher_traces": {"mode": "stored", "reason": source.reason, "folder": str(store.folder), **sizes, **counts}}


def _same_rows(store: Rows, rows: np.ndarray) -> Inputs:
    """Rows `[B]` of a store as a padded batch without labels."""
    return replace(Inputs.of(assemble(store, rows, int(store.lengths[rows].max()), {})), labels=None)


def passes_over(settings: Settings, rows: int, world: int = 1) -> float:
    """The number of passes of a stage over its training rows."""
    if settings.max_steps > 0:
        return settings.max_steps * settings.batch_size * settings.gradient_accumulation_steps * world / max(rows, 1)
    return settings.num_train_epochs

"""Writes the variants of one part of the training rows at a time, with identical bytes in any process and order.

Importing this does not import Paddle: a worker process sets its threads first and loads its models with its first part.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tinybert import devices, runtime, storage
from tinybert.augment.rows import augmented_rows
from tinybert.config.resolved import Settings
from tinybert.data.chinese import is_chinese
from tinybert.data.readers import UsedRows
from tinybert.data.rewriting import Frame, Rewriter
from tinybert.data.tasks import Task
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.augment.candidates import Candidates
    from tinybert.augment.chinese_candidates import ChineseCandidates
    from tinybert.augment.teacher_filter import TeacherFilter

ROWS = 256  # of a part, computed together, so results do not depend on the number of processes
FILE = "rows"
SHOWN = 3  # variants of a previewed row


@dataclass(frozen=True)
class Row:
    """One training row: its number, its original line, its texts, and its label."""

    number: int
    raw: str
    texts: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class Part:
    """Some consecutive rows."""

    number: int
    rows: list[Row]


def parts_of(used: UsedRows) -> Iterator[Part]:
    """The rows of a file in parts, read on demand."""
    numbered = (
        Row(i, row.raw, (row.text_a,) if row.text_b is None else (row.text_a, row.text_b), (row.label or "").strip())
        for i, (row, _) in enumerate(used)
    )
    number = 0
    while rows := list(islice(numbered, ROWS)):
        yield Part(number, rows)
        number += 1


@dataclass
class PartMaker:
    """Writes parts to `folder`; each process loads its own models on `device`."""

    folder: Path
    model: str
    word_vectors: Path | None
    task: Task
    settings: Settings
    rewriter: Rewriter
    frame: Frame
    preview: int
    device: str
    _loaded: tuple[Candidates | ChineseCandidates, TeacherFilter | None] | None = field(default=None, repr=False)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_loaded": None}

    def load(self) -> tuple[Candidates | ChineseCandidates, TeacherFilter | None]:
        """The models of this process.

        Raises:
            UserError: a model or table that cannot be used, or a missing package for Chinese.
        """
        if self._loaded is None:
            runtime.prepare(self.settings.threads)
            from tinybert.augment.candidates import Candidates
            from tinybert.augment.chinese_candidates import ChineseCandidates
            from tinybert.augment.teacher_filter import TeacherFilter
            from tinybert.augment.word_vectors import open_word_vectors
            from tinybert.models.masked_lm import load_masked_lm

            devices.set_device(self.device)
            settings = self.settings
            model = load_masked_lm(self.model, settings.do_lower_case)
            table = None if self.word_vectors is None else open_word_vectors(self.word_vectors, settings.glove_words)
            masking = settings.masking == "each"
            if is_chinese(model.tokenizer.vocabulary):
                found = ChineseCandidates(model, table, settings.M, masking)
            else:
                found = Candidates(model, table, settings.M, settings.match_case, settings.candidates == "words", masking)
            self._loaded = found, TeacherFilter.load(settings, self.task) if settings.filter == "teacher" else None
        return self._loaded

    def release(self) -> None:
        """Unload the models."""
        self._loaded = None

    def path(self, number: int) -> Path:
        """The folder of a part."""
        return self.folder / f"{number:07d}"

    def __call__(self, part: Part) -> dict:
        """Write a part atomically; returns the content of its `meta.json`."""
        from tinybert.augment.candidates import ROUTES
        from tinybert.augment.sampling import Tally, variants

        candidates, teacher = self.load()
        settings = self.settings
        texts = list(dict.fromkeys(text for row in part.rows for text in row.texts))
        if settings.long_texts == "refuse":
            self._refuse_long(part, texts, candidates)
        found = dict(zip(texts, candidates.of(texts), strict=True))
        eligible = Counter(ROUTES[choice.route] for entry in found.values() for choice in entry.choices)
        tally = Tally()
        made: list[list[tuple[str, ...]]] = []
        for row in part.rows:

            def vary(side: int, text: str, row: Row = row) -> list[str]:
                random = Random(f"{settings.seed}/{row.number}/{side}")
                return variants(text, found[text], settings.N, settings.p, random, tally, bool(settings.unchanged))

            made.append(list(augmented_rows(row.texts, vary, settings.pairs or "original")))
        before = sum(map(len, made))
        if teacher is not None:
            made = teacher.kept(made)
        labels = Counter[str]()
        lines = []
        for row, kept in zip(part.rows, made, strict=True):
            lines += [self.rewriter.row(row.raw, *new) if new != row.texts else self.rewriter.row(row.raw) for new in kept]
            labels[row.label] += len(kept)
        meta = {
            "rows": len(part.rows), "eligible": dict(eligible),
            "written": len(lines), "filtered": before - len(lines), **tally.as_dict(),
            "labels": {"before": dict(Counter(row.label for row in part.rows)), "after": dict(labels)},
            "preview": [kept[: 1 + SHOWN] for row, kept in zip(part.rows, made, strict=True) if row.number < self.preview],
        }  # fmt: skip
        with storage.new_folder(self.path(part.number), replace=True) as new:
            (new / FILE).write_bytes(self.frame.between.join(lines).encode())
            storage.write_json(new / "meta.json", meta)
        return meta

    def finished(self, number: int) -> dict | None:
        """The `meta.json` of a complete part; None if it still has to be written."""
        try:
            storage.verify(self.path(number))
        except storage.DamagedError:
            return None
        return json.loads((self.path(number) / "meta.json").read_text(encoding="utf-8"))

    def _refuse_long(self, part: Part, texts: list[str], candidates: Candidates | ChineseCandidates) -> None:
        needed = dict(zip(texts, candidates.reader.longest(candidates.tokenizer.ids(texts)), strict=True))
        for row in part.rows:
            longest = max(needed[text] for text in row.texts)
            if longest > candidates.model.positions:
                raise UserError(
                    f"row {row.number + 1} needs {longest} positions, and the masked-LM model has {candidates.model.positions}.\n"
                    "Shorten the text, or keep its end unchanged with --long_texts cut."
                )

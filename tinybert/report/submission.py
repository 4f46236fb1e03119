"""Predictions as the servers of GLUE and CLUE take them, one file a test split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.data.readers import split_path
from tinybert.data.tagged import TaggedWords, iter_sentences
from tinybert.data.tasks import Task

_NAMES = {"test": "", "test_matched": "-m", "test_mismatched": "-mm"}


def submission_path(folder: Path, task: Task, split: str) -> Path:
    """Where the predictions of one test split go: `<TASK>.tsv`, for MNLI `MNLI-m.tsv` or `MNLI-mm.tsv`; for CLUE `<task>_predict.json`."""
    return folder / (task.predictions or f"{task.name}{_NAMES.get(split, '-' + split)}.{'conll' if task.kind.of_words else 'tsv'}")


def write_submission(
    folder: Path, task: Task, split: str, ids: list[str] | None, logits: np.ndarray, decision: dict[str, float] | None = None
) -> Path:
    """Write the predictions of one test split, `logits [N, C]`: a table of index and prediction, for CLUE JSON lines of id and label."""
    answers = task.kind.answers(task, logits, decision)
    rows = zip(ids or [str(i) for i in range(len(answers))], answers, strict=True)
    if task.predictions:
        lines = [json.dumps({"id": int(i) if i.isdecimal() else i, "label": answer}, ensure_ascii=False) for i, answer in rows]
    else:
        lines = ["index\tprediction", *(f"{index}\t{answer}" for index, answer in rows)]
    folder.mkdir(parents=True, exist_ok=True)
    path = submission_path(folder, task, split)
    storage.write_file(path, "\n".join(lines) + "\n")
    return path


def write_tags(folder: Path, task: Task, source: Path, split: str, logits: np.ndarray, words: TaggedWords) -> Path:
    """Write the words of one test split, each with its predicted tag behind a tab, a blank line after each sentence.

    logits: `[W, C]` of the words that have a piece; those beyond a row's length are outside.
    """
    found = words.sentences(logits.argmax(1))
    lines = []
    for part in iter_sentences(split_path(task, source, split), task.split(split)):
        for sentence in part.words:
            _, told = next(found)
            lines += [*(f"{word}\t{task.labels[tag]}" for word, tag in zip(sentence, told, strict=True)), ""]
    folder.mkdir(parents=True, exist_ok=True)
    path = submission_path(folder, task, split)
    storage.write_file(path, "\n".join(lines) + "\n")
    return path

"""Prediction files in the format of the GLUE and CLUE servers, one per test split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.data.answers import best_answers, texts_of
from tinybert.data.questions import Windows
from tinybert.data.readers import split_path
from tinybert.data.tagged import TaggedWords, iter_sentences
from tinybert.data.tasks import Task

_SUFFIXES = {"token": ".conll", "span": ".json"}
_NAMES = {"test": "", "test_matched": "-m", "test_mismatched": "-mm"}


def submission_path(folder: Path, task: Task, split: str) -> Path:
    """The file for a test split's predictions: `<TASK>.tsv`, for MNLI `MNLI-m.tsv` or `MNLI-mm.tsv`; for CLUE `<task>_predict.json`."""
    return folder / (task.predictions or f"{task.name}{_NAMES.get(split, '-' + split)}{_SUFFIXES.get(task.kind.head, '.tsv')}")


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
    return _written(submission_path(folder, task, split), lines)


def write_tags(folder: Path, task: Task, source: Path, split: str, logits: np.ndarray, words: TaggedWords) -> Path:
    """Write the words of one test split, each followed by a tab and its predicted tag, with a blank line after each sentence.

    logits: `[W, C]` for the words that have a token; words beyond the maximum length get the tag "O".
    """
    found = words.sentences(logits.argmax(1))
    lines = []
    for part in iter_sentences(split_path(task, source, split), task.split(split)):
        for sentence in part.words:
            _, predicted = next(found)
            lines += [*(f"{word}\t{task.labels[tag]}" for word, tag in zip(sentence, predicted, strict=True)), ""]
    return _written(submission_path(folder, task, split), lines)


def write_answers(folder: Path, task: Task, split: str, logits: np.ndarray, windows: Windows, decision: dict[str, float] | None) -> Path:
    """Write the answers of one test split by question id, in the format of the SQuAD and CMRC evaluation scripts.

    A second file with the suffix `_spans` has one JSON object per question: the answer's character range and score.
    logits: `[tokens, 2]`.
    """
    found = best_answers(logits, windows)
    texts = texts_of(found, (decision or {}).get("null_threshold"))
    names = [question.name for question in windows.questions]
    spans = []
    for name, text, answer in zip(names, texts, found, strict=True):
        place = {} if not text else {"begin": answer.begin, "end": answer.end}
        score = {} if answer is None else {"score": round(answer.score, 6), "null_over_best": round(answer.null_over_best, 6)}
        spans.append(json.dumps({"id": name, "text": text, **place, **score}, ensure_ascii=False))
    path = submission_path(folder, task, split)
    _written(path.with_name(f"{path.stem}_spans.jsonl"), spans)
    storage.write_json(path, dict(zip(names, texts, strict=True)))
    return path


def _written(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write_file(path, "\n".join(lines) + "\n")
    return path

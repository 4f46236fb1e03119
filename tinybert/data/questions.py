"""Questions about a text: SQuAD's JSON, token windows over the text, and the position of an answer in them."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinybert.data.layout import Flat
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError

MAX_QUESTION = 64  # tokens of a question, as in BERT's script
STRIDE = 128  # tokens between the starts of two windows, as in BERT's script
NO_POSITION = -1  # the position of a token that is not part of the text


@dataclass(frozen=True)
class Question:
    """A question, its context, its gold answers, and the start of the first one found in the context (None: not found)."""

    name: str
    text: str
    context: str
    answers: tuple[str, ...]
    place: tuple[int, int] | None

    @property
    def answerable(self) -> bool:
        """Whether the context contains an answer."""
        return bool(self.answers)


@dataclass
class Questions:
    """The questions of a file; `lost` counts answers whose position does not match their text, `answers` all answers."""

    items: list[Question]
    answers: int
    lost: int


@dataclass
class Windows:
    """What a token store of questions contains besides the ids.

    examples: `[N]`, the question of each window. begins, ends: `[tokens]`, the character range in the context of each token, `NO_POSITION`
    for other tokens. source: the questions, or their file.
    """

    examples: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    offsets: np.ndarray
    source: Path | list[Question]

    @functools.cached_property
    def questions(self) -> list[Question]:
        """The questions in the order of `examples`."""
        return read_questions(self.source).items if isinstance(self.source, Path) else self.source

    def __len__(self) -> int:
        return len(self.examples)


# === Reading ===


def looks_like_questions(path: Path) -> bool:
    """Whether the beginning of a file looks like SQuAD's format."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    return b'"paragraphs"' in head and b'"context"' in head


def read_questions(path: Path) -> Questions:
    """Read a file in the format of SQuAD 1.1, SQuAD 2.0 (`is_impossible`) or CMRC 2018.

    An answer whose `answer_start` is -1 or does not match its text has no position: it is used for evaluation, not for training.

    Raises:
        UserError: another format; says where.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}.\nExpected the layout of SQuAD: data, paragraphs, qas.") from None
    found = Questions([], 0, 0)
    names = set()
    try:
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                for entry in paragraph["qas"]:
                    question = _question(entry, paragraph["context"], found)
                    if question.name in names:
                        raise UserError(
                            f"{path}: two questions have the id {question.name!r}. Ids identify the answers and must be unique."
                        )
                    names.add(question.name)
                    found.items.append(question)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} does not have SQuAD's layout ({error!r}): expected data, paragraphs, context, qas, id and question."
        ) from None
    if not found.items:
        raise UserError(f"{path} has no questions. Is the file complete?")
    return found


def _question(entry: dict, context: str, found: Questions) -> Question:
    answers = [] if entry.get("is_impossible") else entry.get("answers") or []
    place = None
    for answer in answers:
        text, start = answer["text"], int(answer.get("answer_start", -1))
        found.answers += 1
        fits = start >= 0 and bool(text) and context[start : start + len(text)] == text
        found.lost += not fits
        if fits and place is None:
            place = (start, start + len(text))
    return Question(str(entry["id"]), entry["question"], context, tuple(answer["text"] for answer in answers), place)


# === Windows ===


def encoded(
    questions: list[Question], tokenizer: WordPiece, max_length: int, stride: int | None, labelled: bool
) -> tuple[Flat, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows `[CLS] question [SEP] window [SEP]`: rows, first lengths, answer positions `[N, 2]`, questions `[N]`, characters.

    A window advances by `stride` tokens, or by its own length if that is shorter; None: by `STRIDE`, or by half of its length, so that an
    answer at its end is whole in the next one. Position 0 (`[CLS]`) means that the answer is not in the window. With `labelled`, answerable
    questions whose answers have no position are skipped.
    """
    asked = tokenizer.ids([question.text for question in questions])
    found: list[tuple[list[int], int, tuple[int, int], int, np.ndarray, np.ndarray]] = []
    for number, question in enumerate(questions):
        if labelled and question.answerable and question.place is None:
            continue
        own = asked[number][: min(MAX_QUESTION, max_length // 2, max_length - 4)]
        ids, begins, ends = tokenizer.with_places(question.context)
        room = max_length - len(own) - 3
        step = min(stride, room) if stride else min(STRIDE, max(1, room // 2))
        start = 0
        while True:
            stop = min(start + room, len(ids))
            row = [tokenizer.cls_id, *own, tokenizer.sep_id, *ids[start:stop], tokenizer.sep_id]
            before = len(own) + 2
            places = [np.full(len(row), NO_POSITION, np.int32) for _ in range(2)]
            for place, characters in zip(places, (begins, ends), strict=True):
                place[before : before + stop - start] = characters[start:stop]
            found.append((row, before, _answer(question.place, *places), number, *places))
            if stop == len(ids):
                break
            start += step
    rows = Flat.of([each[0] for each in found])
    first = np.array([each[1] for each in found])
    labels = np.array([each[2] for each in found], np.int32).reshape(-1, 2)
    examples = np.array([each[3] for each in found], np.int32)
    characters = [np.concatenate([each[i] for each in found]) if found else np.zeros(0, np.int32) for i in (4, 5)]
    return rows, first, labels, examples, *characters


def _answer(place: tuple[int, int] | None, begins: np.ndarray, ends: np.ndarray) -> tuple[int, int]:
    """The first and last token of an answer's character range, (0, 0) if the window does not contain all of it."""
    if place is None:
        return 0, 0
    inside = np.flatnonzero((begins >= 0) & (ends > place[0]) & (begins < place[1]))
    if not len(inside) or begins[inside[0]] > place[0] or ends[inside[-1]] < place[1]:
        return 0, 0
    return int(inside[0]), int(inside[-1])

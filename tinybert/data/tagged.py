"""Sentences with one tag per word: CoNLL columns and JSON, one tagging scheme, and tokens of which a word's first carries the tag."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinybert.data.formats import JSON, records
from tinybert.data.layout import Flat, bert_rows
from tinybert.data.source import Source
from tinybert.data.tasks import Split
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError

OUTSIDE = "O"
NO_WORD = -1  # the label of a token that does not start a word
_TAG = re.compile(r"([BIESLUM])-(.+)")
_BEGINS = "BSU"  # of BIO, BIOES and BILOU: always starts an entity
_EXPECTED = "O, or B-, I-, E-, S-, L-, U-, M- and a type, such as B-PER"


@dataclass
class Sentences:
    """Some consecutive sentences of a file: words, and tags in BIO (None if they are not read)."""

    words: list[list[str]]
    tags: list[list[str]] | None
    bytes_read: int


@dataclass
class TaggedWords:
    """What a token store of tagged sentences contains besides the ids.

    labels: `[tokens]`, at the first token of each word, `NO_WORD` elsewhere. counts: `[N]`, the number of words per row that have a token
    in it. tags: the tags of all words `[W]`, including those beyond the maximum length. ends: int64 `[N+1]`, the start of each row in
    `tags`.
    """

    labels: np.ndarray
    counts: np.ndarray
    tags: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def places(self) -> np.ndarray:
        """The start of each row among all words that have a token, int64 `[N+1]`."""
        return np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])

    def sentences(self, predicted: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Gold and predicted tags of each row, from predictions for all words that have a token; other words are predicted as outside, tag
        0."""
        places = self.places
        for row, count in enumerate(self.counts):
            gold = self.tags[self.ends[row] : self.ends[row + 1]]
            tags = np.zeros(len(gold), np.int64)
            tags[:count] = predicted[places[row] : places[row + 1]]
            yield gold, tags


# === Reading ===


def iter_sentences(path: Path, split: Split, chunk: int = 16384) -> Iterator[Sentences]:
    """Read a file in chunks: columns with a blank line between sentences (`-DOCSTART-` lines are skipped), or JSON.

    Raises:
        UserError: a line with too few columns, different numbers of words and tags, a tag in no known scheme, or a file without sentences;
        with file and line.
    """
    source = Source(path)
    words: list[list[str]] = []
    tags: list[list[str]] = []
    found = False
    for number, sentence, labels in _json(source, split) if split.format in JSON else _columns(source, split):
        found = True
        words.append(sentence)
        if labels is not None:
            tags.append(_in_bio(labels, source, number))
        if len(words) == chunk:
            yield Sentences(words, tags if split.label is not None else None, source.bytes_read)
            words, tags = [], []
    if words:
        yield Sentences(words, tags if split.label is not None else None, source.bytes_read)
    if not found:
        raise UserError(f"{path} has no sentences. Is the file complete?")


def _columns(source: Source, split: Split) -> Iterator[tuple[int, list[str], list[str] | None]]:
    words: list[str] = []
    tags: list[str] = []
    begun, needed = 0, 1 + max(int(split.text_a), 1 if split.label == -1 else int(split.label or 0))
    for number, line in source.lines():
        fields = line.split()
        if not fields or fields[0] == "-DOCSTART-":
            if words:
                yield begun, words, tags if split.label is not None else None
            words, tags = [], []
            continue
        if len(fields) < needed:
            found = f"{len(fields)} columns"
            raise source.error(
                number, found, f"at least {needed} separated by whitespace", "Choose the columns with --text_a_column and --label_column."
            )
        begun = begun if words else number
        words.append(fields[int(split.text_a)])
        if split.label is not None:
            tags.append(fields[int(split.label)])
    if words:
        yield begun, words, tags if split.label is not None else None


def _json(source: Source, split: Split) -> Iterator[tuple[int, list[str], list[str] | None]]:
    for number, record, _ in records(source, split.format, False):
        if not record:
            continue
        parts = []
        for key in (split.text_a, split.label):
            value = record.get(str(key)) if key is not None else []
            if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
                found = f"no list of texts under {key!r}"
                raise source.error(number, found, '{"words": ["..."], "tags": ["..."]}', "Give words and tags in two lists.")
            parts.append(value)
        if split.label is not None and len(parts[0]) != len(parts[1]):
            raise source.error(number, f"{len(parts[0])} words and {len(parts[1])} tags", "equally many of both", "Correct the row.")
        if not parts[0]:
            raise source.error(number, "a sentence without words", "at least one", "Remove the row.")
        yield number, parts[0], parts[1] if split.label is not None else None


def _in_bio(tags: list[str], source: Source, number: int) -> list[str]:
    """Convert tags from BIO, IOB1, BIOES, BMES or BILOU to BIO (IOB2) with the same entities."""
    result, before = [], None
    for tag in tags:
        if tag == OUTSIDE:
            result.append(tag)
            before = None
            continue
        match = _TAG.fullmatch(tag)
        if match is None:
            raise source.error(number, f"the tag {tag!r} in the sentence that begins here", _EXPECTED, "Correct it.")
        prefix, name = match.groups()
        begins = prefix in _BEGINS or before != name
        result.append(f"{'B' if begins else 'I'}-{name}")
        before = None if prefix in "ESLU" else name  # the entity has ended
    return result


def tags_of_file(split: Split) -> tuple[str, ...]:
    """The tags in a training file in BIO: outside first, then begin and inside of every type."""
    names = {tag[2:] for part in iter_sentences(Path(split.file), split) for tags in part.tags or () for tag in tags if tag != OUTSIDE}
    if not names:
        raise UserError(f"{split.file} has no entity: every tag is {OUTSIDE}. Is --label_column the tag column?")
    return (OUTSIDE, *(f"{prefix}-{name}" for name in sorted(names) for prefix in "BI"))


# === Word pieces ===


def encoded(
    sentences: list[list[str]], tags: list[np.ndarray], tokenizer: WordPiece, max_length: int
) -> tuple[Flat, np.ndarray, np.ndarray, np.ndarray, int]:
    """Rows `[CLS] tokens [SEP]`, their lengths, the label of every token, the words of each row, and the number of truncated rows.

    A word without any token, such as a control character, becomes one unknown token: every word has a prediction.
    """
    pieces = tokenizer.ids([word for sentence in sentences for word in sentence])
    ids, labels, counts, at = [], [], [], 0
    for sentence, gold in zip(sentences, tags, strict=True):
        row: list[int] = []
        of_row = [NO_WORD]
        count = 0
        for word in range(len(sentence)):
            own = pieces[at + word] or [tokenizer.unk_id]
            if len(row) < max_length - 2:
                of_row += [int(gold[word]), *[NO_WORD] * (len(own) - 1)]
                count += 1
            row += own
        at += len(sentence)
        ids.append(row)
        labels.append(of_row[: min(len(row), max_length - 2) + 1] + [NO_WORD])
        counts.append(count)
    rows, first, cut = bert_rows(Flat.of(ids), None, max_length, tokenizer.cls_id, tokenizer.sep_id)
    return rows, first, np.concatenate(labels).astype(np.int16), np.array(counts, np.int32), cut

"""From texts to predictions: tokenisation, batches, an engine, probabilities and label names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinybert.data.batches import sequential
from tinybert.data.fast_tokenizer import FastTokenizer, read_tokenizer
from tinybert.data.metrics import check_outputs, softmax
from tinybert.data.outputs import OutputPlaces
from tinybert.data.store import TokenStore
from tinybert.data.tokenizer import WordPiece
from tinybert.deploy.engine import Engine, open_engine, read_record
from tinybert.deploy.spans import Span, answers, encode_questions, encode_words, entities
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.kinds.registry import DEFAULT, kind_of_config, kind_of_outputs
from tinybert.models.configuration import TrainedOn, labels_of, read_config, trained_on
from tinybert.models.limits import check_length, positions_in
from tinybert.models.manifest import check_manifest

UNKNOWN_LENGTH = 128  # for a model whose folder does not record its training length

Row = str | tuple[str, str]


@dataclass(frozen=True)
class Prediction:
    """The prediction for one row.

    label, probability: the most probable label; for multi-label tasks, labels joined by bars and the smallest of their probabilities; None
    for a score or spans. probabilities: by label, in the model's order. score: the number predicted by a regression.
    spans: the entities of a text in order, or the answer to a question, if any; None for models of whole texts.
    """

    label: str | None
    probability: float | None
    probabilities: dict[str, float]
    score: float | None = None
    spans: tuple[Span, ...] | None = None

    def top(self, count: int) -> list[tuple[str, float]]:
        """The most probable labels with their probabilities, best first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])[:count]


@dataclass
class Predictor:
    """A model that is ready to predict.

    labels: in the order of its outputs, empty for a regression. length: maximum number of tokens. notes: what users should know
    about how its inputs are prepared. kind, decision: of the task, and parameters of its predictions besides the logits.
    """

    folder: Path
    engine: Engine
    tokenizer: WordPiece | FastTokenizer
    labels: tuple[str, ...]
    rows: TrainedOn
    length: int
    notes: tuple[str, ...] = ()
    kind: Kind = DEFAULT
    decision: Mapping[str, float] | None = None

    @classmethod
    def open(cls, folder: str | Path, threads: int | None = None, max_seq_length: int | None = None) -> Predictor:
        """Load a regular or exported model folder.

        threads: of the engine; None: all cores. max_seq_length: None: as in training.

        Raises:
            UserError: no model, no head, a missing library, or a length beyond the model's position embeddings.
        """
        folder = _folder(folder)
        config = read_config(folder)
        check_manifest(folder)
        tokenizer = read_tokenizer(folder)
        engine = open_engine(folder, threads)
        known = trained_on(config)
        length, notes = _length(max_seq_length, known, config, folder)
        outputs = engine.logits(np.array([[tokenizer.cls_id, tokenizer.sep_id]]), np.zeros((1, 2), np.int64)).shape[-1]
        kind = kind_of_config(config) or kind_of_outputs(outputs)
        labels = _labels(config, outputs)
        return cls(folder, engine, tokenizer, labels, known, length, notes, kind, kind.decision_of(config))

    @classmethod
    def of_model(cls, loaded, folder: Path, config: dict, max_seq_length: int | None = None) -> Predictor:
        """A predictor for a loaded model, `LoadedModel`, with the configuration of its folder.

        Raises:
            UserError: it has no head, or too few positions.
        """
        from tinybert.deploy.engines.dygraph import of_model

        known = trained_on(config)
        length, notes = _length(max_seq_length, known, config, folder)
        kind = loaded.kind or kind_of_outputs(int(loaded.config.num_labels))
        decision = loaded.decision or kind.default_decision()
        return cls(folder, of_model(loaded), loaded.tokenizer, loaded.output_names, known, length, notes, kind, decision)

    @property
    def named(self) -> tuple[str, ...] | None:
        """The label names, if the model has any."""
        return None if all(label.startswith("LABEL_") for label in self.labels) else self.labels

    def check(self, pair: bool) -> None:
        """Reject pairs for a single-text model, and single texts for a pair model.

        Raises:
            UserError: it was trained on the other kind.
        """
        expected = True if self.kind.of_windows else self.rows.pair
        if expected is None or expected == pair:
            return
        found, trained = ("pairs of texts", "single texts") if pair else ("single texts", "pairs of texts")
        task = f" ({self.rows.task})" if self.rows.task else ""
        advice = "Leave out the second text." if pair else "Give the second text of each row."
        raise UserError(f"got {found}, but the model was trained on {trained}{task}. {advice}")

    def encode(self, text_a: list[str], text_b: list[str] | None = None) -> tuple[TokenStore, int]:
        """The rows as ids, and the number of rows truncated to the model's length."""
        flat, first, cut = self.tokenizer.rows(text_a, text_b, self.length)
        return TokenStore.from_arrays(flat, first=first, pad_id=self.tokenizer.pad_id), cut

    def logits(self, store: TokenStore, batch_size: int, each: Callable[[int], None] | None = None) -> np.ndarray:
        """The logits `[N, C]` of every row, or `[W, C]` of every word with a token in tagged sentences, in the order of the store.

        each: called with the number of rows of each batch.
        """
        places, found = OutputPlaces(store), None
        for batch in sequential(store, batch_size):
            logits = self.engine.logits(batch.input_ids, batch.token_type_ids)
            if found is None:
                found = np.zeros((places.count, logits.shape[-1]), np.float32)
            found[places.of(batch)] = places.select(batch, logits)
            if each is not None:
                each(len(batch.rows))
        return found

    def run(
        self, text_a: list[str], text_b: list[str] | None, batch_size: int, each: Callable[[int], None] | None = None
    ) -> tuple[list[Prediction], int]:
        """Predictions for rows that passed `check`, and the number of truncated rows.

        text_a, text_b: for question answering, the questions and their contexts.
        """
        store, cut = self.read(text_a, text_b)
        logits = self.logits(store, batch_size, None if self.kind.of_windows else each)
        if self.kind.of_windows and each is not None:
            each(len(text_a))
        return self.predictions_of(text_a, store, logits), cut

    def read(self, text_a: list[str], text_b: list[str] | None) -> tuple[TokenStore, int]:
        """The rows as ids, those of questions in windows, and the number of truncated rows."""
        if self.kind.of_words:
            return encode_words(text_a, self.tokenizer, self.length)
        if self.kind.of_windows:
            return encode_questions(text_a, text_b or [], self.tokenizer, self.length, self.rows.doc_stride), 0
        return self.encode(text_a, text_b)

    def predictions_of(self, text_a: list[str], store: TokenStore, logits: np.ndarray) -> list[Prediction]:
        """The predictions for these rows."""
        if self.kind.of_words:
            found = entities(text_a, store, softmax(self._checked(logits)), self.labels)
        elif self.kind.of_windows:
            found = answers(store, self._checked(logits), (self.decision or {}).get("null_threshold"))
        else:
            return self.predictions(logits)
        return [Prediction(None, None, {}, spans=spans) for spans in found]

    def _checked(self, logits: np.ndarray) -> np.ndarray:
        check_outputs(logits, str(self.folder), "the input")
        return logits

    def predictions(self, logits: np.ndarray) -> list[Prediction]:
        """The predictions for logits `[N, C]`."""
        self._checked(logits)
        if not self.labels:
            return [Prediction(None, None, {}, float(score)) for score in logits[:, 0]]
        shares = self.kind.probabilities(logits)
        chosen = self.kind.chosen(shares, self.decision or self.kind.default_decision())
        return [
            Prediction("|".join(self.labels[at] for at in found), sure, dict(zip(self.labels, map(float, row), strict=True)))
            for (found, sure), row in zip(chosen, shares, strict=True)
        ]

    def batch_size(self, wanted: int | None = None) -> int:
        """The batch size: as requested, else 64, or 1 if answers depend on the batch."""
        return wanted or (1 if self.engine.batch_dependent else 64)

    def predict(self, rows: Sequence[Row], batch_size: int | None = None) -> list[Prediction]:
        """Predictions for texts, or for pairs `(text, text)` such as `(question, context)`, in input order.

        Raises:
            UserError: texts and pairs are mixed, or the input does not match what the model was trained on.
        """
        rows = list(rows)
        if not rows:
            return []
        pairs = [not isinstance(row, str) for row in rows]
        if any(pairs) != all(pairs):
            raise UserError("got single texts and pairs together; expected only one of the two.")
        self.check(pairs[0])
        second = None
        if pairs[0]:
            wrong = next((row for row in rows if len(row) != 2 or not all(isinstance(text, str) for text in row)), None)
            if wrong is not None:
                raise UserError(f"got {wrong!r}; expected a text, or a pair of texts.")
            rows, second = [row[0] for row in rows], [row[1] for row in rows]
        return self.run(rows, second, self.batch_size(batch_size))[0]


def check_texts(folder: Path, kind: Kind) -> None:
    """Reject a model that does not classify whole texts.

    Raises:
        UserError: says how to get its predictions.
    """
    if kind.head != "sequence":
        raise UserError(
            f"{folder} is a model for {kind.title}, which predicts {kind.label_word}s within a text; expected one for whole texts.\n"
            "Use tinybert predict."
        )


def _folder(name: str | Path) -> Path:
    folder = Path(name).expanduser()
    if read_record(folder) is not None:
        return folder
    from tinybert.models.hub import resolve

    return resolve(str(name))


def _labels(config: dict, outputs: int) -> tuple[str, ...]:
    """The label names, LABEL_<i> if classes have none; empty for a single output, a score."""
    named = labels_of(config)
    if named is not None and len(named) == outputs:
        return named
    return tuple(f"LABEL_{i}" for i in range(outputs)) if outputs > 1 else ()


def _length(wanted: int | None, known: TrainedOn, config: dict, folder: Path) -> tuple[int, tuple[str, ...]]:
    longest = positions_in(config) or UNKNOWN_LENGTH
    if wanted is not None:
        check_length("--max_seq_length", wanted, longest, str(folder))
    trained = known.max_seq_length
    if wanted is not None:
        other = trained is not None and wanted != trained
        return wanted, (f"rows are truncated to {wanted} tokens; the model was trained with {trained}",) if other else ()
    if trained is not None:
        return trained, ()
    length = min(UNKNOWN_LENGTH, longest)
    return length, (f"{folder} does not record its max_seq_length; rows are truncated to {length} tokens (--max_seq_length)",)

"""The file of predictions: the format of its rows, and how a stopped run continues after the rows already written."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

from tinybert import storage
from tinybert.deploy.predictor import Prediction
from tinybert.deploy.spans import Span
from tinybert.errors import UserError

FORMATS = ("csv", "tsv", "jsonl")
_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".txt": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
STDOUT = "-"


class RowFormat:
    """The output format: `csv`, `tsv` or `jsonl`.

    labels: of the model. proba: include the probability of each label. top_k: number of most probable labels.
    """

    def __init__(self, form: str, labels: tuple[str, ...], proba: bool = False, top_k: int = 1) -> None:
        self.form, self.labels, self.proba, self.top_k = form, labels, proba, top_k

    @property
    def columns(self) -> list[str]:
        """The names of the columns of a delimited file."""
        if not self.labels:
            return ["id", "score"]
        more = [name for i in range(2, self.top_k + 1) for name in (f"label_{i}", f"probability_{i}")]
        return ["id", "label", "probability", *more, *(f"proba_{label}" for label in self.labels if self.proba)]

    def header(self) -> str:
        """The first line; empty if there is none."""
        return "" if self.form == "jsonl" else self._line(self.columns)

    def rows(self, ids: list[str], predictions: list[Prediction]) -> str:
        """Rows as text, one per prediction."""
        return "".join(self._row(name, found) for name, found in zip(ids, predictions, strict=True))

    def _row(self, name: str, found: Prediction) -> str:
        if found.spans is not None:
            return json.dumps({"id": name, "spans": [_span(span) for span in found.spans]}, ensure_ascii=False) + "\n"
        if self.form != "jsonl":
            if found.label is None:
                return self._line([name, _number(found.score)])
            return self._line([name, *self._best(found), *(_number(found.probabilities[label]) for label in self.labels if self.proba)])
        if found.label is None:
            return json.dumps({"id": name, "score": _rounded(found.score)}, ensure_ascii=False) + "\n"
        row: dict[str, object] = {"id": name, "label": found.label, "probability": _rounded(found.probability)}
        if self.top_k > 1:
            row["top"] = [{"label": label, "probability": _rounded(share)} for label, share in found.top(self.top_k)]
        if self.proba:
            row["probabilities"] = {label: _rounded(share) for label, share in found.probabilities.items()}
        return json.dumps(row, ensure_ascii=False) + "\n"

    def _best(self, found: Prediction) -> list[str]:
        """The predicted label or labels, and the most probable of the others; empty where there are no more."""
        pairs = [(found.label, found.probability)]
        if self.top_k > 1:
            chosen = {found.label} if found.label in found.probabilities else set(found.label.split("|"))
            pairs += [(label, share) for label, share in found.top(len(self.labels)) if label not in chosen][: self.top_k - 1]
        fields = [part for label, share in pairs for part in (label, _number(share))]
        return fields + [""] * (2 * self.top_k - len(fields))

    def _line(self, fields: list[str]) -> str:
        text = io.StringIO()
        csv.writer(text, delimiter="," if self.form == "csv" else "\t", lineterminator="\n").writerow(fields)
        return text.getvalue()


def _span(span: Span) -> dict[str, object]:
    label = {} if span.label is None else {"label": span.label}
    return {"text": span.text, "begin": span.begin, "end": span.end, **label, "score": _rounded(span.score)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _number(value: float | None) -> str:
    return f"{value:.6f}"


def format_for(path: Path, wanted: str | None) -> str:
    """The format of a file of predictions, by its suffix unless given.

    Raises:
        UserError: unknown suffix.
    """
    if wanted is not None:
        return wanted
    if str(path) == STDOUT:
        return "tsv"
    form = _SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise UserError(
            f"--output {path}: the suffix {path.suffix!r} is not a known format; expected {', '.join(_SUFFIXES)}\nOr use --output_format."
        )
    return form


class PredictionsFile:
    """A file that is written as `<file>.partial` and renamed when it is complete.

    resumable: whether an interrupted run keeps its rows. done: rows already written by an earlier run with the same `identity`.
    """

    def __init__(self, path: Path, rows: RowFormat, identity: dict, overwrite: bool, resumable: bool = True) -> None:
        self.path, self.format, self.resumable = path, rows, resumable
        self.partial = path.with_name(f"{path.name}.partial")
        self.state = path.with_name(f"{path.name}.partial.json")
        self.done = 0
        if path.is_dir():
            raise UserError(f"--output {path} is a folder. Give a file.")
        known = self._known()
        if path.exists() and not overwrite and not known.get("replaces"):
            raise UserError(f"--output {path} exists. Choose another file, or replace it with --overwrite_output.")
        path.parent.mkdir(parents=True, exist_ok=True)
        if overwrite or not self.partial.exists():
            self._begin(identity)
        else:
            self._go_on(identity, known)
        self.empty = not self.done

    def _known(self) -> dict:
        """The state of an earlier run that was interrupted; empty if there is none."""
        try:
            return json.loads(self.state.read_text(encoding="utf-8")) if self.partial.exists() else {}
        except (OSError, ValueError):
            return {}

    def _begin(self, identity: dict) -> None:
        storage.write_json(self.state, {**identity, "replaces": self.path.exists()})
        self.file = open(self.partial, "wb")  # noqa: SIM115  closed by close or finish
        self.file.write(self.format.header().encode())

    def _go_on(self, identity: dict, known: dict) -> None:
        if unlike := ", ".join(sorted(name for name, value in identity.items() if known.get(name) != value)):
            raise UserError(
                f"{self.partial} is the partial output of another run (differs in: {unlike}).\n"
                "Finish that run, or start over with --overwrite_output."
            )
        if not self.resumable:
            self._begin(identity)
            return
        self.file = open(self.partial, "r+b")  # noqa: SIM115  closed by close or finish
        end = _whole_lines(self.file, self.format.form)
        self.done = max(0, end[0] - bool(self.format.header()))
        self.file.truncate(end[1])
        self.file.seek(end[1])
        if not end[1]:
            self.file.write(self.format.header().encode())

    def write(self, ids: list[str], predictions: list[Prediction]) -> None:
        """Append rows and flush them."""
        self.file.write(self.format.rows(ids, predictions).encode())
        self.file.flush()
        self.empty = False

    def finish(self) -> None:
        """Rename the file to its final name."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.partial, self.path)
        self.state.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and keep its rows for a later run, if that can continue."""
        self.file.close()
        if self.empty or not self.resumable:
            self.partial.unlink(missing_ok=True)
            self.state.unlink(missing_ok=True)


def _whole_lines(file: BinaryIO, form: str) -> tuple[int, int]:
    """The number of complete rows in a file, and the end of the last one; a line break inside quotes does not end a row."""
    rows = end = position = 0
    quotes = 0
    for line in file:
        position += len(line)
        quotes += line.count(b'"') if form != "jsonl" else 0
        if line.endswith(b"\n") and quotes % 2 == 0:
            rows, end = rows + 1, position
    return rows, end


class StandardOutput:
    """Predictions on stdout, which cannot be continued."""

    done = 0

    def __init__(self, rows: RowFormat) -> None:
        self.format = rows
        sys.stdout.write(rows.header())

    def write(self, ids: list[str], predictions: list[Prediction]) -> None:
        """Write rows."""
        sys.stdout.write(self.format.rows(ids, predictions))
        sys.stdout.flush()

    def finish(self) -> None:
        """Does nothing: everything is already written."""

    def close(self) -> None:
        """Does nothing: everything is already written."""

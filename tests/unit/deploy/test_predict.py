"""`tinybert predict`: input and output formats, and resuming a stopped run."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.tiny import LABELS, logits_of
from tests.unit.deploy.conftest import run, trained_folder
from tinybert.deploy.predictions_file import PredictionsFile
from tinybert.deploy.predictor import Predictor
from tinybert.errors import UserError
from tinybert.models.trace import Inputs

TEXTS = [f"word{i % 35} word{(3 * i) % 35} word{(7 * i) % 35}"[: 20 + i % 3] for i in range(50)]


def expected(model, texts: list[str]) -> np.ndarray:
    """The probabilities from the model's own class for each single text."""
    from tests.tiny import word_pieces

    pieces = word_pieces()
    rows = []
    for ids in pieces.ids(texts):
        row = paddle.to_tensor([[pieces.cls_id, *ids[:14], pieces.sep_id]])
        rows.append(logits_of(model, Inputs(row, paddle.zeros_like(row), paddle.ones(row.shape)))[0])
    logits = np.exp(np.array(rows, np.float64))
    return logits / logits.sum(1, keepdims=True)


def write(path: Path, rows: list[list[str]], delimiter: str = ",") -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return path


def read(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_output_has_labels_probabilities_and_the_given_ids(tmp_path, capsys):
    model = trained_folder(tmp_path / "m", "tinybert")
    source = write(tmp_path / "new.csv", [["text", "id"], *([text, f"r{i}"] for i, text in enumerate(TEXTS))])
    assert run("predict", model_path=tmp_path / "m", input=source, output=tmp_path / "out.csv", proba=True, top_k=2) == 0
    rows = read(tmp_path / "out.csv")
    shares = expected(model, TEXTS)
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(50)]
    assert [row["label"] for row in rows] == [LABELS[i] for i in shares.argmax(1)]
    found = np.array([[float(row["proba_no"]), float(row["proba_yes"])] for row in rows])
    np.testing.assert_allclose(found, shares, atol=2e-6)
    np.testing.assert_allclose([float(row["probability"]) for row in rows], shares.max(1), atol=2e-6)
    np.testing.assert_allclose([float(row["probability_2"]) for row in rows], shares.min(1), atol=2e-6)
    assert "50 rows" in capsys.readouterr().out


def test_input_formats_and_python_api_agree(tmp_path, single):
    write(tmp_path / "a.tsv", [["sentence"], *([text] for text in TEXTS)], "\t")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    (tmp_path / "a.txt").write_text("\n".join(TEXTS) + "\n")
    outs = []
    for name in ("a.tsv", "a.jsonl", "a.txt"):
        assert run("predict", model_path=single, input=tmp_path / name, output=tmp_path / f"{name}.jsonl", proba=True, batch_size=7) == 0
        outs.append([json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()])
    assert outs[0] == outs[1] == outs[2] and [row["id"] for row in outs[0]] == [str(i) for i in range(50)]
    for row, found in zip(outs[0], Predictor.open(single).predict(TEXTS), strict=True):
        assert row["label"] == found.label and row["probabilities"]["yes"] == pytest.approx(found.probabilities["yes"], abs=2e-6)


@contextlib.contextmanager
def piped(folder: Path, text: str) -> Iterator[None]:
    """Standard input is this text."""
    (folder / "piped").write_text(text)
    kept = os.dup(0)
    with open(folder / "piped", "rb") as file:
        os.dup2(file.fileno(), 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_stdout_holds_only_predictions(tmp_path, single, monkeypatch, capfd):
    with piped(tmp_path, "word1 word2\nword3\n"):
        assert run("predict", model_path=single, input="-", output="-") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "id\tlabel\tprobability" and [line.split("\t")[0] for line in lines[1:]] == ["0", "1"]


def test_regression_gives_scores_for_pairs(tmp_path):
    trained_folder(tmp_path / "m", labels=(), pair=True)
    source = write(tmp_path / "p.csv", [["sentence1", "sentence2", "idx"], ["word1", "word2", "7"], ["word1", "word3", "9"]])
    assert run("predict", model_path=tmp_path / "m", input=source, output=tmp_path / "out.csv") == 0
    rows = read(tmp_path / "out.csv")
    assert list(rows[0]) == ["id", "score"] and [row["id"] for row in rows] == ["7", "9"] and rows[0]["score"] != rows[1]["score"]


def test_input_of_the_wrong_kind_is_refused_with_a_reason(tmp_path, single, pairs, capsys):
    one = write(tmp_path / "one.csv", [["text"], ["word1"]])
    two = write(tmp_path / "two.csv", [["a", "b"], ["word1", "word2"]])
    assert run("predict", model_path=pairs, input=one, output=tmp_path / "o.csv") == 2
    assert "got single texts, but the model was trained on pairs of texts (tiny)" in capsys.readouterr().err
    assert run("predict", model_path=single, input=two, output=tmp_path / "o.csv", text_a_column="a", text_b_column="b") == 2
    assert "got pairs of texts, but the model was trained on single texts" in capsys.readouterr().err
    assert run("predict", model_path=single, input=two, output=tmp_path / "o.csv") == 2
    assert "found the columns 'a', 'b'" in capsys.readouterr().err
    bad = tmp_path / "bad.csv"
    bad.write_text("text,id\nword1,1\nword2\n")
    assert run("predict", model_path=single, input=bad, output=tmp_path / "o.csv") == 2
    assert "line 3" in capsys.readouterr().err
    with pytest.raises(UserError, match="single texts and pairs together"):
        Predictor.open(single).predict(["word1", ("word1", "word2")])
    assert not list(tmp_path.glob("o.csv*"))


def test_unusual_max_seq_length_is_reported(tmp_path, single, capsys):
    source = write(tmp_path / "a.csv", [["text"], ["word1 " * 30]])
    assert run("predict", model_path=single, input=source, output=tmp_path / "o.csv", max_seq_length=8) == 0
    shown = capsys.readouterr().out
    assert (
        "rows are truncated to 8 tokens; the model was trained with 16" in shown
        and "1 rows, " in shown
        and "1 were truncated to 8" in shown
    )
    assert run("predict", model_path=single, input=source, output=tmp_path / "p.csv", max_seq_length=21) == 2
    assert "20 positions" in capsys.readouterr().err


def stopped_run(monkeypatch, chunks: int, **options) -> None:
    """A run that is interrupted within the row after these chunks."""
    write_rows, calls = PredictionsFile.write, []

    def stop(self, ids, predictions):
        write_rows(self, ids, predictions)
        calls.append(len(ids))
        if len(calls) == chunks:
            self.file.write(b'"half a row')
            self.file.flush()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(PredictionsFile, "write", stop)
        assert run("predict", **options) == 130


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_stopped_run_resumes_and_gives_the_same_bytes(tmp_path, single, monkeypatch, capsys, form):
    source = write(tmp_path / "a.csv", [["id", "text"], *([f'"{i}"\n,', text] for i, text in enumerate(TEXTS * 6))])
    assert run("predict", model_path=single, input=source, output=tmp_path / f"whole.{form}", batch_size=4) == 0
    options = {"model_path": single, "input": source, "output": tmp_path / f"cut.{form}", "batch_size": 4}
    stopped_run(monkeypatch, 2, **options)
    assert not (tmp_path / f"cut.{form}").exists()
    assert run("predict", **{**options, "max_seq_length": 8}) == 2
    assert "differs in: max_seq_length" in capsys.readouterr().err
    assert run("predict", **options) == 0
    assert "resuming after 256 rows" in capsys.readouterr().out
    assert (tmp_path / f"cut.{form}").read_bytes() == (tmp_path / f"whole.{form}").read_bytes()
    assert not list(tmp_path.glob("*.partial*"))
    assert run("predict", **options) == 2 and "--overwrite_output" in capsys.readouterr().err


def test_run_that_reads_other_columns_does_not_resume(tmp_path, single, monkeypatch, capsys):
    source = write(tmp_path / "a.csv", [["id", "text", "title"], *([str(i), text, "word1"] for i, text in enumerate(TEXTS))])
    options = {"model_path": single, "input": source, "output": tmp_path / "o.csv", "batch_size": 1}
    stopped_run(monkeypatch, 1, **options)
    for name, value in {"text_a_column": "title", "id_column": "title", "quoting": "none", "header": "true", "file_format": "csv"}.items():
        assert run("predict", **options, **{name: value}) == 2
        assert f"differs in: {name})" in capsys.readouterr().err
    assert run("predict", **options) == 0 and len(read(tmp_path / "o.csv")) == 50


def test_stopped_run_from_standard_input_starts_over(tmp_path, single, monkeypatch, capsys):
    options = {"model_path": single, "input": "-", "output": tmp_path / "o.csv", "batch_size": 1}
    with piped(tmp_path, "\n".join(TEXTS)):
        stopped_run(monkeypatch, 1, **options)
    assert "standard input cannot be resumed" in capsys.readouterr().err and not list(tmp_path.glob("o.csv*"))
    with piped(tmp_path, "\n".join(TEXTS[::-1])):
        assert run("predict", **options) == 0
    write(tmp_path / "b.csv", [["text"], *([text] for text in TEXTS[::-1])])
    assert run("predict", **{**options, "input": tmp_path / "b.csv", "output": tmp_path / "whole.csv"}) == 0
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_stopped_run_that_replaces_a_file_resumes_without_the_option(tmp_path, single, monkeypatch, capsys):
    source = write(tmp_path / "a.csv", [["text"], *([text] for text in TEXTS)])
    options = {"model_path": single, "input": source, "output": tmp_path / "o.csv", "batch_size": 1}
    (tmp_path / "o.csv").write_text("earlier")
    stopped_run(monkeypatch, 1, **options, overwrite_output=True)
    assert "continue with the same command without --overwrite_output" in capsys.readouterr().err
    assert (tmp_path / "o.csv").read_text() == "earlier"
    assert run("predict", **options) == 0 and "resuming after 32 rows" in capsys.readouterr().out
    assert len(read(tmp_path / "o.csv")) == 50


def test_rows_are_processed_in_chunks(tmp_path, single, monkeypatch):
    held = []
    monkeypatch.setattr(PredictionsFile, "write", lambda self, ids, predictions: held.append(len(ids)))
    source = write(tmp_path / "a.csv", [["text"], *([text] for text in TEXTS * 2)])
    assert run("predict", model_path=single, input=source, output=tmp_path / "o.csv", batch_size=1) == 0
    assert sum(held) == 100 and max(held) == 32


def test_predict_imports_no_paddle():
    code = "import sys; import tinybert.recipes.predict, tinybert.commands.predict; sys.exit('paddle' in sys.modules)"
    import subprocess

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_next_labels_follow_all_predicted_ones():
    from tinybert.deploy.predictions_file import RowFormat
    from tinybert.deploy.predictor import Prediction

    shares = {"joy": 0.9, "love": 0.6, "fear": 0.2}
    rows = [Prediction("joy|love", 0.6, shares), Prediction("", 0.1, shares), Prediction("fear", 0.2, shares)]
    written = csv.reader(io.StringIO(RowFormat("csv", tuple(shares), top_k=3).rows(["1", "2", "3"], rows)))
    assert [row[1::2] for row in written] == [["joy|love", "fear", ""], ["", "joy", "love"], ["fear", "joy", "love"]]
    (line,) = RowFormat("jsonl", tuple(shares), top_k=2).rows(["1"], rows[:1]).splitlines()
    assert json.loads(line)["label"] == "joy|love" and [one["label"] for one in json.loads(line)["top"]] == ["joy", "love"]


def test_probabilities_are_written_without_exponents(tmp_path):
    from tinybert.deploy.predictions_file import RowFormat
    from tinybert.deploy.predictor import Prediction

    tiny = Prediction("a", 1 - 1e-9, {"a": 1 - 1e-9, "b": 1e-9})
    assert list(csv.reader(io.StringIO(RowFormat("csv", ("a", "b"), proba=True).rows(["1"], [tiny])))) == [
        ["1", "a", "1.000000", "1.000000", "0.000000"]
    ]

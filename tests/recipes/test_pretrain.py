"""Masked-LM training end to end: it learns, resumes exactly, and its output is read by augmentation, distillation and PaddleNLP."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import SPECIAL, arrays_of, classifier, word_pieces
from tinybert.cli.main import main
from tinybert.models.families import family
from tinybert.models.loading import load_encoder
from tinybert.models.masked_lm import load_masked_lm
from tinybert.models.saving import save_model

CHARACTERS = list("我们喜欢酒店的电视很好，。")
PIECES = [*SPECIAL, *CHARACTERS, *map(chr, range(0x4E80, 0x4EA0))]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Encoders without a masked-LM head, and a text that can be memorised."""
    root = tmp_path_factory.mktemp("pretrain")
    for kind in ("bert", "ernie"):
        model = classifier(kind, vocab_size=len(PIECES))
        save_model(root / kind, model, family(kind), word_pieces(PIECES), ("0", "1"))
    (root / "text.txt").write_text("我们很喜欢酒店。酒店的电视很好，我们喜欢。\n\n" * 120, encoding="utf-8")
    return root


def line(world: Path, out: Path, *more: object, kind: str = "bert") -> list[str]:
    words = [
        "pretrain",
        "--model_name_or_path",
        world / kind,
        "--input_dir",
        world / "text.txt",
        "--output_dir",
        out,
        "--max_seq_length",
        16,
    ]
    words += ["--batch_size", 8, "--held_out_sequences", 8, "--learning_rate", 0.01, "--device", "cpu", "--logging_steps", 5]
    return [str(word) for word in (*words, *more)]


@pytest.fixture(autouse=True)
def cache(world, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(world / "cache"))


@pytest.mark.parametrize("kind", ["bert", "ernie"])
def test_loss_falls_and_the_folder_is_a_masked_lm(world, tmp_path, kind):
    assert main(line(world, tmp_path / "a", "--max_steps", 40, "--save_steps", 20, kind=kind)) == 0
    log = [json.loads(entry) for entry in (tmp_path / "a/log.jsonl").read_text().splitlines()]
    losses = [entry["mlm"] for entry in log if "mlm" in entry]
    assert losses[-1] < 0.7 * losses[0]
    record = json.loads((tmp_path / "a/run.json").read_text())["pretrain"]
    assert record["finished"] and record["best"]["held_out_loss"] < losses[0]
    model = load_masked_lm(str(tmp_path / "a"))
    assert model.loaded.config.vocab_size == len(PIECES) and "fresh" not in model.report
    before, after = load_encoder(str(world / kind)), load_encoder(str(tmp_path / "a"))
    assert after.report.unused and not after.report.fresh
    assert any((x != y).any() for x, y in zip(arrays_of(before.model).values(), arrays_of(after.model).values(), strict=True))


@pytest.mark.both_lanes
def test_paddlenlp_reads_the_masked_lm_head(world, tmp_path):
    import paddle
    from paddlenlp.transformers import BertForMaskedLM

    assert main(line(world, tmp_path / "a", "--max_steps", 2)) == 0
    theirs = BertForMaskedLM.from_pretrained(str(tmp_path / "a/final_masked_lm"))
    theirs.eval()
    ours = load_masked_lm(str(tmp_path / "a/final_masked_lm"))
    ids = np.array([[2, 5, 6, 4, 8, 3]])
    hidden = ours.hidden(ids, np.zeros_like(ids), np.zeros(6, np.int64), np.arange(6))
    with paddle.no_grad():
        logits = theirs(paddle.to_tensor(ids))
    logits = logits[0] if isinstance(logits, tuple) else logits
    assert np.abs(logits.numpy().reshape(6, -1) - ours.logits(hidden).numpy()).max() < 1e-4


def test_resumed_run_ends_with_the_same_weights(world, tmp_path):
    assert main(line(world, tmp_path / "through", "--max_steps", 12, "--checkpoint_steps", 6)) == 0
    shutil.copytree(tmp_path / "through", tmp_path / "again")
    checkpoint = tmp_path / "again/checkpoints/pretrain/step_00000006"
    assert main(line(world, tmp_path / "again", "--max_steps", 12, "--checkpoint_steps", 6, "--resume", checkpoint)) == 0
    through, again = (load_masked_lm(str(tmp_path / name / "final_masked_lm")) for name in ("through", "again"))
    for one, other in ((through.loaded.model, again.loaded.model), (through.head, again.head)):
        assert all((x == y).all() for x, y in zip(arrays_of(one).values(), arrays_of(other).values(), strict=True))


def test_finished_run_is_unchanged_by_resume(world, tmp_path, capsys):
    assert main(line(world, tmp_path / "a", "--max_steps", 2)) == 0
    before = (tmp_path / "a/final_masked_lm/model_state.pdparams").stat().st_mtime_ns
    assert main(line(world, tmp_path / "a", "--max_steps", 2, "--resume", "auto")) == 0
    assert "masked-LM training is finished" in capsys.readouterr().out
    assert (tmp_path / "a/final_masked_lm/model_state.pdparams").stat().st_mtime_ns == before


def test_sequences_beyond_max_positions_are_refused(world, tmp_path, capsys):
    assert main([*line(world, tmp_path / "a"), "--max_seq_length", "64"]) == 2
    assert "--max_seq_length 64" in capsys.readouterr().err and not (tmp_path / "a").exists()

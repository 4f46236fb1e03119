"""A signal to all processes of an augmentation keeps the finished parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import masked_lm_folder

ROOT = Path(__file__).resolve().parents[2]
WORDS = [f"{a}{b}{c}" for a in "klmnp" for b in "aeio" for c in "rst"]


@pytest.mark.long
def test_signal_to_all_augmentation_processes_keeps_finished_parts(tmp_path):
    random = np.random.default_rng(0)
    masked_lm_folder(tmp_path / "mlm", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS], max_position_embeddings=40)
    rows = (f"{word} {' '.join(f'{x:.4f}' for x in random.standard_normal(6))}\n" for word in WORDS)
    (tmp_path / "glove.txt").write_text("".join(rows))
    (tmp_path / "SST-2").mkdir()
    lines = (f"{' '.join(random.choice(WORDS, 12))}\t{i % 2}\n" for i in range(6000))
    (tmp_path / "SST-2/train.tsv").write_text("sentence\tlabel\n" + "".join(lines))
    options = {
        "task_name": "SST-2", "data_dir": tmp_path / "SST-2", "pretrained_bert_model": tmp_path / "mlm",
        "glove_embs": tmp_path / "glove.txt", "output_dir": tmp_path / "out", "num_workers": 2, "N": 20, "device": "cpu",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "data_augmentation.py"), *(f"--{name}={value}" for name, value in options.items())],
        env={**os.environ, "TINYBERT_CACHE": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    limit = time.monotonic() + 120
    while not list((tmp_path / "out/.augmented_parts").glob("0*")) and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[0]
    os.killpg(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "rows are kept; continue with the same command and --resume" in said and "memory" not in said

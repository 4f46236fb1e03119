"""A signal stops pregeneration and its workers between two shards, and the same command continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.corpus.text import word_pieces, write_corpus
from tinybert.corpus.shards import open_pregenerated

ROOT = Path(__file__).resolve().parents[2]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_sigterm_keeps_whole_shards_and_leaves_no_process(tmp_path):
    write_corpus(tmp_path / "text")
    text = (tmp_path / "text").read_text() + "\n"
    (tmp_path / "text").write_text(text * (1 + (9 << 18) // len(text)))  # enough for two processes
    (tmp_path / "vocab.txt").write_text("\n".join(word_pieces().vocabulary) + "\n")
    line = [sys.executable, "-m", "tinybert", "pregenerate", "--train_corpus", str(tmp_path / "text")]
    line += ["--bert_model", str(tmp_path / "vocab.txt"), "--output_dir", str(tmp_path / "out"), "--num_workers", "2"]
    process = subprocess.Popen([*line, "--epochs_to_generate", "30"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    limit = time.monotonic() + 60
    while not (tmp_path / "out/epoch_2").is_dir() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    workers = children_of(process.pid)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "shards are kept; continue with the same command" in said
    limit = time.monotonic() + 20  # Python's own resource tracker ends shortly after its process
    while any(map(alive, workers)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert len(workers) >= 2 and not any(map(alive, workers))
    again = subprocess.run([*line, "--epochs_to_generate", "30"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0 and "shards of an earlier run" in again.stdout, again.stderr
    assert open_pregenerated(tmp_path / "out").epochs == 30

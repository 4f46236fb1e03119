"""Work on a Ray cluster: the results of one machine, although a worker is lost on the way."""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tinybert import runtime
from tinybert.cli.parser import parse
from tinybert.commands.registry import find_command
from tinybert.engine import cluster
from tinybert.engine.cluster import ClusterWorkers
from tinybert.errors import UserError

ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")


@pytest.fixture(scope="module")
def address():
    """A cluster of two machines with two CPUs and one; workers get the functions of this file by value."""
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    yield nodes.address
    nodes.shutdown()


@pytest.fixture
def lost(tmp_path, monkeypatch) -> Path:
    """The first worker to finish something is killed before it can say so, and leaves this file."""
    marker, call = tmp_path / "lost", cluster._call

    def losing(*given: object) -> object:
        found = call(*given)
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    monkeypatch.setattr(cluster, "_call", losing)
    return marker


def run(command: str, *words: object) -> None:
    known = find_command(command)
    pkgutil.resolve_name(known.recipe)(parse(known.config, [*map(str, words)]))


@pytest.fixture
def both(lost, address, tmp_path) -> Callable[..., tuple[Path, Path]]:
    """Runs a command on this machine and on the cluster; the two folders."""

    def both(command: str, *words: object) -> tuple[Path, Path]:
        folders = tmp_path / "here", tmp_path / "there"
        for folder, more in zip(folders, ((), ("--runner", "ray", "--address", address)), strict=True):
            folder.mkdir()
            run(command, *[word.format(out=folder) if isinstance(word, str) else word for word in words], *more)
        assert lost.is_file()
        return folders

    return both


def contents(folder: Path) -> dict[str, bytes]:
    """All files with results by name; records contain times and paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"}


def words(count: int) -> list[str]:
    """Random texts of the tiny vocabulary."""
    random = np.random.default_rng(0)
    return [" ".join(f"word{number}" for number in random.integers(0, 30, random.integers(3, 9))) for _ in range(count)]


def test_predictions_are_those_of_one_machine(both, tmp_path):
    tiny.model_folder(tmp_path / "model", labels=("bad", "good"))
    (tmp_path / "rows.csv").write_text("text\n" + "\n".join(words(300)) + "\n")
    more = ("--model_path", tmp_path / "model", "--input", tmp_path / "rows.csv", "--proba", "--batch_size", 2, "--threads", 1)
    here, there = both("predict", *more, "--output", "{out}/found.csv")
    assert contents(here) == contents(there) and contents(here)["found.csv"].count(b"\n") == 301


def test_augmented_rows_are_those_of_one_machine(both, tmp_path):
    letters = [f"w{letter}" for letter in "abcdefghij"]
    tiny.masked_lm_folder(tmp_path / "mlm", [*tiny.SPECIAL, *letters])
    random = np.random.default_rng(0)
    (tmp_path / "vectors.txt").write_text("".join(f"{word} {' '.join(map(str, random.standard_normal(4)))}\n" for word in letters))
    rows = [f"{' '.join(random.choice(letters, 4))},{'yes' if i % 2 else 'no'}" for i in range(600)]  # three parts
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    data = ("--train_file", tmp_path / "rows.csv", "--text_a_column", "text", "--label_column", "label", "--task_name", "own", "--N", 2)
    models = ("--pretrained_bert_model", tmp_path / "mlm", "--glove_embs", tmp_path / "vectors.txt", "--device", "cpu")
    more = ("--output_file", "{out}/train_aug.csv", "--output_dir", "{out}/record")
    here, there = both("augment", *data, *models, *more)
    assert contents(here) == contents(there) and contents(here)["train_aug.csv"].count(b"\n") > 601


def test_pregenerated_sequences_are_those_of_one_machine(both, tmp_path):
    tiny.model_folder(tmp_path / "model")
    lines = [line if i % 4 else f"\n{line}" for i, line in enumerate(words(400))]
    (tmp_path / "text.txt").write_text("\n".join(lines) + "\n")
    more = ("--train_corpus", tmp_path / "text.txt", "--bert_model", tmp_path / "model", "--max_seq_len", 16)
    here, there = both("pregenerate", *more, "--output_dir", "{out}/rows")
    assert contents(here) == contents(there) and len(contents(here)) >= 3


def test_comparison_on_a_cluster_has_the_scores_of_one_machine(teacher, both, runs_in_this_process):
    options = ("--task_name", "demo", "--device", "cpu", "--max_seq_length", 16, "--threads", 1, "--batch_size", 4, "--updates", 3)
    runs = ("--teacher_path", teacher, "--students", "teacher:2,4", "--methods", "none", "logits")
    folders = both("compare", *options, *runs, "--output_dir", "{out}/compare")
    records = [json.loads((folder / "compare" / "compare.json").read_text()) for folder in folders]
    here, there = ([(line["method"], line["scores"]) for line in record["lines"]] for record in records)
    assert here == there and all(scores for _, scores in here)


def refuse(item: int) -> int:
    if item == 3:
        raise UserError("row 3 is bad")
    return item


def threads_of(_: object) -> tuple[int, str]:
    from tinybert.compare.runner import child_environment

    return runtime.prepare(2), child_environment(2)["OMP_NUM_THREADS"]


def test_error_of_a_worker_is_that_of_the_command(address):
    with ClusterWorkers((refuse,), address, 1) as workers, pytest.raises(UserError, match="^row 3 is bad$"):
        list(workers.ordered(refuse, range(9)))


def test_worker_computes_with_its_threads_although_ray_sets_one(address):
    import paddle  # noqa: F401  a driver that has imported it makes Ray set OMP_NUM_THREADS=1

    with ClusterWorkers((threads_of,), address, 2) as workers:
        assert list(workers.ordered(threads_of, range(1))) == [(2, "2")]


def test_more_threads_than_any_machine_has_are_refused(address):
    with pytest.raises(UserError, match="no machine of the cluster has 3 CPUs, the largest has 2"), ClusterWorkers((refuse,), address, 3):
        pass


def test_cluster_on_this_machine_leaves_the_signal_handler(address):
    before = signal.getsignal(signal.SIGTERM)
    with ClusterWorkers((refuse,), None, 1) as workers:
        assert list(workers.ordered(refuse, range(3))) == [0, 1, 2] and signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGTERM) is before and not ray.is_initialized()

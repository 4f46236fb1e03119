"""Many runs in one process: a finished run frees its memory."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import paddle
import pytest

import tinybert as tb
from tests.api.conftest import STEPS

MANY = """
import json, sys
from pathlib import Path
import tinybert as tb
tb.set_verbosity("error")
folder, output, runs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
data, teacher = tb.load_task("SST-2", folder / "SST-2"), tb.load(folder / "wide")
training = tb.Training(**json.loads(sys.argv[4]))
sizes = []
for number in range(runs):
    student, folder = tb.student_from(teacher, [1, 3]), output / str(number)
    run = tb.distill(teacher, student, data, training=training, output_dir=folder, allow_weak_teacher=True)
    run.student.predict(["word1"])
    run.curves()
    sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
print(json.dumps(sizes))
"""


def test_finished_run_holds_no_tensors(folder, tmp_path):
    data, training = tb.load_task("SST-2", folder / "SST-2"), tb.Training(**STEPS)

    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, paddle.Tensor) for thing in gc.get_objects())

    def distill(number: int) -> None:
        tb.distill(
            folder / "teacher", tb.student_from(folder / "teacher", [1, 3]), data, training=training, output_dir=tmp_path / str(number),
            allow_weak_teacher=True,
        )  # fmt: skip

    distill(0)
    before = alive()
    distill(1)
    assert alive() <= before


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux' /proc to see the memory of a process")
def test_twenty_runs_in_one_process_need_the_memory_of_three(folder, tmp_path):
    from tests import tiny

    tiny.model_folder(folder / "wide", labels=("0", "1"), hidden_size=256, intermediate_size=1024)
    words = [sys.executable, "-c", MANY, str(folder), str(tmp_path), "20", json.dumps(STEPS)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    sizes = json.loads(done.stdout.splitlines()[-1])
    assert max(sizes[3:]) <= 1.05 * sizes[2], sizes

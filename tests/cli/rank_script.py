"""One rank of a distributed run under test: executes real commands in order, and records what this rank saw.

Called by `paddle.distributed.launch` as: rank_script.py <jobs> <die at step or -1>; jobs: a JSON file of [record, command, arguments].
"""

import contextlib
import functools
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tinybert.cli.main import run_script  # noqa: E402  the project must be on the path first
from tinybert.cli.process_exit import exit_process  # noqa: E402  the project must be on the path first


@contextlib.contextmanager
def recorded(folder: Path, die_at: int = -1) -> Iterator[None]:
    """Make loops in this block write the rows of every step and the final weights to `folder`; rank 1 dies where it was told to."""
    import numpy as np

    from tinybert import runtime
    from tinybert.engine.loop import Loop

    rank, one_step, run, rows = runtime.rank(), Loop._one_step, Loop.run, []
    folder.mkdir(parents=True, exist_ok=True)

    def recorded_step(self, stop):
        if self.step == die_at and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        epoch, index = self.batches.position(self.step)
        rows.append([batch.rows.tolist() for batch in self.batches.step(epoch, index) if batch.share["rows"]])
        return one_step(self, stop)

    def recorded_run(self, *arguments, **named):
        best = run(self, *arguments, **named)
        stage = self.run_folder.stage
        learned = {f"{who}|{name}": array for who, part in self.callbacks.stateful.items() for name, array in part.arrays().items()}
        np.savez(folder / f"{stage}_{rank}.npz", **{name: value.numpy() for name, value in self.layer.named_parameters()}, **learned)
        facts = {"rows": rows, "threads": runtime.threads()}
        (folder / f"{stage}_{rank}.json").write_text(json.dumps(facts))
        return best

    Loop._one_step, Loop.run = recorded_step, recorded_run
    try:
        yield
    finally:
        Loop._one_step, Loop.run = one_step, run


def main() -> int:
    """Run all jobs; stops at the first exit code that is not 0."""
    jobs, die_at = json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])
    from tinybert import devices, runtime

    runtime.prepare()
    devices.start_processes = functools.cache(devices.start_processes)  # each command joins the other ranks, which is only possible once
    for record, command, argv in jobs:
        with recorded(Path(record), die_at):
            if code := run_script(command, argv):
                return code
    return 0


if __name__ == "__main__":
    exit_process(main())

"""One rank of a distributed run under test: the real script, plus a record of what this rank saw.

Called by `paddle.distributed.launch` as: rank_script.py <record folder> <die at step or -1> <task_distill or general_distill>
<arguments of that script>.
"""

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tinybert.cli.main import run_script  # noqa: E402
from tinybert.cli.process_exit import exit_process  # noqa: E402


def main() -> int:
    """Run the script with a loop that records rows and weights, and dies where it was told to."""
    folder, die_at, script, argv = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    rank = os.environ.get("PADDLE_TRAINER_ID", "0")
    import numpy as np

    from tinybert import runtime

    runtime.prepare()
    from tinybert.engine.loop import Loop

    one_step, run, rows = Loop._one_step, Loop.run, []

    def recorded_step(self, stop):
        if self.step == die_at and rank == "1":
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
    return run_script({"task_distill": "distill", "general_distill": "general"}[script], argv)


if __name__ == "__main__":
    exit_process(main())

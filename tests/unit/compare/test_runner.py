"""The order in which the runs of a comparison are executed."""

from __future__ import annotations

import threading
from pathlib import Path

from tinybert.compare import runner


def test_first_run_stores_what_parallel_runs_read(monkeypatch):
    events: list[tuple[str, int]] = []
    both = threading.Barrier(2, timeout=20)

    def run(commands, folder, environment, stopped):
        number = int(folder.name)
        events.append(("start", number))
        if number:
            both.wait()  # passes only if two runs are executed at once
        events.append(("end", number))
        return number

    monkeypatch.setattr(runner, "run_commands", run)
    codes = {}
    runner.run_local([([], Path(str(number))) for number in range(3)], 2, 1, lambda number, code, _: codes.update({number: code}), True)
    assert events[:2] == [("start", 0), ("end", 0)] and codes == {0: 0, 1: 1, 2: 2}

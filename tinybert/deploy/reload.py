"""`python -m tinybert.deploy.reload FOLDER ROWS ANSWERS THREADS`: loads a folder in a new process, runs it on rows, reports its cost."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from tinybert.data.questions import Windows
from tinybert.data.store import TokenStore
from tinybert.data.tagged import TaggedWords
from tinybert.errors import UserError

_NONE = np.zeros(0, np.int64)


def main(words: list[str]) -> int:
    """Write the logits of the rows; the last line of stdout is JSON with load time in seconds and peak memory in megabytes."""
    folder, rows, answers, threads = words
    started = time.perf_counter()
    from tinybert.deploy.predictor import Predictor

    try:
        predictor = Predictor.open(folder, int(threads))
        loaded = time.perf_counter() - started
        with np.load(rows) as found:
            words = TaggedWords(found["labels"], found["counts"], _NONE, _NONE) if "counts" in found else None
            windows = Windows(*[_NONE] * 4, []) if found["of_windows"] else None
            store = TokenStore(found["ids"], found["offsets"], found["first"], None, {"pad_id": int(found["pad_id"])}, words, windows)
        logits = predictor.logits(store, predictor.batch_size())
    except UserError as problem:
        sys.stderr.write(f"error: {' '.join(str(problem).split())}\n")
        return 2
    np.savez(Path(answers), logits=logits)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"load_seconds": loaded, "peak_megabytes": peak}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

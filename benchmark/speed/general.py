"""Speed of general distillation: tokens per second compared with the project's own "as published" mode, and memory by size of the text.

Protocol: a 6 x 384 teacher and a 4 x 312 student, 12 heads each, both with random weights (speed does not depend on them); rows
written by `python -m tinybert pregenerate` from real text, in the order of a run, 32 per step; embedding, hidden states and attention with
the uniform map of 4 to 6 layers; whole training steps including the optimizer. The modes are those of `ladder.py`, timed as in `clock.py`.

Memory: several folders, from texts of different sizes, with one mode and the same number of steps. Reported are the peak resident set
of each, which depends on the widest batch, and the growth of the resident set, before a model is created, by opening the data and reading a
thousand of its steps from beginning to end (including mapped file pages, which the system may drop at any time).

    python benchmark/speed/general.py --pregenerated runs/pregenerated
    python benchmark/speed/general.py --pregenerated runs/1mb runs/10mb runs/45mb --modes all
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.speed.clock import chosen_steps, in_turn, table, train
from benchmark.speed.encoders import SMALL_TEACHER, STUDENTS, first_stage
from benchmark.speed.ladder import BEST, LADDER, prepare


def measure(options) -> dict:
    """In a separate process: prepare Paddle for the mode, train some steps, report."""
    features = prepare(options.mode)
    import paddle

    from tinybert.corpus.shards import open_pregenerated
    from tinybert.data.batches import Batches
    from tinybert.data.tokenizer import WordPiece
    from tinybert.models import hub

    paddle.seed(options.seed)
    tokenizer = WordPiece.from_folder(hub.resolve("all-minilm-l6-v2", "tokenizer"))
    before = _resident()
    data = open_pregenerated(options.folder, tokenizer)
    data.check(tokenizer)
    store = data.epoch(0)
    pad_to = None if "longest row" in features else data.max_seq_len
    batches = Batches(store, options.batch_size, seed=options.seed, pad_to=pad_to, bucket="by length" in features)
    for index in range(0, batches.steps_per_epoch, max(1, batches.steps_per_epoch // 1000)):
        batches.step(0, index)
    data_mb = _resident() - before
    teacher, student, objective, linear = first_stage(STUDENTS["4x312"], SMALL_TEACHER, 2)
    steps = chosen_steps(batches, options.steps) if pad_to is None else list(range(options.padded_steps))
    figures = train(features, batches, teacher, student, objective, steps, linear)
    lengths = store.lengths
    words = {"rows": len(store), "word_pieces": int(lengths.sum()), "mean_length": float(lengths.mean())}
    return {**figures, **words, "data_mb": data_mb}


def _resident() -> float:
    """The resident set of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Run every folder in every mode, alternating, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pregenerated", nargs="+", required=True, help="folders that pregenerate has written")
    parser.add_argument("--modes", default=f"{LADDER[0]},{BEST}", help=f"of: {', '.join(LADDER)}")
    parser.add_argument("--steps", type=int, default=12, help="counted steps of a process")
    parser.add_argument("--padded_steps", type=int, default=2, help="counted steps in modes that pad to the maximum: all are alike")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        print(json.dumps(measure(options)))
        return
    modes = options.modes.split(",")
    unknown = [mode for mode in modes if mode not in LADDER]
    if unknown:
        parser.error(f"unknown modes: {', '.join(unknown)}")
    runs = {f"{Path(folder).name}, {mode}": ["--mode", mode, "--folder", folder] for folder in options.pregenerated for mode in modes}
    found = in_turn(__file__, runs, options.repeats)
    for name, results in found.items():
        one = results[0]
        size = f"{one['rows']:,} rows, {one['word_pieces']:,} word pieces, mean length {one['mean_length']:.1f}"
        print(f"{name}: {size}; {statistics.median(result['data_mb'] for result in results):.0f} MB resident for the data")
    print(f"seed {options.seed}, {options.steps} steps of {options.batch_size} rows, {one['versions']}")
    print(table("data, mode", found))


if __name__ == "__main__":
    main()

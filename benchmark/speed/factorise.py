"""Time and memory of factorising a word embedding, by its d x d Gram matrix and by NumPy's thin decomposition.

Protocol: random table of 30522 x 768, rank 128, each method in its own process, alternating, `--repeats` times; median seconds, and
the largest growth of resident memory. Both methods must give the same product to 1e-3.

    python benchmark/speed/factorise.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from benchmark.speed.clock import in_turn
from benchmark.speed.encoders import peak_mb
from tinybert.prune.factorise import truncated

WAYS = ("gram", "thin")


def thin(table: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The factors from a decomposition of the whole table, without the V x V part computed by the published script."""
    u, s, vt = np.linalg.svd(table, full_matrices=False)
    return u[:, :rank] * s[:rank], vt[:rank]


def measure(way: str, words: int, width: int, rank: int) -> dict:
    """One run: seconds, growth of memory in MB, and some entries of the product."""
    table = np.random.default_rng(0).standard_normal((words, width), dtype=np.float32)
    before = peak_mb()
    started = time.perf_counter()
    factors = truncated(table, rank)[:2] if way == "gram" else thin(table, rank)
    seconds = time.perf_counter() - started
    grown = peak_mb() - before
    return {"seconds": seconds, "megabytes": grown, "product": (factors[0][:5] @ factors[1][:, :5]).ravel().tolist()}


def main() -> None:
    """Measure both methods and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=30522)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, help="measure one way once and print JSON")
    options = parser.parse_args()
    shape = options.words, options.width, options.rank
    if options.way:
        print(json.dumps(measure(options.way, *shape)))
        return
    found = in_turn(__file__, {way: ["--way", way] for way in WAYS}, options.repeats)
    difference = np.abs(np.array(found["gram"][0]["product"]) - np.array(found["thin"][0]["product"])).max()
    if not difference < 1e-3:
        sys.exit(f"the two ways differ by {difference:g}")
    for way, runs in found.items():
        seconds, memory = (statistics.median(run[name] for run in runs) for name in ("seconds", "megabytes"))
        print(f"{way}: {seconds:.2f} s, {memory:.0f} MB more")


if __name__ == "__main__":
    main()

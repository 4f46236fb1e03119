"""Rows per second of finding candidates, compared with the published procedure, on real rows.

Protocol: the first `--rows` training rows of each task; both procedures in this process, with the same model, word vectors and threads,
alternating for `--repeats` rounds; reading, loading and sampling (microseconds per row) are not timed. Published: for every word a forward
pass of one row through all layers and the head at all positions, then a full sort of the vocabulary; for every rare word all cosines and a
full sort. Ours: `Candidates.find` on parts of rows as in `data_augmentation.py`, with an empty cache of neighbours; unmasked: the same with
`--masking none`. A ratio is the median of the ratios in each round. "passes" are words that need a forward pass; "distinct" counts
those in different texts once. "shared": how many of a word's candidates are also found without masks.

    python benchmark/speed/augmentation.py --model MLM --glove glove.6B.100d.txt --glue ~/data/Glue
    python benchmark/speed/augmentation.py --model MLM --glove glove.6B.100d.txt --glue ~/data/Glue --rows 10 --repeats 1
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def published(candidates, texts: list[str], count: int) -> None:
    """One forward pass per word, batch size one, all positions, a full sort."""
    import numpy as np
    import paddle

    from tinybert.augment.eligible import is_eligible
    from tinybert.models.trace import base_of

    model, tokenizer, table = candidates.model, candidates.tokenizer, candidates.table
    base, head = base_of(model.loaded.model), model.head
    for text in texts:
        words = tokenizer.words(text)
        pieces = [list(tokenizer.ids([word])[0]) for word in words]
        flat = [piece for word in pieces for piece in word]
        at = 1
        for word, ids in zip(words, pieces, strict=True):
            if is_eligible(word) and len(ids) == 1 and at < model.positions:
                pair = [tokenizer.cls_id, *flat, tokenizer.sep_id, *flat, tokenizer.sep_id]
                segments = ([0] * (len(flat) + 2) + [1] * (len(flat) + 1))[: model.positions]
                pair[at] = tokenizer.mask_id
                with paddle.no_grad():
                    x = base(paddle.to_tensor([pair[: model.positions]]), paddle.to_tensor([segments]))[0]
                    logits = head(x).numpy()
                np.argsort(-logits[0, at])[:count]
            elif is_eligible(word) and len(ids) > 1 and (row := table.row(word)) is not None:
                np.argsort(-(table.vectors @ table.vectors[row]))[: count + 1]
            at += len(ids)


def ours(candidates, rows: list[tuple[str, ...]]) -> None:
    """Parts of rows, with repeated texts processed once."""
    from tinybert.augment.parts import ROWS

    candidates.table.forget()
    for begin in range(0, len(rows), ROWS):
        candidates.find(list(dict.fromkeys(text for row in rows[begin : begin + ROWS] for text in row)))


def seconds(work, *arguments) -> float:
    """The duration of a call."""
    begun = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begun


def main() -> None:
    """Run the protocol and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--glove", type=Path, required=True)
    parser.add_argument("--glue", type=Path, required=True, help="folder that contains one folder per task")
    parser.add_argument("--tasks", nargs="+", default=["CoLA", "SST-2", "MRPC", "RTE"])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    from tinybert import runtime, storage

    runtime.prepare(options.threads)
    from tinybert.augment.candidates import MASKED_LM, Candidates
    from tinybert.augment.word_vectors import open_word_vectors
    from tinybert.data.readers import UsedRows
    from tinybert.data.tasks import get_task
    from tinybert.models.masked_lm import load_masked_lm
    from tinybert.report.table import markdown_table

    model, table = load_masked_lm(options.model), open_word_vectors(options.glove, 100_000)
    candidates, unmasked = (Candidates(model, table, 15, masking=masking) for masking in (True, False))
    print(
        f"{options.threads} threads, medians of {options.repeats} rounds, GloVe {len(candidates.table.words)} words; {runtime.versions()}"
    )
    lines = []
    for name in options.tasks:
        used = UsedRows(get_task(name), options.glue / name, "train")
        rows = [(row.text_a,) if row.text_b is None else (row.text_a, row.text_b) for row, _ in islice(used, options.rows)]
        print(f"{name}: train sha256 {storage.sha256_of(used.path)[:12]}", flush=True)
        texts = [text for row in rows for text in row]
        distinct = list(dict.fromkeys(texts))
        masked, seen = candidates.find(distinct), unmasked.find(distinct)
        by_text = Counter(masked[masked[:, 2] == MASKED_LM, 0].tolist())
        passes = sum(by_text[distinct.index(text)] for text in texts), by_text.total()
        both = [len(set(a[3:]) & set(b[3:])) / 15 for a, b in zip(masked.tolist(), seen.tolist(), strict=True) if a[2] == MASKED_LM]
        published(candidates, texts[:1], 15)
        rounds = [
            (seconds(published, candidates, texts, 15), seconds(ours, candidates, rows), seconds(ours, unmasked, rows))
            for _ in range(options.repeats)
        ]
        rates = [f"{len(rows) / statistics.median(column):.2f}" for column in zip(*rounds, strict=True)]
        ratios = [f"{statistics.median(round[0] / round[i] for round in rounds):.1f}x" for i in (1, 2)]
        lines.append([name, *map(str, (len(rows), *passes)), *rates, *ratios, f"{statistics.mean(both):.0%}"])
    head = ["task", "rows", "passes", "distinct", "published rows/s", "ours rows/s", "unmasked rows/s", "ratio", "unmasked", "shared"]
    print(markdown_table(head, lines))


if __name__ == "__main__":
    main()

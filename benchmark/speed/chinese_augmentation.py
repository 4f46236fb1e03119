"""Rows per second of finding candidates for Chinese words, compared with one masked-LM pass per word, on real rows.

Protocol: the first `--rows` training rows of each task; all procedures in this process, with the same model and threads, alternating for
`--repeats` rounds; reading, loading and sampling are not timed. One pass per word: for every replaceable word a forward pass of one row
with all its characters masked, through all layers and the head at all positions, a full sort of the vocabulary at each character and of the
scores of all words of its class. Masked: `ChineseCandidates.of` with `--masking each` on parts of rows as in `data_augmentation.py`; its
candidates are compared with those of one pass per word. Unmasked: the same with `--masking none`, the default for Chinese, with different
candidates: "shared" is how many of a word's candidates both have. A ratio is the median of the ratios in each round.

    python benchmark/speed/chinese_augmentation.py --model MLM --data ~/data
    python benchmark/speed/chinese_augmentation.py --model MLM --data ~/data --rows 10 --repeats 1
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def one_by_one(candidates, texts: list[str]) -> list[list[list[str]]]:
    """The candidates of each word of each text: one forward pass per word, batch size one, all positions, full sorts."""
    import numpy as np
    import paddle

    from tinybert.data import chinese
    from tinybert.models.trace import base_of

    model, lexicon, tokenizer = candidates.model, candidates.lexicon, candidates.tokenizer
    base, found = base_of(model.loaded.model), []
    for text in texts:
        pieces, position_of = candidates._read(text)
        script = lexicon.traditional if chinese.is_traditional(text) else lexicon.simplified
        at, words = 0, []
        for word in chinese.words(text):
            if lexicon.is_replaceable(word):
                ids = candidates.reader.ids(pieces)[None]
                places = position_of[at : at + len(word)]
                if places[-1] < ids.shape[1]:
                    ids[0, places] = tokenizer.mask_id
                    segments = (np.arange(ids.shape[1]) >= len(pieces) + 2)[None].astype(np.int64)
                    with paddle.no_grad():
                        hidden = base(paddle.to_tensor(ids), paddle.to_tensor(segments))[0][0]
                    logits = model.logits(hidden).numpy()[places]
                    np.argsort(-logits, axis=1)
                    # all words of the class are requested, which sorts them all
                    words.append(lexicon.best(word, logits, script.scores(logits), script, 1 << 30)[: candidates.count])
            at += len(word)
        found.append(words)
    return found


def in_parts(candidates, rows: list[tuple[str, ...]]) -> dict[str, list[list[str]]]:
    """The same by text, in parts of rows, with repeated texts processed once."""
    from tinybert.augment.candidates import MASKED_LM
    from tinybert.augment.parts import ROWS

    found = {}
    for begin in range(0, len(rows), ROWS):
        texts = list(dict.fromkeys(text for row in rows[begin : begin + ROWS] for text in row))
        for text, entry in zip(texts, candidates.of(texts), strict=True):
            found[text] = [choice.candidates for choice in entry.choices if choice.route == MASKED_LM]
    return found


def timed(work, *arguments) -> tuple[float, object]:
    """The duration and the result of a call."""
    begun = time.perf_counter()
    result = work(*arguments)
    return time.perf_counter() - begun, result


def _shared(one: list[str], other: list[str]) -> float:
    return len(set(one) & set(other)) / len(one)


def main() -> None:
    """Run the protocol and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a Chinese masked LM")
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds ChnSentiCorp and Clue/AFQMC")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    from tinybert import runtime, storage

    runtime.prepare(options.threads)
    from tinybert.augment.chinese_candidates import ChineseCandidates
    from tinybert.data.readers import UsedRows
    from tinybert.data.tasks import get_task
    from tinybert.models.masked_lm import load_masked_lm
    from tinybert.report.table import markdown_table

    model = load_masked_lm(options.model)
    masked, unmasked = (ChineseCandidates(model, None, 15, masking) for masking in (True, False))
    print(f"{options.threads} threads, medians of {options.repeats} rounds; {runtime.versions()}")
    lines = []
    for name, folder in (("ChnSentiCorp", "ChnSentiCorp"), ("AFQMC", "Clue/AFQMC")):
        used = UsedRows(get_task(name), options.data / folder, "train")
        rows = [(row.text_a,) if row.text_b is None else (row.text_a, row.text_b) for row, _ in islice(used, options.rows)]
        print(f"{name}: train sha256 {storage.sha256_of(used.path)[:12]}", flush=True)
        texts = [text for row in rows for text in row]
        rounds = []
        for _ in range(options.repeats):
            ways = (timed(one_by_one, masked, texts), timed(in_parts, masked, rows), timed(in_parts, unmasked, rows))
            rounds.append([duration for duration, _ in ways])
        (_, slow), *fast = ways
        flat = [[names for words in way for names in words] for way in (slow, *([found[text] for text in texts] for _, found in fast))]
        same, shared = (statistics.mean(map(_shared, flat[0], way)) for way in flat[1:])
        rates = [f"{len(rows) / statistics.median(column):.2f}" for column in zip(*rounds, strict=True)]
        ratios = [f"{statistics.median(round[0] / round[i] for round in rounds):.1f}x" for i in (1, 2)]
        lines.append([name, str(len(rows)), str(len(flat[0])), *rates, *ratios, f"{same:.1%}", f"{shared:.0%}"])
    head = [
        "task",
        "rows",
        "passes",
        "one by one, rows/s",
        "masked",
        "unmasked",
        "ratio",
        "unmasked",
        "same candidates",
        "shared, unmasked",
    ]
    print(markdown_table(head, lines))


if __name__ == "__main__":
    main()

"""Tokens per second and memory of pregeneration, compared with the published procedure on the same text.

Protocol: the first N MB of a corpus are written with one sentence per line (by our splitter, not timed). Each run has its own process and
is timed from reading the text to the finished files, including tokenisation, excluding imports: three epochs of pairs of at most 128
tokens, with one masked token each (`--preset huawei`). The procedures alternate, `--repeats` times; medians and the ratio of the speeds are
printed, and CPU seconds, which depend less on other load. Then the peak resident set (ru_maxrss, of the largest process) for 1, 10 and
45 MB, ours with two processes. The published procedure's memory includes PaddleNLP.

    python benchmark/speed/pregeneration.py --corpus enwiki.txt --vocab bert-base-uncased-vocab.txt
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

WAYS = {
    "published": "published: 1 process, Python, JSON",
    "json": "ours, 2 processes, JSON",
    "one": "ours, 1 process, shards",
    "two": "ours, 2 processes, shards",
}
EPOCHS = 3


def write_text(corpus: Path, megabytes: float, target: Path) -> None:
    """The first `megabytes` of a corpus, one sentence per line, in whole documents."""
    from tinybert.corpus.documents import TextCorpus

    written = 0
    with open(target, "w", encoding="utf-8") as file:
        for document in TextCorpus(corpus, split=True).documents():
            text = "\n".join(document) + "\n\n"
            written += len(text.encode())
            if written > megabytes * 1e6:
                break
            file.write(text)


def run_one(way: str, text: Path, vocab: Path, output: Path) -> dict:
    """Pregenerate once in this process and measure it."""
    if way == "published":
        from published_pregeneration import BertTokenizer, pregenerate

        tokenizer = BertTokenizer(str(vocab), do_lower_case=True)
        random.seed(1)
        begun, cpu = time.perf_counter(), _cpu()
        tokens = pregenerate(text, tokenizer, vocab, output, EPOCHS)
        seconds, cpu = time.perf_counter() - begun, _cpu() - cpu
    else:
        from tinybert.cli.main import main
        from tinybert.corpus.shards import RECORD
        from tinybert.recipes import pregenerate as _  # noqa: F401  imports are not timed

        words = ["pregenerate", "--train_corpus", text, "--bert_model", vocab, "--output_dir", output, "--preset", "huawei"]
        words += [
            "--epochs_to_generate",
            EPOCHS,
            "--num_workers",
            1 if way == "one" else 2,
            "--format",
            "json" if way == "json" else "shards",
        ]
        begun, cpu = time.perf_counter(), _cpu()
        with contextlib.redirect_stdout(io.StringIO()):
            code = main([str(word) for word in words])
        seconds, cpu = time.perf_counter() - begun, _cpu() - cpu
        if code:
            raise SystemExit(code)
        tokens = sum(epoch["tokens"] for epoch in json.loads((output / RECORD).read_text())["made"])
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    return {"seconds": seconds, "cpu": cpu, "tokens": tokens, "peak": peak}


def _cpu() -> float:
    """CPU seconds of this process and of its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(way: str, text: Path, vocab: Path, folder: Path) -> dict:
    """`run_one` in a separate process."""
    with tempfile.TemporaryDirectory(dir=folder) as output:
        command = [sys.executable, __file__, "--one", way, "--text", str(text), "--vocab", str(vocab), "--output", f"{output}/data"]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def speed(text: Path, vocab: Path, folder: Path, repeats: int) -> list[list[str]]:
    """One line per procedure: tokens per second, relative to the published speed."""
    runs: dict[str, list[dict]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way, found in runs.items():
            found.append(measured(way, text, vocab, folder))
    rate = {way: statistics.median(run["tokens"] / run["seconds"] for run in found) for way, found in runs.items()}
    return [
        [
            name,
            f"{statistics.median(run['seconds'] for run in runs[way]):.2f}",
            f"{statistics.median(run['cpu'] for run in runs[way]):.2f}",
            f"{rate[way]:,.0f}",
            f"{rate[way] / rate['published']:.1f}x",
            f"{max(run['peak'] for run in runs[way]):.0f} MB",
        ]
        for way, name in WAYS.items()
    ]


def main() -> None:
    """Run the protocol and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--vocab", type=Path, required=True, help="a BERT vocabulary, one word piece a line")
    parser.add_argument("--megabytes", type=float, default=45.0, help="text of the comparison")
    parser.add_argument("--sizes", type=float, nargs="+", default=[1.0, 10.0, 45.0], help="megabytes of the memory table")
    parser.add_argument("--repeats", type=int, default=3)
    for hidden in ("--one", "--text", "--output"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        vocab = folder / "model" / "vocab.txt"
        if arguments.one:
            print(json.dumps(run_one(arguments.one, Path(arguments.text), arguments.vocab, Path(arguments.output))))
            return
        vocab.parent.mkdir()
        vocab.write_bytes(arguments.vocab.read_bytes())
        from tinybert import storage
        from tinybert.report.table import markdown_table
        from tinybert.runtime import available_cores, versions

        print(f"{arguments.corpus.name} sha256 {storage.sha256_of(arguments.corpus)[:12]}, {available_cores()} cores, {versions()}")
        text = folder / "text"
        write_text(arguments.corpus, arguments.megabytes, text)
        table = speed(text, vocab, folder, arguments.repeats)
        print(
            markdown_table(
                [f"{arguments.megabytes:g} MB of text, {EPOCHS} epochs", "seconds", "CPU seconds", "tokens/s", "ratio", "peak memory"],
                table,
            ),
            flush=True,
        )
        lines = []
        for size in arguments.sizes:
            write_text(arguments.corpus, size, text)
            lines.append([f"{size:g} MB", f"{measured('two', text, vocab, folder)['peak']:.0f} MB"])
        print(markdown_table(["text", "peak memory of ours"], lines))


if __name__ == "__main__":
    main()

"""Resident memory and data waiting time of a run over millions of rows.

Protocol: N synthetic rows (words drawn from the demo vocabulary, 3 to 20 per row) are written to a text file, tokenised into a token
store, and a 2 x 64 encoder is fine-tuned on them for some steps, each phase in its own process. Reported: the peak resident set
of each phase (ru_maxrss), its part that is mapped from files (the store itself: the system may drop it at any time), bytes of the store,
and the share of training time spent waiting for batches.

With --unlabelled the rows are texts of two or three words without labels, in five files, beside 100 labelled rows: a 2 x 64 teacher is
distilled into a 1 x 64 student with one of the files and with all five, each file tokenised in a process of its own. Reported: the highest
private memory of both phases (RssAnon, sampled every 10 ms).

    python benchmark/speed/memory.py --rows 5000000 --steps 300
    python benchmark/speed/memory.py --rows 5000000 --steps 300 --unlabelled
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.speed.encoders import peak_mb

FILES = 5  # of texts without labels


def _status(field: str) -> float:
    """A field of /proc/self/status in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return float("nan")


def write_rows(folder: Path, rows: int, texts: int = 0) -> None:
    """A task folder with `rows` training rows and 100 dev rows, a vocabulary, and five files of texts without labels."""
    import random

    words = sorted({w for line in (ROOT / "tinybert/data/demo/train.tsv").read_text().splitlines() for w in line.lower().split()})
    words = [word for word in words if word.isalpha()][:2000]
    draw = random.Random(11)
    (folder / "SST-2").mkdir()
    for name, count in (("train", rows), ("dev", 100)):
        with open(folder / "SST-2" / f"{name}.tsv", "w", encoding="utf-8") as file:
            file.write("sentence\tlabel\n")
            for _ in range(count):
                file.write(" ".join(draw.choices(words, k=draw.randint(3, 20))) + f"\t{draw.randint(0, 1)}\n")
    for number in range(FILES if texts else 0):
        with open(folder / f"texts{number}.txt", "w", encoding="utf-8") as file:
            file.writelines(" ".join(draw.choices(words, k=2 + i % 2)) + "\n" for i in range(texts // FILES))
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")


def tokenise(folder: str, queue) -> None:
    """Phase one: text to token store."""
    from tinybert.data.store import TokenStore
    from tinybert.data.tasks import get_task
    from tinybert.data.tokenizer import WordPiece

    store = TokenStore.build_or_open(get_task("SST-2"), Path(folder) / "SST-2", "train", WordPiece.from_folder(folder), 64)
    queue.put({"peak": peak_mb(), "rows": len(store), "tokens": int(store.offsets[-1])})


def train(folder: str, steps: int, queue) -> None:
    """Phase two: a small encoder trains from the store."""
    from tinybert import runtime

    runtime.prepare()
    from tinybert.commands.finetune import FinetuneConfig
    from tinybert.recipes.finetune import finetune

    write_model(folder)
    before = _status("VmRSS")
    values = {
        "task_name": "SST-2",
        "data_dir": Path(folder) / "SST-2",
        "model_name_or_path": f"{folder}/model",
        "output_dir": Path(folder) / "run",
        "max_steps": steps,
        "logging_steps": steps,
        "save_steps": steps,
        "device": "cpu",
    }
    finetune(FinetuneConfig(**values))
    lines = [json.loads(line) for line in (Path(folder) / "run" / "log.jsonl").read_text().splitlines()]
    line = next(line for line in lines if "data_wait_share" in line)
    queue.put(
        {
            "peak": peak_mb(),
            "before": before,
            "after": _status("VmRSS"),
            "private": _status("RssAnon"),
            "mapped": _status("RssFile"),
            "data_wait_share": line["data_wait_share"],
            "samples_per_second": line["samples_per_second"],
        }
    )


def write_model(folder: str) -> None:
    """A BERT of 2 x 64 with random weights."""
    from tinybert.data.tokenizer import WordPiece
    from tinybert.models.families import family
    from tinybert.models.loading import build
    from tinybert.models.saving import save_model

    tokenizer, kind = WordPiece.from_folder(folder), family("bert")
    shape = {"vocab_size": tokenizer.vocab_size, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = build(kind, {**shape, "intermediate_size": 256, "max_position_embeddings": 64, "type_vocab_size": 2}, 2, "benchmark")
    save_model(f"{folder}/model", model, kind, tokenizer, ("0", "1"))


class Watch:
    """The highest private memory of this process in MB, sampled every 10 ms."""

    def __init__(self) -> None:
        self.highest, self.done = 0.0, threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self.done.wait(0.01):
            self.highest = max(self.highest, _status("RssAnon"))


def tokenise_texts(folder: str, number: int, queue) -> None:
    """The first phase of --unlabelled."""
    from tinybert.data.custom_files import CustomFiles, with_custom_files
    from tinybert.data.store import TokenStore
    from tinybert.data.tasks import get_task
    from tinybert.data.tokenizer import WordPiece

    watch = Watch()
    task = with_custom_files(get_task("SST-2"), CustomFiles(unlabelled_file=[Path(folder) / f"texts{number}.txt"]))
    TokenStore.build_or_open(task, Path(folder) / "SST-2", "unlabelled", WordPiece.from_folder(folder), 64)
    queue.put(watch.highest)


def distil(folder: str, files: int, steps: int, queue) -> None:
    """The second phase of --unlabelled."""
    from tinybert import runtime

    runtime.prepare()
    from tinybert.commands.distill import TaskDistillConfig
    from tinybert.recipes.task_distill import task_distill

    write_model(folder)
    watch, output = Watch(), Path(folder) / f"run{files}"
    task_distill(
        TaskDistillConfig(
            task_name="SST-2", data_dir=Path(folder) / "SST-2", teacher_path=f"{folder}/model", student_init="teacher:2", method="logits",
            unlabelled_file=[Path(folder) / f"texts{number}.txt" for number in range(files)], output_dir=output, max_steps=steps,
            logging_steps=steps, save_steps=steps, device="cpu", allow_weak_teacher=True,
        )
    )  # fmt: skip
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    queue.put({"private": watch.highest, **next(line for line in lines if "data_wait_share" in line)})


def unlabelled(rows: int, steps: int) -> str:
    """The table of --unlabelled."""
    from tinybert.report.table import markdown_table

    lines = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TINYBERT_CACHE"] = f"{folder}/cache"
        write_rows(Path(folder), 100, rows)
        peaks = [_in_process(tokenise_texts, folder, number) for number in range(FILES)]
        for files in (1, FILES):
            run = _in_process(distil, folder, files, steps)
            waiting = f"{100 * run['data_wait_share']:.1f} %"
            lines.append([f"{rows // FILES * files:,}", f"{max(peaks):.0f} MB", f"{run['private']:.0f} MB", waiting])
    return markdown_table(["texts", "tokenising a file", "training", "waiting for data"], lines)


def _in_process(target, *arguments):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=target, args=(*arguments, queue))
    process.start()
    result = queue.get()
    process.join()
    return result


def main() -> None:
    """Run the protocol for a small and the requested number of rows and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--unlabelled", action="store_true")
    arguments = parser.parse_args()
    if arguments.unlabelled:
        print(unlabelled(arguments.rows, arguments.steps))
        return
    from tinybert.report.table import markdown_table

    lines = []
    for rows in (10_000, arguments.rows):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["TINYBERT_CACHE"] = f"{folder}/cache"
            write_rows(Path(folder), rows)
            tokens = _in_process(tokenise, folder)
            store = sum(path.stat().st_size for path in Path(folder, "cache").rglob("*.npy"))
            run = _in_process(train, folder, arguments.steps)
        lines.append(
            [
                f"{rows:,}",
                f"{store / 1e6:.0f} MB",
                f"{tokens['peak']:.0f} MB",
                f"{run['peak']:.0f} MB",
                f"{run['private']:.0f} MB",
                f"{run['mapped']:.0f} MB",
                f"{100 * run['data_wait_share']:.1f}%",
                f"{run['samples_per_second']:.0f}",
            ]
        )
    header = ["rows", "store", "tokenising, peak", "training, peak", "private", "mapped", "waiting for data", "samples/s"]
    print(markdown_table(header, lines))


if __name__ == "__main__":
    main()

"""Convert real data to rows for `plans/kinds.yaml`: one folder per task with `train` and `dev` in the format of its `--kind`.

    python benchmark/glue/kinds_rows.py --data ~/data --rows runs/kinds/rows

GoEmotions: the first 10,000 rows, with label names instead of numbers. CoNLL-2003: the first 5,000 sentences. Weibo: all rows,
without the position of characters in their word. CMRC 2018: the first 1,500 questions of its dev file for training, the first 400 of its
trial file as dev.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

ROWS, SENTENCES, QUESTIONS, DEV_QUESTIONS = 10_000, 5_000, 1_500, 400


def main() -> None:
    """Convert all four data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with MultiLabel, Ner and QA")
    parser.add_argument("--rows", type=Path, default=Path("runs/kinds/rows"))
    options = parser.parse_args()
    emotions(options.data / "MultiLabel" / "goemotions", folder(options.rows / "GoEmotions"))
    for name, source, most in (("CoNLL-2003", "conll2003", SENTENCES), ("weibo", "weibo", None)):
        for split in ("train", "dev"):
            text = (options.data / "Ner" / source / f"{split}.txt").read_text(encoding="utf-8")
            sentences = tagged(text, name == "weibo")[: most if split == "train" else None]
            (folder(options.rows / name) / f"{split}.conll").write_text("\n\n".join(sentences) + "\n", encoding="utf-8")
    questions(options.data / "QA" / "cmrc2018", folder(options.rows / "CMRC"))


def folder(path: Path) -> Path:
    """The folder, created if missing."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def emotions(source: Path, target: Path) -> None:
    """Text, and label names separated by bars."""
    names = (source / "labels.txt").read_text(encoding="utf-8").split()
    for split in ("train", "dev"):
        lines = ["text\tlabels"]
        for row in (source / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[: ROWS if split == "train" else None]:
            text, numbers, _ = row.split("\t")
            lines.append(f"{text}\t{'|'.join(names[int(number)] for number in numbers.split(','))}")
        (target / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def tagged(text: str, placed: bool) -> list[str]:
    """The sentences of a column file; placed: each character is followed by a digit with its position in the word."""
    blocks = [block.split("\n") for block in text.replace("\r", "").strip().split("\n\n")]
    found = [[line.split() for line in block if line.strip() and not line.startswith("-DOCSTART-")] for block in blocks]
    return ["\n".join(f"{word[:1] if placed else word} {rest[-1]}" for word, *rest in block) for block in found if block]


def questions(source: Path, target: Path) -> None:
    """The first questions of the dev file as training rows, and of the trial file as dev rows."""
    for name, split, left in (("dev", "train", QUESTIONS), ("trial", "dev", DEV_QUESTIONS)):
        content = json.loads((source / f"{name}.json").read_text(encoding="utf-8"))
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                paragraph["qas"] = paragraph["qas"][:left]
                left -= len(paragraph["qas"])
        (target / f"{split}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()

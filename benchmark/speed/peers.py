"""Whole runs of Huawei's `task_distill.py` and of a loop of PaddleNLP's classes, estimated from a part of an epoch of each stage.

    python benchmark/speed/peers.py --data ~/data --published ../Pretrained-Language-Model/TinyBERT --published_python ../torch/bin/python

Shapes, rows, lengths, batch size and epochs are those of `whole_run.py`. Each part runs twice in its own process, with 32 and with 96 rows;
the difference, divided by 64, is the time per row without start-up, which is multiplied by the rows of all epochs. Evaluation and
checkpoints of these systems are not counted, in their favour.

Huawei's script (PyTorch, CPU) runs unchanged. The loop follows PaddleNLP's example: `TinyBertForSequenceClassification`, a
`BertForSequenceClassification` as teacher in training mode, `to_distill` in stage one, rows padded to the longest in a batch.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.speed.whole_run import LENGTHS, ROWS, prepare

EPOCHS = {"intermediate": 20, "prediction": 3}
PARTS = (32, 96)  # rows of the two processes
BATCH = 32
_RANDOM_MODEL = """
import sys, torch
from transformer.modeling import BertConfig, TinyBertForSequenceClassification as Model
torch.save(Model(BertConfig.from_json_file(sys.argv[1] + "/config.json"), 2).state_dict(), sys.argv[1] + "/pytorch_model.bin")
"""


def whole_run(system: str, folder: Path, task: str, published: list[Path]) -> dict:
    """Seconds per row of both stages, and seconds of the whole run.

    folder: `teacher`, `student` and `data`, as `whole_run.prepare` writes them. published: a Python with PyTorch, Huawei's TinyBERT folder.
    """
    per_row = {}
    for stage in EPOCHS:
        few, many = (
            _published(folder, task, stage, rows, *published) if system == "published" else _loop(folder, task, stage, rows)
            for rows in PARTS
        )
        per_row[stage] = (many - few) / (PARTS[1] - PARTS[0])
    return {"per_row": per_row, "seconds": sum(epochs * ROWS["train.tsv"] * per_row[stage] for stage, epochs in EPOCHS.items())}


def _published(folder: Path, task: str, stage: str, rows: int, python: Path, source: Path) -> float:
    """Wall seconds of Huawei's script over one epoch of the first `rows` rows."""
    work = folder / "published"
    if not work.exists():
        _as_published(folder, work, python, source)
    data = work / "data"
    lines = (folder / "data/train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    (data / "train.tsv").write_text("".join(lines[: rows + 1]), encoding="utf-8")
    shutil.copy(folder / "data/dev.tsv", data)
    words = ["--data_dir", data, "--teacher_model", work / "teacher", "--student_model", work / "student", "--task_name", task]
    words += ["--output_dir", work / "out", "--max_seq_length", LENGTHS[task], "--train_batch_size", BATCH, "--num_train_epochs", 1]
    words += ["--do_lower_case", "--no_cuda", "--eval_step", 10**6, *(["--pred_distill"] if stage == "prediction" else [])]
    begun = time.monotonic()
    done = subprocess.run([python, source / "task_distill.py", *map(str, words)], cwd=source, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"task_distill.py ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return time.monotonic() - begun


def _as_published(folder: Path, work: Path, python: Path, source: Path) -> None:
    """Write a teacher and a student of these shapes with random weights, as the published scripts read them."""
    (work / "data").mkdir(parents=True)
    for name in ("teacher", "student"):
        (work / name).mkdir()
        for file in ("config.json", "vocab.txt"):
            shutil.copy(folder / name / file, work / name)
        subprocess.run([python, "-c", _RANDOM_MODEL, work / name], cwd=source, check=True)


def _loop(folder: Path, task: str, stage: str, rows: int) -> float:
    """Wall seconds of this file's loop, in a separate process."""
    command = [sys.executable, __file__, "--part", json.dumps([str(folder), task, stage, rows])]
    begun = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return time.monotonic() - begun


def loop(folder: Path, task: str, stage: str, rows: int) -> None:
    """One epoch of the first `rows` rows with PaddleNLP's classes."""
    from tinybert import runtime
    from tinybert.data.readers import read_split
    from tinybert.data.tasks import get_task

    to_distill = runtime.paddlenlp("transformers.distill_utils").to_distill
    bert, tinybert = (runtime.paddlenlp(f"transformers.{name}.modeling") for name in ("bert", "tinybert"))
    tokenizer = runtime.paddlenlp("transformers.bert.tokenizer").BertTokenizer(str(folder / "teacher/vocab.txt"))
    import paddle
    from paddle.nn.functional import mse_loss, softmax

    found = read_split(get_task(task), folder / "data", "train")
    texts = list(zip(found.text_a, found.text_b, strict=True)) if found.text_b else [(text,) for text in found.text_a]
    teacher = bert.BertForSequenceClassification.from_pretrained(str(folder / "teacher"))
    student = tinybert.TinyBertForSequenceClassification.from_pretrained(str(folder / "student"), fit_size=teacher.config["hidden_size"])
    for model in (teacher, student):
        model.train()
        if stage == "intermediate":
            to_distill(model, return_attentions=True, return_layer_outputs=True)
    optimizer = paddle.optimizer.AdamW(5e-5, parameters=student.parameters())
    every = teacher.config["num_hidden_layers"] // student.config["num_hidden_layers"]
    for start in range(0, rows, BATCH):
        encoded = [tokenizer(*text, max_length=LENGTHS[task], truncation=True) for text in texts[start : min(start + BATCH, rows)]]
        batch = tokenizer.pad(encoded, return_tensors="pd", return_attention_mask=False)
        with paddle.no_grad():
            taught = teacher(batch["input_ids"], batch["token_type_ids"])
        logits = student(batch["input_ids"], batch["token_type_ids"])
        if stage == "prediction":
            loss = -(softmax(taught) * paddle.log(softmax(logits))).mean()
        else:
            ours, theirs, fit = student.outputs, teacher.outputs, student.tinybert.fit_denses
            loss = sum(mse_loss(scores, theirs.attentions[every * (i + 1) - 1]) for i, scores in enumerate(ours.attentions))
            loss += sum(mse_loss(fit[i](state), theirs.hidden_states[every * i]) for i, state in enumerate(ours.hidden_states))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tasks", default="SST-2,MRPC")
    parser.add_argument("--published", type=Path, help="Huawei's TinyBERT folder")
    parser.add_argument("--published_python", type=Path, help="a Python with PyTorch and what Huawei's script imports")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        folder, *rest = json.loads(options.part)
        loop(Path(folder), *rest)
        return
    for task in options.tasks.split(","):
        with tempfile.TemporaryDirectory() as name:
            prepare(options.data, task, Path(name))
            for system in ("paddlenlp", *(["published"] if options.published else [])):
                published = [options.published_python, options.published]
                found = whole_run(system, Path(name), task, published)
                print(task, system, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()

"""Inference speed of BERT-base's shape and 4 x 312 by engine: times including tokenisation, and sizes on disk.

    python benchmark/speed/inference.py --output inference.json [--threads 2] [--rounds 15]

Random weights (speed does not depend on them) and texts of whole words of the published English vocabulary with exactly 1 x 32,
1 x 128 and 32 x 64 tokens. Every engine's logits are compared with the model's in dygraph before its times count. All candidates
alternate, call by call, in one run with two processes: one with Paddle as installed and as used by PaddleNLP's users
(`BertTokenizer` in Python, `paddle.to_tensor`, the class's own forward pass), and one with everything else with `--threads` threads.

Printed: milliseconds (median), BERT-base relative to 4 x 312 in the same engine, the factors from BERT-base as installed to the fastest
4 x 312 at 1 x 32, the breakdown of the fastest one's time, and the sizes of float32, int8, and int8 with 11,562 tokens (those of SST-2's
texts).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHAPES = ((1, 32), (1, 128), (32, 64))
MODELS = {"base": ("bert", "TEACHER"), "4x312": ("tinybert", "4x312")}
ENGINES = (("model", "float32"), ("paddle", "float32"), ("paddle", "bfloat16"), ("onnx", "float32"), ("onnx", "int8"))
ENGINES += (("openvino", "float32"), ("openvino", "bfloat16"), ("openvino", "int8"))
ONLY_STUDENT = (("onnx", "int8"), ("openvino", "int8"))  # not needed for BERT-base, and calibration takes minutes
PIECES = 11_562
LOOSE = {"float32": 1e-3, "bfloat16": 0.1, "int8": 0.6}  # of logits, relative to the largest (at least 1)


def main() -> None:
    """Write the models, time them, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the JSON file of every number")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15, help="calls of each candidate at each shape; a third of them at 32 x 64")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.output, options.threads)
        return
    with tempfile.TemporaryDirectory() as name:
        sizes = write(Path(name), options.threads)
        found = timed(Path(name), options.threads, options.rounds)
    record = {"threads": options.threads, "rounds": options.rounds, "sizes_megabytes": sizes, **found}
    options.output.write_text(json.dumps(record, indent=1))
    print(report(record))


# === Models and texts ===


def write(folder: Path, threads: int) -> dict[str, float]:
    """Write all models and exports to a folder; returns sizes in megabytes."""
    from tinybert import runtime

    runtime.prepare(threads)
    from benchmark.speed import encoders
    from tinybert.data.tokenizer import WordPiece
    from tinybert.deploy.measure import megabytes
    from tinybert.deploy.vocabulary import with_vocabulary
    from tinybert.models import hub
    from tinybert.models.configuration import TrainedOn
    from tinybert.models.families import family
    from tinybert.models.loading import LoadedModel, LoadReport
    from tinybert.models.saving import save_model

    tokenizer = WordPiece.from_folder(hub.resolve("all-minilm-l6-v2", "tokenizer"))
    sizes = {}
    for name, (kind, shape) in MODELS.items():
        model = encoders.encoder(kind, encoders.TEACHER if shape == "TEACHER" else encoders.STUDENTS[shape], 2)
        model.eval()
        loaded = LoadedModel(model, family(kind), tokenizer, ("no", "yes"), {}, LoadReport(name))
        rows = TrainedOn("benchmark", False, 128)
        save_model(folder / name / "model-float32", model, family(kind), tokenizer, ("no", "yes"), trained_on=rows)
        models = {"": loaded}
        if name == "4x312":
            used = np.random.default_rng(0).choice(np.arange(1000, tokenizer.vocab_size), PIECES - 5, replace=False)
            models[" pruned"] = with_vocabulary(loaded, used)[0]
        for suffix, one in models.items():
            for form, precision in ENGINES[1:]:
                if (form, precision) in ONLY_STUDENT and name == "base" or suffix and (form, precision) not in ONLY_STUDENT:
                    continue
                target = folder / name / f"{form}-{precision}{suffix}"
                export(one, target, form, precision, rows)
                sizes[f"{name} {form} {precision}{suffix}"] = megabytes(target)
    return sizes


def export(loaded, folder: Path, form: str, precision: str, rows) -> None:
    """One export without evaluation, because its weights are random."""
    from tinybert import storage
    from tinybert.deploy.engine import INPUTS, check_rows, engine_module
    from tinybert.deploy.onnx_file import write_onnx
    from tinybert.models.saving import config_dict

    class Source:
        def __init__(self) -> None:
            self.loaded, self.onnx = loaded, folder / "source.onnx"

        def calibration(self) -> list[dict]:
            random = np.random.default_rng(1)
            ids = [random.integers(5, loaded.tokenizer.vocab_size, (1, length)) for length in random.integers(8, 64, 60)]
            return [dict(zip(INPUTS, (one, np.zeros_like(one)), strict=True)) for one in ids]

    folder.mkdir(parents=True)
    source = Source()
    write_onnx(source.onnx, loaded)
    engine_module(form).export(folder, precision, source)
    source.onnx.unlink()
    storage.write_json(folder / "config.json", config_dict(loaded.model, loaded.family, loaded.labels) | rows.entry())
    loaded.tokenizer.save(folder)
    record = {"format": form, "precision": precision, "engine": form}
    engine = engine_module(form).open_engine(folder, record, 1)
    ids, segments = check_rows(loaded.tokenizer.pad_id, loaded.tokenizer.vocab_size)
    check = {
        "input_ids": ids.tolist(),
        "token_type_ids": segments.tolist(),
        "logits": engine.logits(ids, segments).tolist(),
        "tolerance": 1.0,
    }
    storage.write_json(folder / "export.json", record | {"check": check})


def texts_of(shape: tuple[int, int], vocabulary: list[str]) -> list[str]:
    """Texts whose rows have exactly this many tokens, including [CLS] and [SEP]."""
    words = [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 3]
    picked = np.random.default_rng(2).choice(words, (shape[0], shape[1] - 2))
    return [" ".join(row) for row in picked]


# === Workers: read lines with a candidate and a shape, write lines with seconds ===


def work(side: str, folder: Path, threads: int) -> None:
    """Answer the parent until it closes the pipe."""
    candidates = (installed if side == "installed" else prepared)(folder, threads)
    from tinybert.data.tokenizer import WordPiece

    vocabulary = WordPiece.from_folder(folder / "base" / "model-float32").vocabulary
    texts = {shape: texts_of(shape, vocabulary) for shape in SHAPES}
    sys.stdout.write(json.dumps(sorted(candidates)) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        name, shape = json.loads(line)
        begun = time.perf_counter()
        tokenised, answer = candidates[name](texts[tuple(shape)])
        found = {"seconds": time.perf_counter() - begun, "tokenise": tokenised - begun, "logits": np.asarray(answer)[:4].tolist()}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


def installed(folder: Path, threads: int) -> dict:
    """Paddle as installed, as used by PaddleNLP's users."""
    from tinybert import runtime

    runtime.prepare(as_installed=True)
    import paddle

    from tinybert.models.loading import load_pretrained

    tokenizer = runtime.paddlenlp("transformers.bert.tokenizer").BertTokenizer.from_pretrained(str(folder / "base" / "model-float32"))

    def candidate(model):
        def run(texts: list[str]):
            encoded = tokenizer(texts, max_length=128, padding=True, truncation=True)
            tokenised = time.perf_counter()
            with paddle.no_grad():
                logits = model(paddle.to_tensor(encoded["input_ids"]), paddle.to_tensor(encoded["token_type_ids"]))
                return tokenised, logits.numpy()

        return run

    found = {}
    for name in MODELS:
        model = load_pretrained(str(folder / name / "model-float32"))[0].model
        model.eval()
        found[f"{name} as installed"] = candidate(model)
    return found


def prepared(folder: Path, threads: int) -> dict:
    """This project's own dygraph engine and all exports."""
    from tinybert.deploy.predictor import Predictor

    def candidate(predictor: Predictor):
        def run(texts: list[str]):
            store, _ = predictor.encode(texts)
            tokenised = time.perf_counter()
            return tokenised, predictor.logits(store, len(texts))

        return run

    return {
        f"{name} {form} {precision}": candidate(Predictor.open(folder / name / f"{form}-{precision}", threads))
        for name in MODELS
        for form, precision in ENGINES
        if (folder / name / f"{form}-{precision}").exists()
    }


class Worker:
    """A process that runs candidates on request."""

    def __init__(self, side: str, folder: Path, threads: int) -> None:
        command = [sys.executable, __file__, "--worker", side, "--output", str(folder), "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.candidates = self._read()

    def run(self, name: str, shape: tuple[int, int]) -> dict:
        """One call of a candidate."""
        self.process.stdin.write(json.dumps([name, shape]) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self):
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise SystemExit("a worker ended; its messages are above")
            if line.startswith(("[", "{")) and not line.startswith("[Paddle"):
                return json.loads(line)


def timed(folder: Path, threads: int, rounds: int) -> dict:
    """Median milliseconds by candidate and shape, in total and for tokenisation, and differences of logits."""
    workers = [Worker(side, folder, threads) for side in ("installed", "prepared")]
    turns = [(name, worker) for worker in workers for name in worker.candidates]
    whole: dict[str, dict[str, float]] = {name: {} for name, _ in turns}
    tokenise: dict[str, dict[str, float]] = {name: {} for name, _ in turns}
    apart: dict[str, float] = {}
    for shape in SHAPES:
        title = f"{shape[0]} x {shape[1]}"
        found: dict[str, list[dict]] = {name: [] for name, _ in turns}
        for _ in range(2 + (rounds if shape[0] == 1 else max(3, rounds // 3))):
            for name, worker in turns:
                found[name].append(worker.run(name, shape))
        for name, calls in found.items():
            whole[name][title] = 1000 * statistics.median(call["seconds"] for call in calls[2:])
            tokenise[name][title] = 1000 * statistics.median(call["tokenise"] for call in calls[2:])
            expected = np.array(found[f"{name.split()[0]} model float32"][0]["logits"])
            difference = float(np.abs(np.array(calls[0]["logits"]) - expected).max())
            apart[name] = max(apart.get(name, 0.0), difference)
            precision = next((word for word in LOOSE if word in name), "float32")
            if not difference <= LOOSE[precision] * max(1.0, float(np.abs(expected).max())):
                raise SystemExit(f"{name} answers otherwise than the model ({difference:.3g} at {title}): its times count for nothing")
    for worker in workers:
        worker.process.stdin.close()
        worker.process.wait()
    return {"milliseconds": whole, "tokenise_milliseconds": tokenise, "logit_difference": apart}


# === Tables ===


def report(record: dict) -> str:
    """The tables as Markdown."""
    from tinybert.report.table import markdown_table

    times, shapes = record["milliseconds"], [f"{rows} x {width}" for rows, width in SHAPES]
    lines = [f"{record['threads']} threads; as installed: Paddle's own default\n"]
    rows = [[name, *(f"{times[name][shape]:.2f}" for shape in shapes), f"{record['logit_difference'][name]:.2g}"] for name in times]
    lines.append(markdown_table(["ms, tokenisation included", *shapes, "logits by"], rows))
    engines = [name.removeprefix("base ") for name in times if name.startswith("base ") and f"4x312 {name.removeprefix('base ')}" in times]
    rows = [
        [engine, *(f"{times[f'base {engine}'][shape] / times[f'4x312 {engine}'][shape]:.1f}" for shape in shapes)] for engine in engines
    ]
    lines.append(markdown_table(["BERT-base / 4 x 312, same engine", *shapes], rows))
    lines.append(markdown_table(["1 x 32", "ms", "factor"], steps(times)))
    fastest = min((name for name in times if name.startswith("4x312")), key=lambda name: times[name]["1 x 32"])
    share = record["tokenise_milliseconds"][fastest]["1 x 32"]
    lines.append(f"{fastest} at 1 x 32: {share:.2f} ms tokenisation, {times[fastest]['1 x 32'] - share:.2f} ms the engine")
    sizes = record["sizes_megabytes"]
    whole = {form: sizes[f"4x312 {form} float32"] for form in ("onnx", "openvino")}
    rows = [
        [name, f"{size:.1f}", f"{100 * size / whole.get(name.split()[1], size):.1f}"] for name, size in sizes.items() if "4x312" in name
    ]
    lines.append(markdown_table(["on disk", "MB", "% of float32"], rows))
    return "\n\n".join(lines)


def steps(times: dict[str, dict[str, float]]) -> list[list[str]]:
    """From BERT-base as installed to the fastest export of 4 x 312, one change at a time."""
    at = {name: found["1 x 32"] for name, found in times.items()}
    exact = min((name for name in at if name.startswith("4x312") and name.endswith("float32") and "model" not in name), key=at.get)
    fastest = min((name for name in at if name.startswith("4x312")), key=at.get)
    chain = [
        ("BERT-base as installed", "base as installed"),
        ("shape: 4 x 312", "4x312 as installed"),
        ("settings: threads, flags, allocator, tokenizer", "4x312 model float32"),
        (f"engine: {exact.split()[1]}", exact),
        (f"precision: {fastest.split(maxsplit=1)[1]}", fastest),
    ]
    rows = [[title, f"{at[name]:.2f}", "" if i == 0 else f"{at[chain[i - 1][1]] / at[name]:.2f}"] for i, (title, name) in enumerate(chain)]
    return [*rows, ["together", "", f"{at['base as installed'] / at[fastest]:.1f}"]]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()

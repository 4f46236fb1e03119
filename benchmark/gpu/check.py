"""Checks everything in which a GPU may differ from a CPU, and writes a report.

        python benchmark/gpu/check.py                      # gpu:0, and gpu:1 if there are two; takes some minutes
        python benchmark/gpu/check.py --device gpu:1 --checks golden,amp
        python benchmark/gpu/check.py --device cpu         # tests the script itself; checks that need a GPU are skipped

Run it in a checkout, in an environment with the GPU build of Paddle, `pip install .` and pytest. Each check has its own process,
so a crash does not affect the others. `report.md` and `report.json` are written to `--output_dir`. Exit code: 0 all checks passed, 1 a
check failed, 2 there is no GPU, or invalid arguments.

TF32 is disabled where numbers are compared (NVIDIA_TF32_OVERRIDE=0) and keeps its default where steps are timed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

STEPS, WARM_UP = 20, 2
CLOSE = 1e-3  # relative tolerance of the loss: float32 on two devices, after STEPS updates
CLOSE_AMP = 0.05  # the same for half precision
SECONDS = 1800  # per check


@dataclass
class Finding:
    """The result of a check. passed: None if it was skipped."""

    passed: bool | None
    words: str
    figures: dict = field(default_factory=dict)


# === The checks: each runs in a separate process, with Paddle prepared and the device set ===


def golden(device: str, folder: Path) -> Finding:
    """All golden fixtures of tests/parity on the device: the values were computed by the published code on a CPU."""
    import pytest

    results = folder / "golden.xml"
    os.chdir(ROOT)
    pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--junitxml={results}", "tests/parity"])
    cases = ElementTree.parse(results).getroot().findall(".//testcase")
    problems = {case.get("name"): (case.find("failure") if case.find("failure") is not None else case.find("error")) for case in cases}
    failed = {name: (node.get("message") or "")[:300] for name, node in problems.items() if node is not None}
    passed = len(cases) - len(failed) - sum(case.find("skipped") is not None for case in cases)
    return Finding(passed > 0 and not failed, f"{passed} of {len(cases)} hold", {"passed": passed, "failed": failed})


def against_cpu(device: str, folder: Path) -> Finding:
    """A short run in both stages, without dropout: the losses on the device compared with those on the CPU."""
    if device == "cpu":
        return Finding(None, "this is the CPU")
    return _compared(_losses(_run(folder, device, "device")), _losses(_run(folder, "cpu", "cpu")), CLOSE)


def amp(device: str, folder: Path) -> Finding:
    """Mixed precision, O1 and O2 in float16 and bfloat16, compared with float32 on the same device."""
    if device == "cpu":
        return Finding(None, "the CPU has no mixed precision")
    import tinybert as tb

    plain, figures, good = _losses(_run(folder, device, "float32")), {}, True
    for level in ("O1", "O2"):
        for dtype in ("float16", "bfloat16"):
            try:
                run = _run(folder, device, f"{level}-{dtype}", amp=level, amp_dtype=dtype)
            except tb.UserError as error:
                figures[f"{level} {dtype}"] = f"refused: {error}"
                continue
            found = _compared(_losses(run), plain, CLOSE_AMP)
            skipped = max(line.get("skipped_steps", 0) for line in run.history)
            figures[f"{level} {dtype}"] = found.figures | {"skipped_steps": skipped}
            good &= bool(found.passed)
    return Finding(good, "losses within 5 % of float32's" if good else "losses differ by more than 5 % from float32's", figures)


def two_cards(device: str, folder: Path) -> Finding:
    """Two processes with half of the rows of each step, compared with one process; with device cpu, two CPU processes."""
    import paddle

    kind = device.partition(":")[0]
    if kind != "cpu" and paddle.device.cuda.device_count() < 2:
        return Finding(None, "there is one card")
    whole = _losses(_run(folder, device, "one"))
    words = [f"--{name}={value}" for name, value in _values(folder, kind, folder / "two", batch_size=4).items()]
    logs = str(folder / "logs")
    launcher = [sys.executable, "-m", "paddle.distributed.launch", "--devices", "0,1", "--log_dir", logs, "task_distill.py"]
    if kind == "cpu":
        launcher = [sys.executable, "-m", "tinybert", "launch", "--processes", "2", "distill"]
    done = subprocess.run([*launcher, *words], cwd=ROOT, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        return Finding(False, f"two processes ended with {done.returncode}: {(done.stdout + done.stderr)[-800:]}")
    import tinybert as tb

    return _compared(_losses(tb.open_run(folder / "two")), whole, CLOSE)


def resume(device: str, folder: Path) -> Finding:
    """An interrupted and resumed run compared with an uninterrupted one: bitwise identical weights on a deterministic device."""
    import numpy as np

    import tinybert as tb

    class Crash(tb.Callback):
        def on_log(self, state):
            if state.step == STEPS // 2:
                raise RuntimeError("ended on purpose")

    more = {"checkpoint_steps": 3, "stage": "prediction"}
    whole = _run(folder, device, "whole", **more)
    again = _run(folder, device, "again", **more)
    try:
        _run(folder, device, "cut", callbacks=[Crash()], **more)
    except RuntimeError:
        resumed = _run(folder, device, "cut", resume="auto", **more)
    weights = [{name: value.numpy() for name, value in run.student.loaded.model.state_dict().items()} for run in (whole, again, resumed)]
    repeated, found = (
        max(float(np.abs(weights[0][name] - other[name]).max()) for name in weights[0]) for other in (weights[1], weights[2])
    )
    figures = {"difference_of_two_whole_runs": repeated, "difference_of_the_resumed_run": found}
    return Finding(found <= max(2 * repeated, 0.0 if repeated == 0 else 1e-5), f"largest difference of a weight: {found:.3g}", figures)


def step_times(device: str, folder: Path) -> Finding:
    """Milliseconds per training step of stage one, and memory, compared with a plain loop over PaddleNLP's classes."""
    small = device == "cpu"  # only tests the script
    shape = {"layers": 2, "hidden": 64, "heads": 4} if small else {"layers": 12, "hidden": 768, "heads": 12}
    student = {"layers": 1, "hidden": 48, "heads": 4} if small else {"layers": 4, "hidden": 312, "heads": 12}
    rows, length, count = (4, 16, 2) if small else (32, 128, 30)
    times = {name: _milliseconds(make(shape, student, rows, length), count) for name, make in LOOPS.items()}
    ours, theirs = (times[name]["ms"] for name in LOOPS)
    figures = {**times, "ratio": round(theirs / ours, 3), "teacher": shape, "student": student, "rows": rows, "tokens": length}
    return Finding(True, f"{ours:.1f} ms a step, PaddleNLP's classes {theirs:.1f} ms", figures)


CHECKS = {check.__name__: check for check in (golden, against_cpu, amp, two_cards, resume, step_times)}


# === Short runs ===


def _world(folder: Path) -> None:
    """Learnable rows, and a teacher without dropout, because random numbers differ between devices."""
    from tests import tiny

    if not (folder / "teacher").is_dir():
        tiny.learnable_rows(folder / "SST-2", {"train": 48, "dev": 24}, seed=1)
        tiny.model_folder(folder / "teacher", labels=("0", "1"), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def _values(folder: Path, device: str, output: Path, **more: object) -> dict[str, object]:
    """The options of a short run: eight rows per step, every loss logged."""
    return {
        "task_name": "SST-2", "data_dir": folder / "SST-2", "teacher_path": str(folder / "teacher"), "student_init": "teacher:1,3",
        "output_dir": output, "stage": "both", "batch_size": 8, "max_seq_length": 16, "learning_rate": 1e-3, "max_steps": STEPS,
        "logging_steps": 1, "save_steps": STEPS, "device": device, "allow_weak_teacher": True,
        "teacher_traces": "live", **more,
    }  # fmt: skip


def _run(folder: Path, device: str, name: str, callbacks=(), **more: object):
    """The run with these options in this process."""
    import tinybert as tb
    from tinybert.api.process import run_command
    from tinybert.user_objects import UserObjects

    run_command("distill", _values(folder, device, folder / name, **more), UserObjects(callbacks))
    return tb.open_run(folder / name)


def _losses(run) -> list[float]:
    return [line["loss"] for line in run.history if "loss" in line]


def _compared(found: list[float], expected: list[float], close: float) -> Finding:
    """The losses of two runs by step."""
    import numpy as np

    if len(found) != len(expected) or not np.isfinite(found).all():
        return Finding(False, f"{len(found)} losses against {len(expected)}, or some are not finite", {"losses": found})
    largest = float((np.abs(np.subtract(found, expected)) / np.maximum(np.abs(expected), 1e-3)).max())
    return Finding(largest <= close, f"losses differ by {largest:.2g} of their value at most", {"difference": largest, "last": found[-1]})


# === Step times ===


def _classes(*shapes: dict) -> list:
    from tinybert import runtime

    kind = runtime.paddlenlp("transformers.bert.modeling").BertForSequenceClassification
    config = runtime.paddlenlp("transformers.bert.configuration").BertConfig
    return [kind(config(30522, of["hidden"], of["layers"], of["heads"], 4 * of["hidden"], num_labels=2)) for of in shapes]


def _batch(rows: int, length: int):
    import numpy as np
    import paddle

    from tinybert.models.trace import Inputs

    random = np.random.default_rng(0)
    mask = (np.arange(length) < random.integers(length // 2, length + 1, rows)[:, None]).astype("float32")
    ids = (random.integers(1000, 30000, (rows, length)) * mask).astype("int64")
    tensors = (paddle.to_tensor(array) for array in (ids, np.zeros_like(ids), mask))
    return Inputs(*tensors, paddle.to_tensor(random.integers(0, 2, rows)))


def _our_step(shape: dict, student: dict, rows: int, length: int) -> Callable[[], float]:
    from tinybert.engine.optimizers import create_optimizer
    from tinybert.mapping import LayerMap
    from tinybert.models.projections import Projection
    from tinybert.objectives.tinybert import intermediate_objective
    from tinybert.objectives.trained_layer import Teacher, TrainedLayer

    (teacher_model, model), inputs = _classes(shape, student), _batch(rows, length)
    projection = Projection("shared", student["layers"], student["hidden"], shape["hidden"])
    objective = intermediate_objective(LayerMap.create("uniform", student["layers"], shape["layers"]), projection)
    layer, teacher = TrainedLayer(model, objective), Teacher(teacher_model, objective.needs_teacher)
    layer.freeze_unreached(inputs, teacher(inputs))
    layer.train()
    optimizer = create_optimizer(layer, "adamw", weight_decay=0.01, epsilon=1e-6, max_grad_norm=1.0, grad_clip="global")
    return lambda: _update(layer(inputs, teacher(inputs))["loss"], optimizer)


def _paddlenlp_step(shape: dict, student: dict, rows: int, length: int) -> Callable[[], float]:
    import paddle
    from paddle.nn.functional import mse_loss

    (teacher, model), inputs = _classes(shape, student), _batch(rows, length)
    project = paddle.nn.Linear(student["hidden"], shape["hidden"])
    teacher.eval()
    parameters = [*model.parameters(), *project.parameters()]
    clip = paddle.nn.ClipGradByGlobalNorm(1.0)
    optimizer = paddle.optimizer.AdamW(1e-4, parameters=parameters, weight_decay=0.01, grad_clip=clip)
    every = shape["layers"] // student["layers"]

    def outputs(of):
        found = of(
            inputs.input_ids, inputs.token_type_ids, attention_mask=inputs.attention_mask.unsqueeze([1, 2]).astype("float32") * 1e4 - 1e4,
            output_hidden_states=True, output_attentions=True, return_dict=True,
        )  # fmt: skip
        return found.hidden_states, found.attentions

    def step() -> float:
        with paddle.no_grad():
            taught, looked_at = outputs(teacher)
        hidden, attention = outputs(model)
        loss = sum(mse_loss(project(own), taught[every * i]) for i, own in enumerate(hidden))
        loss += sum(mse_loss(own, looked_at[every * (i + 1) - 1]) for i, own in enumerate(attention))
        return _update(loss, optimizer)

    return step


def _update(loss, optimizer) -> float:
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    return float(loss)  # waits for the device


LOOPS = {"tinybert": _our_step, "PaddleNLP's classes": _paddlenlp_step}


def _milliseconds(step: Callable[[], float], count: int) -> dict:
    import paddle

    cuda, seconds = paddle.device.get_device().startswith("gpu"), []
    if cuda and hasattr(paddle.device.cuda, "reset_max_memory_allocated"):  # not in Paddle 2.6
        paddle.device.cuda.reset_max_memory_allocated()
    for _ in range(WARM_UP + count):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    memory = {"peak_gib": round(paddle.device.cuda.max_memory_allocated() / 2**30, 3)} if cuda else {}
    return {"ms": round(1000 * statistics.median(seconds[WARM_UP:]), 2), **memory}


# === The report ===


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}


def part(name: str, device: str, folder: Path) -> None:
    """Run one check in this process; its result is the last line printed."""
    from tinybert import devices, runtime

    runtime.prepare()
    used = devices.set_device(device)
    _world(folder)
    print("\n" + json.dumps(asdict(CHECKS[name](used, folder)), default=str))


def outcome(name: str, device: str) -> Finding:
    """Run one check in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**_environment(), "TINYBERT_CACHE": str(Path(folder) / "cache")}
        if name != "step_times":
            environment["NVIDIA_TF32_OVERRIDE"] = "0"
        command = [sys.executable, __file__, "--part", name, "--device", device, "--output_dir", folder]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return Finding(False, f"not finished after {SECONDS} seconds")
    try:
        return Finding(**json.loads(done.stdout.strip().splitlines()[-1]))
    except (IndexError, TypeError, ValueError):
        return Finding(False, f"ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")


def surroundings(device: str) -> dict:
    """Versions, GPUs and driver."""
    import paddle

    from tinybert import runtime

    found = {"device": device, **runtime.versions(), "cuda": str(paddle.version.cuda()), "cudnn": str(paddle.version.cudnn())}
    if device.startswith("gpu"):
        count = paddle.device.cuda.device_count()
        cards = [paddle.device.cuda.get_device_properties(index) for index in range(count)]
        found["cards"] = [f"{card.name}, {card.major}.{card.minor}, {card.total_memory / 2**30:.0f} GiB" for card in cards]
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            found["driver"] = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
        except (OSError, subprocess.CalledProcessError, IndexError):
            found["driver"] = "unknown"
    return found


def markdown(about: dict, findings: dict[str, Finding]) -> str:
    """The report as Markdown."""
    from tinybert.report.table import markdown_table

    words = {True: "passed", False: "FAILED", None: "left out"}
    rows = [[name, words[found.passed], found.words.splitlines()[0][:200]] for name, found in findings.items()]
    lines = [f"* {name}: {', '.join(value) if isinstance(value, list) else value}" for name, value in about.items()]
    details = [f"## {name}\n\n```json\n{json.dumps(found.figures, indent=1)}\n```" for name, found in findings.items() if found.figures]
    return "\n\n".join(["# GPU check", "\n".join(lines), markdown_table(["check", "result", "what was found"], rows), *details]) + "\n"


def main() -> int:
    """Run the checks, write the report; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="gpu:0", help="gpu:0, another card, or cpu to try the script")
    parser.add_argument("--checks", default=",".join(CHECKS), help=f"of: {', '.join(CHECKS)}")
    parser.add_argument("--output_dir", type=Path, default=Path("gpu_report"), help="the folder of report.md and report.json")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        part(options.part, options.device, options.output_dir)
        return 0
    chosen = options.checks.split(",")
    if unknown := [name for name in chosen if name not in CHECKS]:
        parser.error(f"unknown checks: {', '.join(unknown)}; there are: {', '.join(CHECKS)}")
    from tinybert import devices, runtime
    from tinybert.errors import UserError

    try:
        runtime.prepare()
        if options.device.startswith("gpu") and "gpu" not in devices.device_kinds():
            raise UserError("this Paddle sees no GPU; python -m tinybert doctor says what is there. --device cpu tries the script itself.")
        device = devices.set_device(options.device)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    about, findings = surroundings(device), {}
    for name in chosen:
        started = time.monotonic()
        findings[name] = found = outcome(name, device)
        found.figures["seconds"] = round(time.monotonic() - started, 1)
        print(f"{name}: {'left out' if found.passed is None else 'passed' if found.passed else 'FAILED'}, {found.words}", flush=True)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    record = {"about": about, "findings": {name: asdict(found) for name, found in findings.items()}}
    (options.output_dir / "report.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (options.output_dir / "report.md").write_text(markdown(about, findings), encoding="utf-8")
    print(f"written: {options.output_dir / 'report.md'} and report.json")
    return 1 if any(found.passed is False for found in findings.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

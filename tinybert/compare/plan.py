"""The runs of a comparison, and the command line of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tinybert.commands.compare import CompareConfig
from tinybert.config.rows import DataOptions
from tinybert.methods.command import MethodOptions
from tinybert.methods.method import DistillationMethod
from tinybert.methods.registry import methods_of

PRUNED = "pruned"
_FRESH = re.compile(r"(\d+)x(\d+)")


def method_names() -> tuple[str, ...]:
    """All values of `--method`, and `pruned`."""
    return (*methods_of("distill"), PRUNED)


def method_of(name: str) -> DistillationMethod:
    """The method that trains a run; a pruned teacher is distilled with the default method."""
    return methods_of("distill")[vars(MethodOptions)["method"].default if name == PRUNED else name]


@dataclass(frozen=True)
class Row:
    """One run. commands: arguments of `python -m tinybert`, executed in order; the last one trains into `folder`."""

    student: str
    method: str
    seed: int
    folder: Path
    commands: tuple[tuple[str, ...], ...]

    @property
    def line(self) -> str:
        """The name without the seed."""
        return f"{self.student}, {self.method}"

    @property
    def name(self) -> str:
        """A readable name of the run."""
        return f"{self.line}, seed {self.seed}"


def plan(config: CompareConfig, length: int, updates: int, heads: int, neurons: int) -> list[Row]:
    """Every run, ordered by seed, so that an interrupted comparison has each combination at least once.

    length: of the longest row. updates: per run. heads, neurons: per layer of the teacher.
    """
    rows = []
    for seed in config.seeds:
        for method in config.methods:
            students = [PRUNED] if method == PRUNED else config.students
            rows += [_row(config, student, method, seed, length, updates, heads, neurons) for student in students]
    return rows


def _row(config: CompareConfig, student: str, method: str, seed: int, length: int, updates: int, heads: int, neurons: int) -> Row:
    trained = method_of(method)
    folder = Path(config.output_dir) / "runs" / re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{student}-{method}-{seed}")
    cut = folder.with_name(f"pruned-teacher-{seed}")
    common = ["--max_seq_length", str(length), "--device", config.device]
    common += ["--threads", str(config.threads)] if config.threads else []
    words = [
        "distill", *data_words(config, augmented=trained.reads_teacher), *common, "--method", trained.name, "--output_dir", str(folder),
        "--seed", str(seed), "--batch_size", str(config.batch_size), "--learning_rate", str(config.learning_rate),
        "--lr_schedule", "linear", "--save_steps", "1000000", "--logging_steps", str(max(1, updates // 20)),
        "--allow_weak_teacher", "--resume", "auto", *student_options(str(cut) if method == PRUNED else student),
    ]  # fmt: skip
    if trained.reads_teacher or "--student_model_name_or_path" not in words:  # the teacher gives layers, heads and vocabulary
        words += ["--teacher_path", config.teacher_path]
    if trained.reads_teacher:
        words += ["--teacher_traces", "store"]
    if method == PRUNED:
        words += ["--attention_heads", "average"]
    if len(trained.stages) > 1:
        second = max(1, updates // 3)
        words += ["--stage", "both", "--intermediate_max_steps", str(updates - second), "--prediction_max_steps", str(second)]
    else:
        words += ["--max_steps", str(updates)]
    before = _cut_words(config, cut, common, heads, neurons) if method == PRUNED else []
    return Row(student, method, seed, folder, tuple(map(tuple, [*before, words])))


def _cut_words(config: CompareConfig, cut: Path, common: list[str], heads: int, neurons: int) -> list[list[str]]:
    """The commands that prune the teacher to half of its heads and neurons."""
    importance = cut.with_name(f"{cut.name}-importance")
    return [
        ["finetune", *data_words(config, augmented=False), *common, "--model_name_or_path", config.teacher_path, "--compute_taylor",
         "--output_dir", str(importance), "--overwrite_output_dir"],
        ["prune", "--model_path", config.teacher_path, "--importance", str(importance / "importance_score"), "--output_dir", str(cut),
         "--keep_heads", str(max(1, heads // 2)), "--ffn_hidden_dim", str(max(1, neurons // 2)), "--overwrite_output_dir"],
    ]  # fmt: skip


def student_options(student: str) -> list[str]:
    """The `distill` options that select a student."""
    shape = _FRESH.fullmatch(student)
    if student.startswith("teacher:"):
        return ["--student_init", student]
    if shape is None:
        return ["--student_model_name_or_path", student]
    layers, hidden = shape.groups()
    ffn = {"312": "1200"}.get(hidden, str(4 * int(hidden)))  # TinyBERT's 312 has 1200
    return ["--student_layers", layers, "--student_hidden", hidden, "--student_ffn", ffn]


def data_words(config: CompareConfig, augmented: bool) -> list[str]:
    """The data options that were set, as command-line arguments; augmented: include augmented rows and texts without labels."""
    left_out = {"max_seq_length"} if augmented else {"max_seq_length", "use_aug", "aug_file", "unlabelled_file"}
    names = [name for name in DataOptions.options() if name in config.given and name not in left_out]
    values = {name: getattr(config, name) for name in names}
    return [word for name, value in values.items() for word in (f"--{name}", *map(str, value if isinstance(value, list) else [value]))]

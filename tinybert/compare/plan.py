"""The runs of a comparison, and the command line of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
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


def learned(name: str) -> frozenset[str]:
    """What a method learns from the teacher in all stages: `layers`, `logits`, both or neither."""
    method = method_of(name)
    return frozenset().union(*(method.learns(stage, False) for stage in method.stages))


def reads_teacher(config: CompareConfig) -> bool:
    """Whether any run has a teacher."""
    return any(method_of(name).reads_teacher for name in config.methods)


def passes(config: CompareConfig) -> int:
    """How many groups of runs store different outputs of the teacher: layers by method and depth; all of them include the logits."""
    deep = [name for name in config.methods if "layers" in learned(name)]
    depths = {_depth(student) for student in config.students}
    return sum(1 if name == PRUNED else len(depths) for name in deep) or int(reads_teacher(config))


def _depth(student: str) -> object:
    """The number of layers; of a folder, the folder."""
    if student.startswith("teacher:"):
        return student.count(",") + 1
    shape = _FRESH.fullmatch(student)
    return int(shape[1]) if shape else student


def by_needs(rows: Sequence[Row]) -> list[Row]:
    """The runs by seed, those that learn most from the teacher first: logits are stored together with layers, not the reverse."""
    seeds = list(dict.fromkeys(row.seed for row in rows))
    return sorted(rows, key=lambda row: (seeds.index(row.seed), -len(learned(row.method))))


def plan(config: CompareConfig, length: int, updates: int, heads: int, neurons: int, stores: bool = True) -> list[Row]:
    """Every run, ordered by seed, so that an interrupted comparison has each combination at least once.

    length: of the longest row. updates: per run. heads, neurons: per layer of the teacher. stores: whether its outputs can be stored.
    """
    rows = []
    for seed in config.seeds:
        for method in config.methods:
            students = [PRUNED] if method == PRUNED else config.students
            rows += [_row(config, student, method, seed, length, updates, (heads, neurons, stores)) for student in students]
    return rows


def _row(config: CompareConfig, student: str, method: str, seed: int, length: int, updates: int, teacher: tuple[int, int, bool]) -> Row:
    trained = method_of(method)
    heads, neurons, stores = teacher
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
    if trained.reads_teacher and stores:
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

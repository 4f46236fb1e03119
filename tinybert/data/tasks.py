"""The known tasks: their files, columns, labels and metrics."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.kinds.registry import DEFAULT, KINDS

UNLABELLED = "unlabelled"  # the first split of such texts; further ones have a number
UNDECIDED = "-"  # the label of rows on which the annotators of SNLI, MNLI, OCNLI and CMNLI did not agree
Column = int | str  # 0-based number of a column, or its name in the header; for JSON a key


@dataclass(frozen=True)
class Split:
    """One file of a task and the columns that are read.

    `header`: the first line of a TSV or CSV file names the columns. `index`: the column that a submission file repeats; without it rows are
    numbered. `skips_short_rows`: rows with too few columns are skipped and counted instead of being an error; `skipped_labels`: so are
    rows with one of these labels. `format`: tsv, csv, jsonl or json (see `formats.py`); `quoted`: fields of TSV and CSV may be in double
    quotes; `many_labels`: in JSON a label may be a list. `record`: the texts are computed from the whole record, by this function in
    `clue.RECORDS`. `stride`: of windows over the texts of questions, 0: the default one.
    """

    file: str
    text_a: Column
    text_b: Column | None = None
    label: Column | None = None
    header: bool = True
    index: Column | None = None
    skips_short_rows: bool = False
    format: str = "tsv"
    quoted: bool = False
    skipped_labels: tuple[str, ...] = ()
    many_labels: bool = False
    record: str | None = None
    stride: int | None = None

    @property
    def has_header(self) -> bool:
        """Whether the first line is a header."""
        return self.header and self.format in ("tsv", "csv")

    @property
    def key(self) -> list:
        """What determines how the file is read, for the hash of stored tokens."""
        columns = [self.text_a, self.text_b, self.label, self.header, self.skips_short_rows]
        own = [self.format, self.quoted, list(self.skipped_labels)]
        own += [self.record] if self.record else []
        own += [f"stride {self.stride}"] if self.stride is not None else []
        return columns if own == ["tsv", False, []] else columns + own  # keeps tokens stored by earlier versions valid


@dataclass(frozen=True)
class DevRows:
    """The dev rows of a task that are a share of its training file: seed, numbers of rows, and a hash of the numbers of the dev rows."""

    share: float
    seed: int
    rows: int
    dev_rows: int
    sha256: str


@dataclass(frozen=True)
class Task:
    """A task: its files, `labels` in the order of the logits (empty if outputs have no names), and its `kind`.

    `metrics` are the names that `kind.score` reports, `metric` the one that selects the best model. `home` is the folder in DATA_HOME that
    contains `folder`, and `also` are the folders in `home` where PaddleNLP unpacks the same files. `predictions`: the file name for CLUE's
    server, JSON lines; without it GLUE's table is written. `own`: custom files with absolute paths, which are searched nowhere else.
    `bounds`: the limits of a score. `dev_rows`: how dev rows were taken from the training file, if they were.
    """

    name: str
    folder: str
    labels: tuple[str, ...]
    splits: dict[str, Split]
    metrics: tuple[str, ...] = ("accuracy",)
    metric: str = "accuracy"
    home: str = "Glue"
    also: tuple[str, ...] = ()
    own: bool = False
    bounds: tuple[float, float] | None = None
    kind: Kind = DEFAULT
    predictions: str | None = None
    dev_rows: DevRows | None = None

    @property
    def num_outputs(self) -> int:
        """The number of logits."""
        return self.kind.outputs(self.labels)

    @property
    def is_pair(self) -> bool:
        """Whether a row has two sentences."""
        return any(split.text_b is not None for split in self.splits.values())

    @property
    def eval_splits(self) -> tuple[str, ...]:
        """The labelled splits for evaluation; the first one selects the best model."""
        return tuple(name for name in self.splits if name.split("_")[0] == "dev")

    @property
    def test_splits(self) -> tuple[str, ...]:
        """The splits to predict for a submission."""
        return tuple(name for name in self.splits if name.split("_")[0] == "test")

    @property
    def unlabelled_splits(self) -> tuple[str, ...]:
        """The splits of texts without labels that are trained on."""
        return tuple(name for name in self.splits if name.split("_")[0] == UNLABELLED)

    def split(self, name: str) -> Split:
        """The split with this name.

        Raises:
            UserError: the task has no such split.
        """
        if name not in self.splits:
            raise UserError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)}")
        return self.splits[name]


def augmented(train: Split) -> Split:
    """The augmented rows of a training file: `train_aug.tsv` next to `train.tsv`, in the same format."""
    stem, dot, suffix = train.file.rpartition(".")
    return replace(train, file=f"{stem}_aug{dot}{suffix}" if dot else f"{train.file}_aug")


def _splits(train: Split, test: Split | None, dev: dict[str, Split] | None = None) -> dict[str, Split]:
    dev = dev or {"dev": replace(train, file="dev.tsv")}
    splits = {"train": train, "train_aug": augmented(train), **dev}
    if test is not None:
        splits["test"] = test
    return splits


_BINARY = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")
_WITH_F1 = ("accuracy", "f1", "accuracy_and_f1")


def _mnli_splits() -> dict[str, Split]:
    train = Split("train.tsv", 8, 9, 11)
    kinds = ("matched", "mismatched")
    dev = {f"dev_{kind}": replace(train, file=f"dev_{kind}.tsv", label=15) for kind in kinds}
    test = {f"test_{kind}": Split(f"test_{kind}.tsv", 8, 9, index=0) for kind in kinds}
    return {**_splits(train, None, dev), **test}


def _pair_task(name: str, labels: tuple[str, ...]) -> Task:
    train = Split("train.tsv", 1, 2, 3)
    return Task(name, name, labels, _splits(train, Split("test.tsv", 1, 2, index=0)))


# Label order, columns and file names are those of PaddleNLP's GLUE reader, to be compatible with its fine-tuned models.
_GLUE = (
    Task(
        "CoLA",
        "CoLA",
        _BINARY,
        _splits(Split("train.tsv", 3, label=1, header=False), Split("test.tsv", 1, index=0)),
        metrics=("mcc", "accuracy"),
        metric="mcc",
    ),
    Task("SST-2", "SST-2", _BINARY, _splits(Split("train.tsv", 0, label=1), Split("test.tsv", 1, index=0))),
    Task(
        "MRPC",
        "MRPC",
        _BINARY,
        _splits(Split("train.tsv", 3, 4, 0), Split("test.tsv", 3, 4, index=0)),
        metrics=_WITH_F1,
    ),
    Task(
        "STS-B",
        "STS-B",
        (),
        _splits(Split("train.tsv", 7, 8, 9), Split("test.tsv", 7, 8, index=0)),
        metrics=("pearson", "spearman", "pearson_and_spearman"),
        metric="pearson_and_spearman",
        bounds=(0.0, 5.0),
        kind=KINDS["regression"],
    ),
    Task(
        "QQP",
        "QQP",
        _BINARY,
        # the published train.tsv has a few questions with a line break: their halves have too few columns
        _splits(Split("train.tsv", 3, 4, 5, skips_short_rows=True), Split("test.tsv", 1, 2, index=0)),
        metrics=_WITH_F1,
    ),
    Task("MNLI", "MNLI", ("contradiction", "entailment", "neutral"), _mnli_splits()),
    _pair_task("QNLI", _ENTAILMENT),
    _pair_task("RTE", _ENTAILMENT),
    _pair_task("WNLI", _BINARY),
)
_DEMO = Task("demo", "demo", _BINARY, _splits(Split("train.tsv", 0, label=1), None))


def _clue_task(
    name: str,
    labels: tuple[str, ...],
    pair: bool,
    train_file: str = "train.json",
    skipped: tuple[str, ...] = (),
    record: str | None = None,
    predicted: str | None = None,
    metrics: tuple[str, ...] = ("accuracy",),
) -> Task:
    text = ("sentence1", "sentence2") if pair else ("sentence", None)
    train = Split(train_file, *text, "label", format="jsonl", skipped_labels=skipped, record=record)
    test = replace(train, file="test.json", label=None, index="id", skipped_labels=())
    splits = _splits(train, test, {"dev": replace(train, file="dev.json")})
    file = f"{predicted or name.lower()}_predict.json"
    return Task(name, name, labels, splits, metrics, home="Clue", also=(f"{name.lower()}_public",), predictions=file)


# File names, label order and the skipped rows labelled "-" are those of PaddleNLP's CLUE reader, names of prediction files those
# required by CLUE (version 1.1).
_TNEWS = tuple(str(label) for label in range(100, 117) if label not in (105, 111))
_CLUE = (
    _clue_task("TNEWS", _TNEWS, pair=False, predicted="tnews11"),
    _clue_task("AFQMC", _BINARY, pair=True, metrics=("accuracy", "f1", "mcc")),  # 69% of its rows are in one class
    _clue_task("IFLYTEK", tuple(map(str, range(119))), pair=False),
    _clue_task(
        "OCNLI",
        ("entailment", "contradiction", "neutral"),
        pair=True,
        train_file="train.50k.json",
        skipped=(UNDECIDED,),
        predicted="ocnli_50k",
    ),
    _clue_task("CMNLI", ("contradiction", "entailment", "neutral"), pair=True, skipped=(UNDECIDED,)),
    _clue_task("CSL", _BINARY, pair=True, record="csl"),
    _clue_task("CLUEWSC2020", ("true", "false"), pair=False, record="cluewsc", predicted="cluewsc11"),
)
# columns by name: some copies of this data set have another column before the label, and some test files have no label
_CHN_SENTI_CORP = Task(
    "ChnSentiCorp",
    "ChnSentiCorp",
    _BINARY,
    _splits(Split("train.tsv", "text_a", label="label"), Split("test.tsv", "text_a")),
    home="",
    also=("ChnSentiCorp/ChnSentiCorp/ChnSentiCorp",),
)

GLUE_TASKS: tuple[str, ...] = tuple(task.name for task in _GLUE)
CLUE_TASKS: tuple[str, ...] = tuple(task.name for task in _CLUE)
TASKS: dict[str, Task] = {task.name: task for task in (*_GLUE, *_CLUE, _CHN_SENTI_CORP, _DEMO)}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_PLAIN_NAME = {_plain(name): task for name, task in TASKS.items()} | {"mnlimm": TASKS["MNLI"], "cluewsc": TASKS["CLUEWSC2020"]}


def is_task(name: str) -> bool:
    """Whether `get_task` knows the name."""
    return _plain(name) in _BY_PLAIN_NAME


def get_task(name: str) -> Task:
    """The task with this name, ignoring case and hyphens; `mnli-mm` is MNLI, whose two dev files are kept separate.

    Raises:
        UserError: no such task; the message names the most similar one and lists all.
    """
    plain = _plain(name)
    if plain in _BY_PLAIN_NAME:
        return _BY_PLAIN_NAME[plain]
    near = difflib.get_close_matches(plain, list(_BY_PLAIN_NAME), n=1, cutoff=0.5)
    hint = f" Did you mean {_BY_PLAIN_NAME[near[0]].name}?" if near else ""
    raise UserError(f"There is no task {name!r}.{hint} Tasks: {', '.join(TASKS)}.")

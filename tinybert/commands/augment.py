"""The options of data augmentation, its presets, and which options have no effect beside the others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.applies import DATA_DIR_WINS
from tinybert.config.custom_files import check_own_files
from tinybert.config.groups import PRESET as FROM_PRESET
from tinybert.config.groups import Actions, DeviceOptions, RowOptions, in_data, in_run, threads_option
from tinybert.config.notices import Notice
from tinybert.config.options import option
from tinybert.config.picked import ResolvedOptions
from tinybert.config.preset import PerTask, Preset
from tinybert.config.resolved import Resolved, Settings
from tinybert.errors import UserError

in_models = partial(option, group="models")
in_variants = partial(option, group="variants")
in_filter = partial(option, group="filter")
# behaviours of the published scripts that are not the sound choice
in_conventions = partial(option, group="published differences", unset=FROM_PRESET)
STAGE = "augmentation"
THREADS = 1  # of each process; float32 sums depend on them, so they are not left to the machine
MOST_WORKERS = 4  # a process holds a model: more are started on demand only


@command(
    "augment", summary="write variants of training rows (data_augmentation.py)", recipe="augment:augment", script="data_augmentation.py"
)
class AugmentConfig(DeviceOptions, RowOptions):
    """Write variants of the training rows: words exchanged for what a masked LM or word vectors propose. One thread per process."""

    GROUPS = ("models", "data", "variants", "filter", "published differences", "run")

    pretrained_bert_model: str = in_models(help="the folder or name of a BERT with its masked-LM head, such as bert-base-uncased")
    glove_embs: Path | None = in_models(
        None,
        help="word vectors as text, a word and its numbers per line: GloVe (glove.6B.300d.txt), fastText or Tencent",
        unset="required for English; Chinese words then take candidates from the masked LM alone",
    )
    output_file: Path | None = in_data(
        None, help="the file of the augmented rows", unset="beside the training file: train_aug.tsv beside train.tsv"
    )
    N: int | None = in_variants(None, help="draws per text: at most so many variants of each", unset=FROM_PRESET, at_least=1)
    M: int | None = in_variants(None, help="candidates per word", unset=FROM_PRESET, at_least=1, at_most=1000)
    p: float | None = in_variants(None, help="how probably a word is exchanged", unset=FROM_PRESET, at_least=0, at_most=1)
    masking: str | None = in_variants(
        None,
        help="each: a word is masked and predicted beside the whole text, one forward pass per word, as published; none: one pass per "
        "text, the words left to be seen, many times faster",
        choices=("each", "none"),
        unset="each for an English vocabulary, none for a Chinese one",
    )
    glove_words: int | None = in_variants(
        None, help="how many rows of the word-vector file are used, the first ones; 0: all", unset=FROM_PRESET, at_least=0
    )
    long_texts: str = in_variants(
        "cut",
        help="texts beyond the model's positions: words and context there are left alone (cut), or the run is refused (refuse)",
        choices=("cut", "refuse"),
    )
    seed: int = in_variants(42, help="seed of the draws; each row has its own stream", at_least=0)
    preview: int = in_variants(10, help="rows shown beside their variants in augmentation.md", at_least=0)
    filter: str = in_filter("none", help="teacher: drop variants on which the teacher's prediction collapses", choices=("none", "teacher"))
    teacher_path: str | None = in_filter(None, help="the folder of the fine-tuned teacher", unset="required with filter teacher")
    filter_keep: float = in_filter(
        0.5,
        help="the share that must be left: of the probability that the teacher gives its own class on the original row; for a "
        "regression the score may move by the rest of the scale",
        above=0,
        below=1,
    )
    filter_length: int = in_filter(128, help="word pieces per row that the teacher reads", at_least=4)
    pairs: str | None = in_conventions(
        None,
        help="a variant of one text stands beside the original other one, or, published, beside the last variant of the first",
        choices=("original", "published"),
    )
    candidates: str | None = in_conventions(
        None,
        help="words: candidates made of letters; published: special tokens, digits and punctuation too",
        choices=("words", "published"),
    )
    unchanged: bool | None = in_conventions(None, help="keep a draw that exchanged nothing where it differs in case or spacing")
    match_case: bool | None = in_conventions(None, help="words with a capital letter are never exchanged (cased models only)")
    quotes: str | None = in_conventions(
        None,
        help="kept: rows stand as in the file; published: CSV quotes and CRLF ends, which no published reader undoes (plain TSV only)",
        choices=("kept", "published"),
    )
    preset: str = in_run(
        "sound",
        help="the named set of numbers and behaviours that fills in what is not given",
        choices=("sound", "paper", "huawei", "paddlenlp"),
    )
    output_dir: Path | None = in_run(None, help="the folder of the run's record, summary and state", unset="runs/augmentation/<TASK>")
    overwrite_output_dir: bool = in_run(False, help="start afresh: replace the output file and an earlier run's state")
    resume: bool = in_run(False, help="go on where a stopped run was")
    threads: int | None = threads_option(f"{THREADS}; candidates depend on it", "each process")
    num_workers: int | None = in_run(
        None,
        help="processes that share the work; the result does not depend on it",
        unset=f"one per core, at most {MOST_WORKERS}; 1 on a GPU and under paddle.distributed.launch",
        at_least=1,
    )

    def check(self) -> list[Notice]:
        """Refuse contradictions, and a filter without a teacher."""
        notes = [*super().check(), *check_own_files(self, Actions(train=False, evaluate=False, predict=False))]
        if self.resume and self.overwrite_output_dir:
            raise UserError("--resume and --overwrite_output_dir contradict each other\ngive one of them")
        if self.filter == "teacher" and self.teacher_path is None:
            raise UserError("--teacher_path is missing: --filter teacher asks it about every variant\ngive a fine-tuned teacher")
        return notes


_ENGLISH = ("candidates", "match_case", "unchanged")
_FILTER = ("teacher_path", "filter_keep", "filter_length")
# the table in the code of Huawei's and PaddleNLP's scripts, which there beats --N; their key STS-b fits no task, so STS-B has the default
_PUBLISHED_N = {"cola": 30, "mnli": 10, "mrpc": 30, "sst2": 20, "qqp": 10, "qnli": 20, "rte": 30}
_PUBLISHED = {
    "N": PerTask(30, _PUBLISHED_N), "M": 15, "p": 0.4, "glove_words": 100_000, "pairs": "published", "candidates": "published",
    "unchanged": True, "quotes": "published",
}  # fmt: skip
_SOUND = {
    "N": PerTask(20, {**_PUBLISHED_N, "stsb": 30}),  # the published table as it was meant; fewer for large sets; else the paper's 20
    "M": 15, "p": 0.4,  # paper
    "glove_words": 100_000,  # published; the rare words below are mostly names and misprints
    "pairs": "original", "candidates": "words", "unchanged": False, "match_case": False, "quotes": "kept",
}  # fmt: skip
PRESETS = {
    preset.name: preset
    for preset in (
        Preset("sound", "candidates that are words, one side of a pair at a time, rows as they stand; N by task", augment=_SOUND),
        Preset("paper", "N 20, M 15, p 0.4 for every task, else as sound", augment={**_SOUND, "N": 20}),
        Preset("huawei", "Huawei's data_augmentation.py as it runs", augment={**_PUBLISHED, "match_case": False}),
        Preset("paddlenlp", "PaddleNLP's data_augmentation.py as it runs", augment={**_PUBLISHED, "match_case": True}),
    )
}


@dataclass(frozen=True, kw_only=True)
class AugmentSettings(Settings):
    """What rows are augmented with; None where something does not apply."""

    task_name: str
    N: int
    M: int
    p: float
    masking: str
    glove_words: int | None
    long_texts: str
    seed: int
    do_lower_case: bool | None
    filter: str
    teacher_path: str | None
    filter_keep: float | None
    filter_length: int | None
    pairs: str | None
    candidates: str | None
    unchanged: bool | None
    match_case: bool | None
    quotes: str
    threads: int


def resolve_augment(config: AugmentConfig, task_name: str, single_sentence: bool, chinese: bool = False) -> Resolved:
    """The settings of data augmentation for one task, as `resolved["augmentation"]`; chinese: the vocabulary is.

    Raises:
        UserError: English without word vectors.
    """
    if config.glove_embs is None and not chinese:
        raise UserError(
            "--glove_embs is missing: English words of several pieces take their candidates from word vectors\n"
            "give a text file of them, such as glove.6B.300d.txt"
        )
    picked = ResolvedOptions(config, AugmentSettings, PRESETS[config.preset].values("augment", task_name))
    if picked.values["masking"] is None:
        picked.put("masking", "none" if chinese else "each", f"{'Chinese' if chinese else 'English'} vocabulary")
    if chinese:
        picked.drop(dict.fromkeys(_ENGLISH, "the vocabulary is Chinese: candidates are words of a dictionary, and nothing else changes"))
    if config.glove_embs is None:
        picked.drop({"glove_words": "there are no word vectors"})
    picked.values["threads"] = picked.values["threads"] or THREADS
    if config.filter == "none":
        picked.drop(dict.fromkeys(_FILTER, "--filter none asks no teacher"))
    if single_sentence:
        picked.drop({"pairs": "the rows hold one text"})
    if config.data_dir is not None:
        picked.drop({"glue_dir": DATA_DIR_WINS})
    settings = AugmentSettings(stage=STAGE, task_name=task_name, preset=config.preset, sources=picked.sources, **picked.values)
    return picked.resolved(settings)


def workers(config: AugmentConfig, cores: int, on_cpu: bool, processes: int) -> int:
    """How many processes this one starts; `processes` are those that the launcher started."""
    if config.num_workers is not None:
        return config.num_workers
    return max(1, min(MOST_WORKERS, cores // (config.threads or THREADS))) if on_cpu and processes == 1 else 1

"""The options of data augmentation, its presets, and which options have no effect beside the others."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.custom_files import check_own_files
from tinybert.config.groups import PRESET as FROM_PRESET
from tinybert.config.groups import Actions, DeviceOptions, RowOptions, in_data, in_run, threads_option
from tinybert.config.notices import Notice
from tinybert.config.options import Derived, option
from tinybert.config.preset import preset_names
from tinybert.config.resolve import Context, resolve_stages
from tinybert.config.resolved import Resolved
from tinybert.errors import UserError


def _by_vocabulary(context: Context) -> Derived | None:
    if context.masking is not None:
        return None
    chinese = context.facts["chinese"]
    return Derived("none" if chinese else "each", f"{'Chinese' if chinese else 'English'} vocabulary")


def _one_thread(context: Context) -> Derived | None:
    return None if context.threads else Derived(THREADS, "default")


def _no_vectors(context: Context) -> str | None:
    return "there are no word vectors" if context.glove_embs is None else None


def _no_filter(context: Context) -> str | None:
    return "--filter none asks no teacher" if context.filter == "none" else None


def _one_text(context: Context) -> str | None:
    return "the rows hold one text" if context.facts["single_sentence"] else None


def _not_english(context: Context) -> str | None:
    text = "the vocabulary is Chinese: candidates are words of a dictionary, and nothing else changes"
    return text if context.facts["chinese"] else None


in_models = partial(option, group="models")
in_variants = partial(option, group="variants", setting=True)
in_filter = partial(option, group="filter", setting=True)
# behaviours of the published scripts that are not the sound choice
in_conventions = partial(option, group="published differences", unset=FROM_PRESET, setting=True)
STAGE = "augmentation"
THREADS = 1  # of each process; float32 sums depend on them, so they are not left to the machine
MOST_WORKERS = 4  # a process holds a model: more are started on demand only


@command(
    "augment", summary="write variants of training rows (data_augmentation.py)", recipe="augment:augment", script="data_augmentation.py"
)
class AugmentConfig(DeviceOptions, RowOptions):
    """Write variants of the training rows: words exchanged for what a masked LM or word vectors propose. One thread per process."""

    PRESET_SECTION = "augment"
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
        derived=_by_vocabulary,
    )
    glove_words: int | None = in_variants(
        None,
        help="how many rows of the word-vector file are used, the first ones; 0: all",
        unset=FROM_PRESET,
        at_least=0,
        no_effect=_no_vectors,
    )
    long_texts: str = in_variants(
        "cut",
        help="texts beyond the model's positions: words and context there are left alone (cut), or the run is refused (refuse)",
        choices=("cut", "refuse"),
    )
    seed: int = in_variants(42, help="seed of the draws; each row has its own stream", at_least=0)
    preview: int = in_variants(10, help="rows shown beside their variants in augmentation.md", at_least=0, setting=False)
    filter: str = in_filter("none", help="teacher: drop variants on which the teacher's prediction collapses", choices=("none", "teacher"))
    teacher_path: str | None = in_filter(
        None, help="the folder of the fine-tuned teacher", unset="required with filter teacher", no_effect=_no_filter
    )
    filter_keep: float = in_filter(
        0.5,
        help="the share that must be left: of the probability that the teacher gives its own class on the original row; for a "
        "regression the score may move by the rest of the scale",
        above=0,
        below=1,
        no_effect=_no_filter,
    )
    filter_length: int = in_filter(128, help="word pieces per row that the teacher reads", at_least=4, no_effect=_no_filter)
    pairs: str | None = in_conventions(
        None,
        help="a variant of one text stands beside the original other one, or, published, beside the last variant of the first",
        choices=("original", "published"),
        no_effect=_one_text,
    )
    candidates: str | None = in_conventions(
        None,
        help="words: candidates made of letters; published: special tokens, digits and punctuation too",
        choices=("words", "published"),
        no_effect=_not_english,
    )
    unchanged: bool | None = in_conventions(
        None, help="keep a draw that exchanged nothing where it differs in case or spacing", no_effect=_not_english
    )
    match_case: bool | None = in_conventions(
        None, help="words with a capital letter are never exchanged (cased models only)", no_effect=_not_english
    )
    quotes: str | None = in_conventions(
        None,
        help="kept: rows stand as in the file; published: CSV quotes and CRLF ends, which no published reader undoes (plain TSV only)",
        choices=("kept", "published"),
    )
    preset: str = in_run(
        "sound",
        help="the named set of numbers and behaviours that fills in what is not given",
        choices=preset_names("augment"),
    )
    output_dir: Path | None = in_run(None, help="the folder of the run's record, summary and state", unset="runs/augmentation/<TASK>")
    overwrite_output_dir: bool = in_run(False, help="start afresh: replace the output file and an earlier run's state")
    resume: bool = in_run(False, help="go on where a stopped run was")
    threads: int | None = threads_option(f"{THREADS}; candidates depend on it", "each process", setting=True, derived=_one_thread)
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

    def resolve(self, task_name: str, single_sentence: bool, chinese: bool = False) -> Resolved:
        """The settings for one task, as `resolved["augmentation"]`; chinese: the vocabulary is.

        Raises:
            UserError: English without word vectors.
        """
        return resolve_stages(self, (STAGE,), task_name, single_sentence=single_sentence, chinese=chinese)

    def about(self, context: Context) -> dict[str, object]:
        """Stage, preset and task."""
        return {**super().about(context), "task_name": context.task_name}

    def check_stage(self, context: Context) -> None:
        """English without word vectors."""
        if self.glove_embs is None and not context.facts["chinese"]:
            raise UserError(
                "--glove_embs is missing: English words of several pieces take their candidates from word vectors\n"
                "give a text file of them, such as glove.6B.300d.txt"
            )


def workers(config: AugmentConfig, cores: int, on_cpu: bool, processes: int) -> int:
    """How many processes this one starts; `processes` are those that the launcher started."""
    if config.num_workers is not None:
        return config.num_workers
    return max(1, min(MOST_WORKERS, cores // (config.threads or THREADS))) if on_cpu and processes == 1 else 1

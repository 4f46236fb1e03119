"""The options of data augmentation, its presets, and which options have no effect in combination."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.custom_files import check_custom_files
from tinybert.config.groups import in_conventions, in_data, in_models, in_run, preset_option, threads_option
from tinybert.config.notices import Notice
from tinybert.config.options import Derived, option
from tinybert.config.resolve import Context, resolve_stages
from tinybert.config.resolved import Resolved
from tinybert.config.rows import RowOptions
from tinybert.config.runs import Actions, ClusterOptions, DeviceOptions
from tinybert.errors import UserError


def _by_vocabulary(context: Context) -> Derived | None:
    if context.masking is not None:
        return None
    chinese = context.facts["chinese"]
    return Derived("none" if chinese else "each", f"{'Chinese' if chinese else 'English'} vocabulary")


def _no_filter(context: Context) -> str | None:
    return "--filter none uses no teacher" if context.filter == "none" else None


def _not_english(context: Context) -> str | None:
    text = "the vocabulary is Chinese: candidates are dictionary words only"
    return text if context.facts["chinese"] else None


in_variants = partial(option, group="variants", setting=True)
in_filter = partial(option, group="filter", setting=True)
STAGE = "augmentation"
THREADS = 1  # per process; float32 sums depend on the number of threads, so it is fixed
MAX_WORKERS = 4  # each process holds a model: more are started only on request


@command(
    "augment", summary="write variants of training rows (data_augmentation.py)", recipe="augment:augment", script="data_augmentation.py"
)
class AugmentConfig(DeviceOptions, RowOptions, ClusterOptions):
    """Write augmented training rows, with words replaced by candidates from a masked LM or word vectors. One thread per process."""

    PRESET_SECTION = "augment"
    GROUPS = ("models", "data", "variants", "filter", "published differences", "run")

    pretrained_bert_model: str = in_models(help="the folder or name of a BERT with its masked-LM head, such as bert-base-uncased")
    glove_embs: Path | None = in_models(
        None,
        help="word vectors in text format, one word and its numbers per line: GloVe (glove.6B.300d.txt), fastText or Tencent",
        unset="required for English; without it, Chinese words get candidates from the masked LM only",
    )
    output_file: Path | None = in_data(
        None, help="output file for the augmented rows", unset="next to the training file, e.g. train_aug.tsv for train.tsv"
    )
    N: int | None = in_variants(None, help="number of draws per text, and so the maximum number of variants", at_least=1)
    M: int | None = in_variants(None, help="candidates per word", at_least=1, at_most=1000)
    p: float | None = in_variants(None, help="probability of replacing a word", at_least=0, at_most=1)
    masking: str | None = in_variants(
        None,
        help="each: mask one word at a time and predict it next to the whole text (one forward pass per word, as published); "
        "none: one forward pass per text without masking, many times faster",
        choices=("each", "none"),
        unset="each for an English vocabulary, none for a Chinese one",
        derived=_by_vocabulary,
    )
    glove_words: int | None = in_variants(
        None,
        help="number of word vectors to use, from the start of the file; 0: all",
        at_least=0,
        no_effect=lambda context: "there are no word vectors" if context.glove_embs is None else None,
    )
    long_texts: str = in_variants(
        "cut",
        help="texts longer than the model's maximum length: keep the rest unchanged (cut) or raise an error (refuse)",
        choices=("cut", "refuse"),
    )
    seed: int = in_variants(42, help="random seed; each row has its own stream", at_least=0)
    preview: int = in_variants(10, help="number of rows shown with their variants in augmentation.md", at_least=0, setting=False)
    filter: str = in_filter("none", help="teacher: drop variants on which the teacher loses its confidence", choices=("none", "teacher"))
    teacher_path: str | None = in_filter(
        None, help="folder of the fine-tuned teacher", unset="required with filter teacher", no_effect=_no_filter
    )
    filter_keep: float = in_filter(
        0.5,
        help="minimum share of the teacher's probability for its original class that a variant must keep; for a regression, the "
        "score may move by the remaining share of the scale",
        above=0,
        below=1,
        no_effect=_no_filter,
    )
    filter_length: int = in_filter(128, help="maximum tokens per row for the teacher", at_least=4, no_effect=_no_filter)
    pairs: str | None = in_conventions(
        None,
        help="original: pair a variant of one text with the original other text; published: with the last variant of the first text",
        choices=("original", "published"),
        no_effect=lambda context: "the rows have a single text" if context.facts["single_sentence"] else None,
    )
    candidates: str | None = in_conventions(
        None,
        help="words: only candidates made of letters; published: also special tokens, digits and punctuation",
        choices=("words", "published"),
        no_effect=_not_english,
    )
    unchanged: bool | None = in_conventions(
        None, help="keep a draw that replaced no word but differs in case or spacing", no_effect=_not_english
    )
    match_case: bool | None = in_conventions(
        None, help="never replace words with a capital letter (cased models only)", no_effect=_not_english
    )
    quotes: str | None = in_conventions(
        None,
        help="kept: write rows as in the file; published: CSV quotes and CRLF line ends, which the published readers do not undo "
        "(plain TSV only)",
        choices=("kept", "published"),
    )
    preset: str = preset_option("augment")
    output_dir: Path | None = in_run(None, help="output folder for the run's record, summary and state", unset="runs/augmentation/<TASK>")
    overwrite_output_dir: bool = in_run(False, help="start over: replace the output file and the state of an earlier run")
    resume: bool = in_run(False, help="resume a stopped run")
    threads: int | None = threads_option(
        f"{THREADS}; affects the candidates",
        "each process",
        setting=True,
        derived=lambda context: None if context.threads else Derived(THREADS, "default"),
    )
    num_workers: int | None = in_run(
        None,
        help="number of worker processes; does not affect the result",
        unset=f"one per core, at most {MAX_WORKERS}; 1 on a GPU and under paddle.distributed.launch",
        at_least=1,
    )

    def check(self) -> list[Notice]:
        """Reject contradictory options, and a filter without a teacher."""
        notes = [*super().check(), *check_custom_files(self, Actions(train=False, evaluate=False, predict=False))]
        self.refuse_both("resume", "overwrite_output_dir")
        if self.filter == "teacher" and self.teacher_path is None:
            raise UserError("--teacher_path is missing: --filter teacher needs it\ngive a fine-tuned teacher")
        return notes

    def resolve(self, task_name: str, single_sentence: bool, chinese: bool = False) -> Resolved:
        """The settings for one task, as `resolved["augmentation"]`. chinese: whether the vocabulary is Chinese.

        Raises:
            UserError: English data without word vectors.
        """
        return resolve_stages(self, (STAGE,), task_name, single_sentence=single_sentence, chinese=chinese)

    def check_stage(self, context: Context) -> None:
        """Reject English data without word vectors."""
        if self.glove_embs is None and not context.facts["chinese"]:
            raise UserError(
                "--glove_embs is missing: English words that are split into several tokens get their candidates from word vectors\n"
                "give a text file of word vectors, such as glove.6B.300d.txt"
            )


def workers(config: AugmentConfig, cores: int, on_cpu: bool, processes: int) -> int:
    """How many worker processes this process starts; `processes`: the number started by the launcher."""
    if config.num_workers is not None:
        return config.num_workers
    return max(1, min(MAX_WORKERS, cores // (config.threads or THREADS))) if on_cpu and processes == 1 else 1

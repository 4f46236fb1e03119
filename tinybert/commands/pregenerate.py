"""The options of pregeneration, how they are resolved, and which of them have no effect in combination."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config import dialects
from tinybert.config.groups import in_data, in_run, preset_option
from tinybert.config.notices import Notice
from tinybert.config.options import Alias, Derived, option
from tinybert.config.resolve import Context, resolve_stages
from tinybert.config.resolved import Resolved
from tinybert.config.runs import ClusterOptions
from tinybert.errors import UserError


def _no_second_part(context: Context) -> str | None:
    return "single sequences have no second segment" if context.sequences != "pairs" else None


def _whole_lines(context: Context) -> str | None:
    return "a line is a sequence" if context.sequences == "lines" else None


def _no_masks(context: Context) -> str | None:
    return None if context.masked_lm_prob or context.mask_one_at_least else "masked_lm_prob 0 masks nothing"


def _one_epoch(context: Context) -> Derived | None:
    if context.sequences != "lines" or not _no_masks(context) or context.epochs_to_generate == 1:
        return None
    text = "only one epoch is written: lines without masks are the same in every epoch"
    said = Notice("one-epoch", text) if context.given("epochs_to_generate") else None
    return Derived(1, "lines without masks are the same in every epoch", notice=said)


in_rows = partial(option, group="sequences", setting=True)
in_masks = partial(option, group="masks", setting=True)


@command("pregenerate", summary="turn raw text into sequences for general distillation", recipe="pregenerate:pregenerate")
class PregenerateConfig(ClusterOptions):
    """Convert raw text to the training sequences of general distillation."""

    IGNORED = dialects.IGNORED_PREGENERATE
    GROUPS = ("data", "sequences", "masks", "run")
    NEEDS_PADDLE = False
    PRESET_SECTION = "pregenerate"

    train_corpus: str = in_data(
        help="text: a file, a folder of files or a quoted pattern; one sentence or paragraph per line, a blank line between "
        "documents; plain or gzip",
        metavar="FILE|DIR|GLOB",
    )
    bert_model: str = in_data(
        help="folder or name of the model whose vocabulary is used, usually the teacher", alias=(Alias("teacher_path", dialects.PADDLENLP),)
    )
    do_lower_case: bool | None = in_data(None, help="lower-case the text", unset="from the tokenizer's config", setting=True)
    split_sentences: bool | None = in_data(
        None,
        help="split every line into sentences",
        unset="from the preset, otherwise True if the first lines contain several sentences each",
        setting=True,
        no_effect=_whole_lines,
    )

    sequences: str = in_rows(
        "pairs",
        help="pairs: [CLS] A [SEP] B [SEP], as published; packed: [CLS] and as many sentences of a document as fit; lines: one "
        "sequence per line",
        choices=("pairs", "packed", "lines"),
    )
    max_seq_len: int = in_rows(
        128, help="maximum tokens per sequence, including [CLS] and [SEP]", alias=(Alias("max_seq_length", dialects.PADDLENLP),), at_least=6
    )
    short_seq_prob: float = in_rows(
        0.1,
        help="probability of a random shorter target length, per document (pairs) or per sequence (packed)",
        at_least=0,
        at_most=1,
        no_effect=_whole_lines,
    )
    one_seq: bool = in_rows(
        False,
        help="pairs without random second segments: B is what follows A, or a full stop where nothing follows",
        no_effect=_no_second_part,
    )
    epochs_to_generate: int = in_rows(3, help="number of epochs; the corpus is split differently in each", at_least=1, derived=_one_epoch)

    masked_lm_prob: float = in_masks(0.0, help="share of masked tokens; 0: none", at_least=0, at_most=1)
    max_predictions_per_seq: int = in_masks(20, help="maximum number of masked tokens per sequence", at_least=0, no_effect=_no_masks)
    do_whole_word_mask: bool = in_masks(False, help="mask all tokens of a word or none", no_effect=_no_masks)
    mask_one_at_least: bool | None = in_masks(
        None, help="mask one token of every sequence even if masked_lm_prob is 0, like the published script"
    )

    output_dir: Path = in_run(help="output folder; an interrupted run with the same options resumes in it")
    overwrite_output_dir: bool = in_run(False, help="replace the output of an earlier run with other options")
    format: str = in_run(
        "shards",
        help="shards: arrays with checksums; json: the published script's JSON lines and metrics",
        choices=("shards", "json"),
        setting=True,
    )
    num_workers: int | None = in_run(None, help="number of processes; does not affect the result", unset="all available cores", at_least=1)
    seed: int = in_run(42, help="random seed for splits, second segments and masks", at_least=0, setting=True)
    preset: str = preset_option("pregenerate")

    def check(self) -> list[Notice]:
        """Reject a masking rate that masks nothing."""
        if self.masked_lm_prob > 0 and self.max_predictions_per_seq == 0:
            raise UserError("--masked_lm_prob enables masks, --max_predictions_per_seq 0 disables them\ngive only one of them")
        return super().check()

    def resolve(self) -> Resolved:
        """The settings, as `resolved["pregenerate"]`."""
        return resolve_stages(self, ("pregenerate",))

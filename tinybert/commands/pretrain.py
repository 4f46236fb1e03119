"""The options of masked-LM training on raw text."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.groups import PRESET as FROM_PRESET
from tinybert.config.groups import OptimisationOptions, TrainingRunOptions, common_checks, in_data, in_run
from tinybert.config.notices import Notice
from tinybert.config.options import option
from tinybert.config.preset import preset_names
from tinybert.config.resolve import resolve_stages
from tinybert.config.resolved import Resolved

in_model = partial(option, group="model")
in_masking = partial(option, group="masking", setting=True)


@command("pretrain", summary="train a masked LM on raw text with whole-word masking", recipe="pretrain:pretrain")
class PretrainConfig(TrainingRunOptions, OptimisationOptions):
    """Train an encoder with masked-language modelling on raw text, to adapt a teacher or to get a masked LM for data augmentation."""

    PRESET_SECTION = "distill"
    GROUPS = ("model", "data", "masking", "optimisation", "run")

    model_name_or_path: str = in_model(
        help="folder or name of a BERT or ERNIE encoder; its masked-LM head is used if present, a task head is not"
    )
    input_dir: Path = in_data(help="raw text: a file, a folder or a pattern; tokenised once and cached")
    sequences: str | None = in_data(
        None,
        help="rows: packed with as many sentences of a document as fit, or one truncated row per line (lines)",
        choices=("packed", "lines"),
        unset=FROM_PRESET,
        setting=True,
    )
    max_seq_length: int | None = in_data(
        None, help="maximum tokens per row, including [CLS] and [SEP]", unset=FROM_PRESET, at_least=4, setting=True
    )
    do_lower_case: bool | None = in_data(None, help="lower-case the text", unset="from the model's tokenizer", setting=True)
    pad_to_max_length: bool | None = in_data(
        None, help="pad every batch to max_seq_length instead of to its longest row", unset=FROM_PRESET, setting=True
    )
    held_out_sequences: int = in_data(
        1000, help="number of rows held out at the end of the text; they select the best model", at_least=1, setting=True
    )
    mlm_probability: float | None = in_masking(
        None, help="share of masked tokens; chosen anew in every epoch", unset=FROM_PRESET, above=0, below=1
    )
    whole_word: bool | None = in_masking(
        None, help="mask all tokens of a word or none; for a Chinese vocabulary, words are segmented by jieba", unset=FROM_PRESET
    )
    output_dir: Path = in_run(help="output folder")
    preset: str = in_run("sound", help="preset with the values of options that are not given", choices=preset_names("pretrain"))
    save_steps: int = in_run(
        1000, help="evaluate every N updates and keep the best model; 0: once per epoch", at_least=0, setting=True, does="scores"
    )

    def check(self) -> list[Notice]:
        """Reject contradictory options."""
        return [*super().check(), *common_checks(self)]

    def resolve(self) -> Resolved:
        """The settings, as `resolved["pretrain"]`."""
        return resolve_stages(self, ("pretrain",))

"""The options of masked-LM training on raw text."""

from __future__ import annotations

from functools import partial

from tinybert.commands.registry import command
from tinybert.config.groups import preset_option
from tinybert.config.options import option
from tinybert.config.resolve import resolve_stages
from tinybert.config.resolved import Resolved
from tinybert.config.text import TextOptions

in_model = partial(option, group="model")
in_masking = partial(option, group="masking", setting=True)


@command("pretrain", summary="train a masked LM on raw text with whole-word masking", recipe="pretrain:pretrain")
class PretrainConfig(TextOptions):
    """Train an encoder with masked-language modelling on raw text, to adapt a teacher or to get a masked LM for data augmentation."""

    GROUPS = ("model", "data", "masking", "optimisation", "run")

    model_name_or_path: str = in_model(
        help="folder or name of a BERT or ERNIE encoder; its masked-LM head is used if present, a task head is not"
    )
    mlm_probability: float | None = in_masking(None, help="share of masked tokens; chosen anew in every epoch", above=0, below=1)
    whole_word: bool | None = in_masking(
        None, help="mask all tokens of a word or none; for a Chinese vocabulary, words are segmented by jieba"
    )
    preset: str = preset_option("pretrain")

    def resolve(self) -> Resolved:
        """The settings, as `resolved["pretrain"]`."""
        return resolve_stages(self, ("pretrain",))

"""Training settings: the optimisation and run options as one object."""

from __future__ import annotations

import inspect

from tinybert.api.options import ChosenOptions
from tinybert.commands.distill import TaskDistillConfig
from tinybert.config.options import Option

_OF_THE_CALL = ("output_dir", "overwrite_output_dir", "resume", "preset", "do_train", "do_eval", "do_predict")
_OF_LENGTH = ("max_seq_length", "pad_to_max_length")


class Training(ChosenOptions):
    """Training settings; the preset gives the values that are not set.

    Raises:
        UserError: an unknown option or an invalid value.

    Options:
    """

    def __init__(self, **options: object) -> None:
        super().__init__(options, _belongs, "give it to the run, to the data, or to a method")


def _belongs(option: Option) -> bool:
    return option.name in _OF_LENGTH or (option.group in ("optimisation", "run") and option.name not in _OF_THE_CALL)


_OPTIONS = [option for option in TaskDistillConfig.options().values() if _belongs(option)]
Training.__signature__ = inspect.Signature(
    [inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=option.kind) for option in _OPTIONS]
)
Training.__doc__ += "".join(f"    {option.name}: {option.help} (default: {option.default_words})\n" for option in _OPTIONS)

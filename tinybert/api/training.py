"""How a run is trained: the options of optimisation and of the run itself, as one object."""

from __future__ import annotations

from tinybert.api.options import ChosenOptions
from tinybert.config.options import Option

_OF_THE_CALL = ("output_dir", "overwrite_output_dir", "resume", "preset", "do_train", "do_eval", "do_predict")
_OF_LENGTH = ("max_seq_length", "pad_to_max_length")


class Training(ChosenOptions):
    """How a run is trained; what is not given comes from the preset.

    Options, among others: `max_steps`, `num_train_epochs`, `batch_size`, `learning_rate`, `warmup_proportion`, `weight_decay`,
    `max_seq_length`, `seed`, `device`, `threads`, `amp`, `logging_steps`, `save_steps`, `checkpoint_steps`; of one stage alone
    `intermediate_max_steps`, `prediction_learning_rate`, ... (docs/flags.md has all of them, groups `optimisation` and `run`).

    Raises:
        UserError: an unknown option or a wrong value, in the words of the command line.
    """

    def __init__(self, **options: object) -> None:
        super().__init__(options, _belongs, "give it to the run, to the data, or to a method")


def _belongs(option: Option) -> bool:
    return option.name in _OF_LENGTH or (option.group in ("optimisation", "run") and option.name not in _OF_THE_CALL)

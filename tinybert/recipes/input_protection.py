"""Prevents a run from deleting or replacing its own inputs."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from tinybert.config.options import Config
from tinybert.errors import UserError
from tinybert.models import hub

# all options of recipes that name an input; a model may also be given by the output folder of its run
MODELS = (
    "model_name_or_path", "tokenizer_name_or_path", "teacher_path", "student_model_name_or_path", "model_path", "model", "bert_model",
    "pretrained_bert_model", "models",
)  # fmt: skip
OTHERS = (
    "data_dir", "glue_dir", "train_file", "dev_file", "test_file", "aug_file", "unlabelled_file", "input_dir", "pregenerated_data",
    "train_corpus",
    "glove_embs", "importance", "teacher_traces", "teacher_logits", "teacher_probabilities", "input", "base",
)  # fmt: skip


def check_inputs_not_overwritten(config: Config, replaced: Iterable[Path], options: tuple[str, ...] = (*MODELS, *OTHERS)) -> None:
    """Reject a command line with an input inside a path that the run deletes or replaces. Nothing is changed.

    replaced: files and folders, which need not exist. options: the inputs to check.

    Raises:
        UserError: names the input and its location.
    """
    targets = [(target, target.expanduser().resolve()) for target in replaced]
    for option in options:
        given = getattr(config, option, None)
        values = given if isinstance(given, list) else [given] if given is not None else []
        for value in values:
            for place in _places(str(value), option in MODELS):
                lost = next((target for target, whole in targets if place.resolve().is_relative_to(whole)), None)
                if lost is not None:
                    meant = "" if str(place) == str(value) else f", i.e. {place},"
                    raise UserError(
                        f"--{option} {value}{meant} is inside {lost}, which this run would overwrite.\n"
                        "Choose another output folder, or use a copy elsewhere."
                    )


def _places(value: str, model: bool) -> list[Path]:
    """The files and folders that an option's value refers to; none for a model name."""
    path = Path(value).expanduser()
    if not model:  # missing ones may be created later, such as a folder of teacher traces
        return [path] if path.exists() else [Path(file) for file in glob.glob(str(path), recursive=True)] or [path]
    if not path.is_dir():
        return [path] if path.exists() else []
    try:
        return [hub.resolve(value)]
    except UserError:
        return [path]  # not a model: reported when it is loaded

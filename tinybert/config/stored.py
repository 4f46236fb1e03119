"""Options about teacher traces: computed in every epoch, or once and stored."""

from __future__ import annotations

from functools import partial

from tinybert.config.notices import Notice
from tinybert.config.options import Alias, Config, option
from tinybert.config.resolve import Context
from tinybert.config.soft_labels import soft_label_option
from tinybert.errors import UserError


def _unread(context: Context) -> str | None:
    unread = context.stage == "prediction" and "layers" not in context.learns and not context.get("alpha")
    from_file = context.teacher_path is None and soft_label_option(context)
    return "the stage does not use the teacher" if unread else "soft labels are read from a file" if from_file else None


def _unstored(context: Context) -> str | None:
    return _unread(context) or ("--teacher_traces live stores nothing" if context.teacher_traces == "live" else None)


def _whatever_size(context: Context) -> str | None:
    asked = context.teacher_traces not in (None, "auto")
    return _unstored(context) or ("the store was requested, whatever its size" if asked else None)


in_stored = partial(option, group="teacher traces")


class StoredOptions(Config):
    """The source of the teacher's hidden states, attention scores and logits."""

    teacher_traces: str | None = in_stored(
        None,
        help="live: run the teacher in every epoch; store: once per row, its outputs are then read from the cache; PATH: the same in "
        "this folder; auto: store if there is more than one epoch and enough disk space",
        metavar="auto|live|store|PATH",
        unset="auto with --preset sound, otherwise live",
        alias=(Alias("cache_knowledge", "version 0.1"), Alias("cache_teacher", "version 0.1", means="store")),
        no_effect=_unread,
    )
    teacher_traces_dtype: str = in_stored(
        "float16", help="numeric type of the stored traces", choices=("float16", "float32"), no_effect=_unstored
    )
    teacher_traces_gb: float | None = in_stored(
        None, help="maximum size in GB of a store that auto creates", unset="half of the free disk space", above=0, no_effect=_whatever_size
    )

    def check(self) -> list[Notice]:
        """Reject a store path that is a misspelled keyword."""
        asked, words = self.teacher_traces, ("auto", "live", "store")
        if asked is not None and asked.lower() in words and asked not in words:
            raise UserError(f"--teacher_traces got {asked!r}\nexpected auto, live, store or a folder; did you mean {asked.lower()}?")
        return super().check()

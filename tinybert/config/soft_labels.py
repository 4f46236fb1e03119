"""Options for soft labels: a file with the outputs of any model in place of a teacher."""

from __future__ import annotations

from pathlib import Path

from tinybert.config.groups import in_models
from tinybert.config.notices import Notice
from tinybert.config.options import Config
from tinybert.config.resolve import Context

CONTENTS = {"teacher_logits": "logits", "teacher_probabilities": "probabilities"}


def _unread(context: Context) -> str | None:
    return None if context.method.reads_teacher else f"--method {context.method.name} does not use a teacher"


def soft_label_option(config: Config | Context) -> str | None:
    """The option that names a file of soft labels; None without one."""
    return next((name for name in CONTENTS if getattr(config, name, None) is not None), None)


class SoftLabelOptions(Config):
    """The file of soft labels."""

    teacher_logits: Path | None = in_models(
        None,
        help="file with the logits of any model for the training rows, in place of a teacher: .npy, .npz, .tsv, .csv, .jsonl, .json or "
        ".parquet; in row order, or with the ids of --id_column",
        no_effect=_unread,
    )
    teacher_probabilities: Path | None = in_models(
        None, help="the same with probabilities, which sum to 1 in every row (multi-label: each from 0 to 1)", no_effect=_unread
    )

    def check(self) -> list[Notice]:
        """Reject two files."""
        self.refuse_both(*CONTENTS)
        return super().check()

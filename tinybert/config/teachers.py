"""Options for several teachers, whose outputs are averaged."""

from __future__ import annotations

from dataclasses import replace

from tinybert.config.distilling import ModelOptions
from tinybert.config.groups import in_models
from tinybert.config.notices import Notice
from tinybert.config.resolve import Context
from tinybert.config.soft_labels import SoftLabelOptions, soft_label_option
from tinybert.errors import UserError


def number_of_teachers(config: TeachersOptions | Context) -> int:
    """The models and files that teach."""
    return len(config.teacher_path or ()) + (soft_label_option(config) is not None)


def _single(context: Context) -> str | None:
    return "there is a single teacher" if number_of_teachers(context) < 2 else None


class TeachersOptions(SoftLabelOptions, ModelOptions):
    """One or several teachers, soft labels, and the student."""

    teacher_path: list[str] | None = replace(
        ModelOptions.teacher_path,
        help="folder of the fine-tuned teacher; the logits of several, and of soft labels, are averaged",
        whole=True,
    )
    teacher_weights: list[float] | None = in_models(
        None, help="weights of several teachers in their order, soft labels last", unset="equal", above=0, no_effect=_single
    )
    teacher_average: str = in_models(
        "probabilities",
        help="what of several teachers is averaged: probabilities (at temperature T), or logits; scores are always averaged themselves",
        choices=("probabilities", "logits"),
        no_effect=_single,
    )

    def check(self) -> list[Notice]:
        """Reject weights that do not belong to the teachers."""
        notes = super().check()
        count, weights = number_of_teachers(self), self.teacher_weights
        if weights is not None and count > 1 and len(weights) != count:
            raise UserError(f"--teacher_weights has {len(weights)} numbers for {count} teachers\ngive one for each, soft labels last")
        if len(set(self.teacher_path or ())) < len(self.teacher_path or ()):
            raise UserError("--teacher_path contains a duplicate\ngive each only once, and --teacher_weights")
        return notes

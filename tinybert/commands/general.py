"""General distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config import dialects
from tinybert.config.dialects import HUAWEI, PADDLENLP
from tinybert.config.distilling import ORDER, ModelOptions, TeacherOptions
from tinybert.config.groups import in_data, in_models, preset_option
from tinybert.config.notices import Notice
from tinybert.config.options import Alias, Derived
from tinybert.config.resolve import Context, resolve_stages
from tinybert.config.resolved import Resolved, Settings
from tinybert.config.text import TextOptions
from tinybert.errors import UserError
from tinybert.methods.command import MethodOptions


def _length_of_data(context: Context) -> Derived | None:
    length = context.facts["data_length"]
    return None if length is None else Derived(length, "pregenerated_data")


@command(
    "general",
    summary="distil a pre-trained teacher into a general student (general_distill.py)",
    recipe="general_distill:general_distill",
    script="general_distill.py",
)
class GeneralDistillConfig(MethodOptions, TextOptions, TeacherOptions, ModelOptions):
    """Distil a pre-trained teacher into a general student on raw text; general students are the starting point for task distillation."""

    IGNORED = dialects.IGNORED_GENERAL
    GROUPS = ORDER
    COMMAND = "general"

    teacher_path: str = in_models(
        help="folder or name of the pre-trained teacher; its head is not used",
        alias=(Alias("teacher_model", HUAWEI), Alias("teacher_model_name_or_path", PADDLENLP)),
    )
    student_model_name_or_path: str | None = in_models(
        None,
        help="folder whose config.json defines the student's shape (with continue_train, also its weights), or a model name, "
        "whose weights are used",
        alias=(Alias("student_model", HUAWEI),),
        unset="required unless student_init or student_layers is given",
    )
    continue_train: bool = in_models(False, help="start from the weights of student_model_name_or_path instead of random weights")
    pregenerated_data: Path | None = in_data(None, help="folder written by `tinybert pregenerate`, or the published script's JSON lines")
    input_dir: Path | None = in_data(
        None, help="raw text instead: a file, a folder or a pattern; tokenised once and cached, with the same rows in every epoch"
    )
    sequences: str | None = replace(
        TextOptions.sequences,
        no_effect=lambda context: None if context.facts["data_length"] is None else "pregenerated_data already contains the rows",
    )
    max_seq_length: int | None = replace(TextOptions.max_seq_length, derived=_length_of_data)
    preset: str = preset_option("general")

    def check(self) -> list[Notice]:
        """Reject missing or contradictory sources, teachers and students, and a malformed layer map."""
        notes = super().check()
        if self.pregenerated_data is None and self.input_dir is None:
            raise UserError(
                "no training data: --pregenerated_data is missing\n"
                "give a folder written by `tinybert pregenerate`, or raw text with --input_dir"
            )
        if self.pregenerated_data is not None and self.input_dir is not None:
            raise UserError("--pregenerated_data and --input_dir are two sources of text\ngive only one of them")
        if self.continue_train and self.student_model_name_or_path is None:
            raise UserError("--continue_train starts from a student's weights\ngive its folder with --student_model_name_or_path")
        self.resolve(None if self.pregenerated_data is None else 128)  # rejects settings that leave nothing to learn
        return notes

    def resolve(self, data_length: int | None) -> Resolved:
        """The settings, as `resolved["general"]`. data_length: of pre-generated sequences, sets max_seq_length; None for raw text.

        Raises:
            UserError: there is nothing to learn.
        """
        return resolve_stages(self, ("general",), data_length=data_length)

    def stage_notices(self, settings: Mapping[str, Settings]) -> list[Notice]:
        """Warn that PaddleNLP's script stops earlier."""
        if self.preset != "paddlenlp" or self.max_steps > 0:
            return []
        text = "PaddleNLP's script stops after its first step unless max_steps is given; here num_train_epochs applies"
        return [Notice("published-first-step", text)]

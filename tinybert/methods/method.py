"""What a method of distillation is. Importing it costs no Paddle: a method imports what it computes with when it builds its objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tinybert.config.options import Entry, Options
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.config.resolve import Context
    from tinybert.config.resolved import Settings
    from tinybert.kinds.kind import Kind
    from tinybert.methods.stage_objective import StageObjective
    from tinybert.models.loading import LoadedModel


class Method(Options):
    """A method, whose options are those that it and its bases declare; an object of it holds values for some of them.

    name: what `--method` calls it. help: a line for `--help`. commands: `distill`, `general` or both. stages: those of task distillation.
    preset: the preset of its published script, which fits no other method. reads_teacher: whether it learns from a teacher at all.
    prunes: whether the student may lose heads, neurons and layers while it learns. weighs_gold_labels: whether `prediction_weight` weighs
    the gold labels where the logits are not learnt.

    Options that a method declares itself are refused beside another method; those of its bases have no effect there.
    """

    name: ClassVar[str]
    help: ClassVar[str] = ""
    commands: ClassVar[tuple[str, ...]] = ("distill",)
    stages: ClassVar[tuple[str, ...]] = ("intermediate", "prediction")
    preset: ClassVar[str | None] = None
    reads_teacher: ClassVar[bool] = True
    prunes: ClassVar[bool] = False
    weighs_gold_labels: ClassVar[bool] = False

    def __init__(self, **values: object) -> None:
        self.given = [Entry(name, value, f"--{name}") for name, value in values.items() if value is not None]

    @classmethod
    def own_options(cls) -> frozenset[str]:
        """The options that the method itself declares."""
        return frozenset(name for name in cls.options() if name in vars(cls))

    def learns(self, stage: str, joint: bool) -> frozenset[str]:
        """What a stage learns of the teacher: `layers`, `logits`, both or neither."""
        return frozenset({"layers", "logits"} if joint else {"logits"} if stage == "prediction" else {"layers"})

    def check(self, config: Any) -> None:
        """Refuse what makes no sense with this method, whatever the stage.

        Raises:
            UserError: says which options do not go together.
        """

    def check_stage(self, context: Context) -> None:
        """Refuse a stage in which nothing is left to learn.

        Raises:
            UserError: says what is switched off.
        """

    def part_off(self, context: Context, part: str) -> str | None:
        """Why nothing is learnt of a part of the objective that options are about; None where it is."""
        return None

    def check_installation(self) -> None:
        """Refuse to start without a library that the method needs.

        Raises:
            UserError: says what to install.
        """

    def compares_scores(self, settings: Settings) -> bool:
        """Whether a stage compares attention scores, and so needs heads that fit."""
        return False

    def objective(self, settings: Settings, kind: Kind | None, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
        """What a stage learns. kind: of the task; None in general distillation, which has none.

        Raises:
            UserError: nothing is left to learn, or models and settings do not fit each other.
        """
        raise NotImplementedError


def refuse_other_methods(methods: Mapping[str, type[Method]], chosen: Method, config: Any) -> None:
    """Refuse options and the preset of another method.

    Raises:
        UserError: one of them is given.
    """
    for name, method in methods.items():
        if name == chosen.name:
            continue
        for option in method.options():
            if option in config.given and option in method.own_options() and option not in chosen.options():
                shown = config.spelled[option]
                raise UserError(f"--{shown} belongs to --method {name}\nadd --method {name}, or leave out --{shown}")

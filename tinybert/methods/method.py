"""The base class of distillation methods. Importing it does not import Paddle; methods import it when they build their objective."""

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
    """A method with its options, including those of base classes; an instance has values for some of them.

    name: for `--method`. help: a line for `--help`. commands: `distill`, `general` or both. stages: those of task distillation.
    preset: the preset of its published script, which only applies to this method. reads_teacher: whether it uses a teacher.
    prunes: whether it can be combined with gradual pruning. weighs_gold_labels: whether `prediction_weight` applies to the gold labels
    if the logits are not learned.

    Options declared by the method itself are rejected with other methods; those of its base classes are ignored there.
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
        """The options declared by the method itself."""
        return frozenset(name for name in cls.options() if name in vars(cls))

    def learns(self, stage: str, joint: bool) -> frozenset[str]:
        """What a stage learns from the teacher: `layers`, `logits`, both or neither."""
        return frozenset({"layers", "logits"} if joint else {"logits"} if stage == "prediction" else {"layers"})

    def check(self, config: Any) -> None:
        """Reject invalid combinations with this method, independent of the stage.

        Raises:
            UserError: says which options contradict each other.
        """

    def check_stage(self, context: Context) -> None:
        """Reject a stage that learns nothing.

        Raises:
            UserError: says what is disabled.
        """

    def part_off(self, context: Context, part: str) -> str | None:
        """Why a term of the objective is disabled; None if it is not."""
        return None

    def check_installation(self) -> None:
        """Reject a run without a library that the method needs.

        Raises:
            UserError: says what to install.
        """

    def compares_scores(self, settings: Settings) -> bool:
        """Whether a stage compares attention scores, which requires compatible heads."""
        return False

    def objective(self, settings: Settings, kind: Kind | None, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
        """The objective of a stage. kind: of the task; None in general distillation.

        Raises:
            UserError: there is nothing to learn, or models and settings are incompatible.
        """
        raise NotImplementedError


def check_other_methods(methods: Mapping[str, type[Method]], chosen: Method, config: Any) -> None:
    """Reject options and the preset of another method.

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

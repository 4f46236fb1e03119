"""The base class of distillation methods. Importing it does not import Paddle; methods import it when they build their objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tinybert.config.options import Options
from tinybert.config.resolve import Context
from tinybert.config.resolved import Settings
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.methods.logit_losses import logit_options, teacher_share
from tinybert.methods.stage_objective import StageObjective

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel


class DistillationMethod(Options):
    """A method with its options, including those of base classes. `tb.Method` is one with values for some of them.

    name: for `--method`. help: a line for `--help`; general_help: another one for `general`. commands: `distill`, `general` or both.
    stages: those of task distillation. at_once: whether its single stage learns layers and logits. preset: the preset of its published
    script, which only applies to this method. reads_teacher: whether it uses a teacher. prunes: whether it can be combined with gradual
    pruning. weighs_gold_labels: whether `prediction_weight` applies to the gold labels if the logits are not learned.

    Options declared by the method itself are rejected with other methods; those of its base classes are ignored there.
    """

    name: ClassVar[str]
    help: ClassVar[str] = ""
    general_help: ClassVar[str] = ""
    commands: ClassVar[tuple[str, ...]] = ("distill",)
    stages: ClassVar[tuple[str, ...]] = ("intermediate", "prediction")
    at_once: ClassVar[bool] = False
    preset: ClassVar[str | None] = None
    reads_teacher: ClassVar[bool] = True
    prunes: ClassVar[bool] = False
    weighs_gold_labels: ClassVar[bool] = False

    @classmethod
    def own_options(cls) -> frozenset[str]:
        """The options declared by the method itself."""
        return frozenset(name for name in cls.options() if name in vars(cls))

    def learns(self, stage: str, joint: bool) -> frozenset[str]:
        """What a stage learns from the teacher: `layers`, `logits`, both or neither."""
        return frozenset({"layers", "logits"} if joint or self.at_once else {"logits"} if stage == "prediction" else {"layers"})

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
        if "logits" in context.learns and context.use_pred and context.prediction_weight == 0:
            raise UserError(
                "the prediction stage has nothing to learn: --prediction_weight is 0.\nGive another weight, or leave out the option."
            )

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
        from tinybert.objectives.objective import Objective
        from tinybert.objectives.tinybert import prediction_objective

        chosen = self.layers(settings, student, teacher) if settings.learns_layers else None
        if chosen is not None and "logits" not in settings.learns:
            return chosen
        share, weight = teacher_share(settings), settings.prediction_weight
        logits = prediction_objective(kind, logit_options(settings), alpha=share, weight=weight)
        if chosen is None:
            return StageObjective(logits)
        chosen.objective = Objective([*chosen.objective.parts, *logits.parts], chosen.objective.projection)
        return chosen

    def layers(self, settings: Settings, student: LoadedModel, teacher: LoadedModel) -> StageObjective | None:
        """What a stage learns from the teacher's layers; None if a weight of 0 leaves only the logits."""
        raise NotImplementedError

"""What a kind of task must answer: labels, head, losses, scores, teacher check, predictions. Imports no Paddle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np

    from tinybert.data.tasks import Task
    from tinybert.objectives.objective import Loss

Labels = tuple[str, ...]


@dataclass(frozen=True)
class LogitOptions:
    """How a student learns a teacher's logits: what the options of the same names say. A kind reads those that it has a use for."""

    temperature: float = 1.0
    reduction: str = "sum"
    scale: bool = True
    regression_target: str = "teacher"


PLAIN = LogitOptions()


@dataclass(frozen=True)
class TeacherReport:
    """What the dev rows say of a teacher: its scores, those of guessing, and its best label order where that is not the task's.

    guess: what the teacher must be better than, in words. weak: not better than it by two standard errors. tells: whether the dev rows
    can tell a teacher from guessing at all. ordered: whether its outputs could stand for the labels in another order.
    scale: what to be warned of where gold and teacher are on different scales.
    """

    scores: dict[str, float]
    guess: str
    margin: float
    weak: bool
    tells: bool
    ordered: bool = False
    better_order: Labels | None = None
    better_accuracy: float = 0.0
    scale: str | None = None


class Kind:
    """One kind of task; an object without state, the same for every task of the kind.

    name: in `--kind`, in model folders and records. article: the name in a sentence. problem_type: what PaddleNLP and Hugging Face call
    it in config.json. head: what the logits are computed from, `sequence` (one vector a row)
    `token` (every token) or
    `span` (start and end). label_type: how labels are stored.
    label_word: what a label is called in messages. names_labels: the outputs have names, which `--labels` or the training file lists.
    softens: a temperature softens what is learnt. many_labels: a row has any number of labels.
    of_words: a row is a sentence of words with a label each. of_windows: rows are windows over the text of a question.
    """

    name: ClassVar[str]
    article: ClassVar[str]
    problem_type: ClassVar[str | None] = None
    head: ClassVar[str] = "sequence"
    label_type: ClassVar[str] = "int64"
    label_word: ClassVar[str] = "label"
    names_labels: ClassVar[bool] = True
    softens: ClassVar[bool] = True
    many_labels: ClassVar[bool] = False
    of_words: ClassVar[bool] = False
    of_windows: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"Kind({self.name})"

    # === Labels and head ===

    def outputs(self, labels: Labels) -> int:
        """The width of the logits."""
        raise NotImplementedError

    def label_width(self, labels: Labels) -> int:
        """How many numbers a stored label has; 1: labels are `[N]`."""
        return 1

    def names_in(self, text: str) -> list[str]:
        """The names of labels that the text of a label stands for."""
        return [text]

    def reader(self, labels: Labels) -> Callable[[str], object | None]:
        """From the text of a label to its value; None for a text that is no label."""
        raise NotImplementedError

    def expected(self, labels: Labels) -> str:
        """What the text of a label may be, in words."""
        raise NotImplementedError

    def describe(self, labels: Labels) -> str:
        """What the head of a model for these labels gives, in words."""
        return f"{self.outputs(labels)} labels ({', '.join(labels)})"

    def output_names(self, labels: Labels | None, outputs: int) -> Labels:
        """The names of a model's outputs, LABEL_<i> where they have none."""
        return labels or tuple(f"LABEL_{i}" for i in range(outputs))

    def head_config(self, labels: Labels) -> dict:
        """What config.json says of the head."""
        return {
            "id2label": {str(i): name for i, name in enumerate(labels)},
            "label2id": {name: i for i, name in enumerate(labels)},
            "problem_type": self.problem_type,
        }

    # === Training ===

    def inactive_options(self, values: Mapping[str, object]) -> dict[str, str]:
        """Name and reason of options about logits that have no effect beside the others for this kind."""
        return {"regression_target": f"the task is {self.article}"}

    def gold_loss(self) -> Loss:
        """The loss of the student's logits against the labels of its rows."""
        raise NotImplementedError

    def teacher_loss(self, options: LogitOptions) -> Loss | None:
        """The loss of the student's logits against the teacher's; None where the labels of the rows stand in the teacher's place."""
        raise NotImplementedError

    # === Scores ===

    def metrics(self, labels: Labels) -> tuple[str, ...]:
        """The metrics that `--metric` may name."""
        raise NotImplementedError

    def own_metrics(self, labels: Labels) -> tuple[str, ...]:
        """The metrics of a user's own files; the first one chooses the best model."""
        raise NotImplementedError

    def decide(self, task: Task, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Numbers that predictions depend on beside the logits, chosen on labelled rows and kept in the model."""
        return {}

    def default_decision(self) -> dict[str, float]:
        """The same where no rows have chosen them."""
        return {}

    def decision_of(self, config: dict) -> dict[str, float]:
        """The same as a model's configuration has them."""
        found = {name: config.get(name) for name in self.default_decision()}
        return self.default_decision() | {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}

    def score(self, task: Task, logits: np.ndarray, labels: np.ndarray, decision: Mapping[str, float] | None = None) -> dict[str, float]:
        """The task's metrics of logits against labels, as fractions of 1; decision: what `decide` has chosen.

        Raises:
            NumericalError: a logit is NaN or infinite.
        """
        raise NotImplementedError

    def guessing(self, task: Task, labels: np.ndarray) -> dict[str, float]:
        """The metrics of saying always the same, the scores to beat."""
        raise NotImplementedError

    def score_teacher(self, task: Task, logits: np.ndarray, labels: np.ndarray) -> TeacherReport:
        """Judge a teacher by its logits on labelled rows."""
        raise NotImplementedError

    # === Predictions ===

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """The probabilities of the labels, `[N, C]`."""
        raise NotImplementedError

    def chosen(self, probabilities: np.ndarray, decision: Mapping[str, float]) -> list[tuple[list[int], float]]:
        """The labels that each row is predicted to have, and how sure that is."""
        raise NotImplementedError

    def answers(self, task: Task, logits: np.ndarray, decision: Mapping[str, float] | None = None) -> list[str]:
        """The prediction of each row as a file of predictions has it."""
        raise NotImplementedError

    def check_variants(self, task: Task) -> str | None:
        """Why a teacher cannot judge augmented rows of this task; None where it can."""
        return None

    def keeps_variants(self, task: Task, outputs: np.ndarray, keep: float) -> np.ndarray:
        """Which variants of a row the teacher still takes for what the row was, bool `[V]`.

        outputs: its logits `[V, C]`, the row itself first. keep: the share of its confidence that must be left.
        """
        raise NotImplementedError

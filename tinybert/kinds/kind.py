"""The interface of a task kind: labels, head, losses, scores, teacher check, predictions. Does not import Paddle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np

    from tinybert.data.store import Rows
    from tinybert.data.tasks import Task
    from tinybert.objectives.objective import Loss

Labels = tuple[str, ...]
SMALLEST = 1e-7  # probability whose logarithm stands for that of 0


@dataclass(frozen=True)
class LogitOptions:
    """How a student learns a teacher's logits: the options of the same names. A kind reads those it needs."""

    temperature: float = 1.0
    reduction: str = "sum"
    scale: bool = True
    regression_target: str = "teacher"


PLAIN = LogitOptions()


@dataclass(frozen=True)
class TeacherReport:
    """The teacher's scores on the dev set, the baseline scores, and its best label order if that differs from the task's.

    guess: a description of the baseline. weak: not better than the baseline by two standard errors. worse: worse by two standard errors.
    constant: the prediction, if it is the same for all rows although their labels differ. informative: whether the dev set is large and
    varied enough to detect a weak teacher. ordered: whether its outputs could have another label order. scale: a warning if gold and
    teacher scores are on different scales.
    """

    scores: dict[str, float]
    guess: str
    margin: float
    weak: bool
    informative: bool
    worse: bool = False
    constant: str | None = None
    ordered: bool = False
    better_order: Labels | None = None
    better_accuracy: float = 0.0
    scale: str | None = None


class Kind:
    """One kind of task: a stateless object, shared by all tasks of the kind.

    name: in `--kind`, model folders and records. title: a readable name. problem_type: PaddleNLP's and Hugging Face's name
    in config.json. head: the input of the logits, `sequence` (one vector per row), `token` (every token) or `span` (start and end).
    label_type: how labels are stored. label_word: what a label is called in messages.
    names_labels: outputs have names, from `--labels` or the training file. metric_names: the metrics, if they are the same for all labels.
    decisions: the names of what `decide` chooses. softens: whether a temperature applies. many_labels: a row can have any number of labels.
    of_words: a row is a sentence with one label per word. of_windows: rows are windows over the text of a question.
    weighs_labels: `--class_weights` applies.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    problem_type: ClassVar[str | None] = None
    head: ClassVar[str] = "sequence"
    label_type: ClassVar[str] = "int64"
    label_word: ClassVar[str] = "label"
    metric_names: ClassVar[tuple[str, ...]] = ()
    decisions: ClassVar[tuple[str, ...]] = ()
    names_labels: ClassVar[bool] = True
    softens: ClassVar[bool] = True
    many_labels: ClassVar[bool] = False
    of_words: ClassVar[bool] = False
    of_windows: ClassVar[bool] = False
    weighs_labels: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"Kind({self.name})"

    # === Labels and head ===

    def outputs(self, labels: Labels) -> int:
        """The width of the logits."""
        return len(labels)

    def label_width(self, labels: Labels) -> int:
        """How many numbers a stored label has; 1: labels are `[N]`."""
        return 1

    def names_in(self, text: str) -> list[str]:
        """The label names in the label text of a row; several only in multi-label tasks."""
        return [text]

    def reader(self, labels: Labels) -> Callable[[str], object | None]:
        """Converts the text of a label to its value, by default its index; None if it is not a label."""
        return {label: i for i, label in enumerate(labels)}.get

    def expected(self, labels: Labels) -> str:
        """A description of valid label texts."""
        return f"one of {some_of(labels)}"

    def describe(self, labels: Labels) -> str:
        """A description of the output of a model for these labels."""
        return f"{self.outputs(labels)} labels ({', '.join(labels)})"

    def output_names(self, labels: Labels | None, outputs: int) -> Labels:
        """The names of a model's outputs, LABEL_<i> if they have none; empty for a kind without names."""
        return (labels or tuple(f"LABEL_{i}" for i in range(outputs))) if self.names_labels else ()

    def head_config(self, labels: Labels) -> dict:
        """The entries of config.json about the head; without a problem_type the class of the head determines the kind."""
        return {
            "id2label": {str(i): name for i, name in enumerate(labels)},
            "label2id": {name: i for i, name in enumerate(labels)},
            **({"problem_type": self.problem_type} if self.problem_type else {}),
        }

    # === Training ===

    def inactive_options(self, values: Mapping[str, object]) -> dict[str, str]:
        """Names and reasons of logit options that have no effect in combination with the others for this kind."""
        return {"regression_target": f"the task is {self.title}"}

    def gold_loss(self) -> Loss:
        """The loss between the student's logits and the labels."""
        raise NotImplementedError

    def label_counts(self, rows: Rows, labels: Labels) -> tuple[np.ndarray, int]:
        """How often each label occurs in training rows, int64 `[C]`, and the number of decisions for each label."""
        raise NotImplementedError

    def label_weights(self, counts: np.ndarray, decisions: int, given: np.ndarray | None) -> np.ndarray:
        """The factors of the gold loss, float64 `[C]`, whose mean over the training rows is 1.

        given: the weights of the labels, of which only the ratios matter; None: scikit-learn's `balanced`, decisions / (C * count).
        """
        import numpy as np

        weights = np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0) if given is None else given
        return weights * (decisions / (weights * counts).sum())

    def teacher_loss(self, options: LogitOptions) -> Loss | None:
        """The loss between the student's and the teacher's logits; None if the labels are used instead of the teacher."""
        raise NotImplementedError

    # === Scores ===

    def metrics(self, labels: Labels) -> tuple[str, ...]:
        """The valid values of `--metric`."""
        return self.metric_names

    def own_metrics(self, labels: Labels) -> tuple[str, ...]:
        """The metrics for custom files; the first one selects the best model."""
        return self.metrics(labels)

    def decide(self, task: Task, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Decision parameters, such as thresholds, chosen on labelled rows and saved with the model."""
        return {}

    def default_decision(self) -> dict[str, float]:
        """The same if they have not been chosen on rows."""
        return {}

    def decision_of(self, config: dict) -> dict[str, float]:
        """The same from a model's configuration."""
        found = {name: config.get(name) for name in self.decisions}
        return self.default_decision() | {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}

    def score(self, task: Task, logits: np.ndarray, labels: np.ndarray, decision: Mapping[str, float] | None = None) -> dict[str, float]:
        """The task's metrics as fractions of 1; decision: the result of `decide`.

        Raises:
            NumericalError: a logit is NaN or infinite.
        """
        raise NotImplementedError

    def score_teacher(self, task: Task, logits: np.ndarray, labels: np.ndarray) -> TeacherReport:
        """Evaluate a teacher by its logits on labelled rows."""
        raise NotImplementedError

    # === Predictions ===

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """The probabilities of the labels, `[N, C]`."""
        raise NotImplementedError

    def logits_of(self, probabilities: np.ndarray) -> np.ndarray:
        """Logits with these probabilities, `[N, C]`; values below `SMALLEST` count as that."""
        raise NotImplementedError

    def chosen(self, probabilities: np.ndarray, decision: Mapping[str, float]) -> list[tuple[list[int], float]]:
        """The predicted labels of each row and their confidence."""
        raise NotImplementedError

    def answers(self, task: Task, logits: np.ndarray, decision: Mapping[str, float] | None = None) -> list[str]:
        """The prediction of each row as written to a file of predictions: the label with the highest logit."""
        return [task.labels[i] for i in logits.argmax(1)]

    def check_variants(self, task: Task) -> str | None:
        """Why a teacher cannot filter augmented rows of this task; None if it can."""
        return None

    def keeps_variants(self, task: Task, outputs: np.ndarray, keep: float) -> np.ndarray:
        """Which variants of a row the teacher still assigns to the row's own label, bool `[V]`.

        outputs: its logits `[V, C]`, the row itself first. keep: the share of its confidence that must remain.
        """
        raise NotImplementedError


def some_of(labels: Labels) -> str:
    """The label names, only the first 30 if there are many."""
    return ", ".join(labels[:30]) + (f", ... ({len(labels)} labels)" if len(labels) > 30 else "")

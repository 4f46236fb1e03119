"""The registered task kinds."""

from __future__ import annotations

from tinybert.errors import UserError
from tinybert.kinds.classification import Classification
from tinybert.kinds.kind import Kind, Labels
from tinybert.kinds.multi_label import MultiLabel
from tinybert.kinds.question_answering import QuestionAnswering
from tinybert.kinds.regression import Regression
from tinybert.kinds.token_classification import TokenClassification

DEFAULT = Classification()
KINDS: dict[str, Kind] = {kind.name: kind for kind in (DEFAULT, Regression(), MultiLabel(), TokenClassification(), QuestionAnswering())}

METRICS: tuple[str, ...] = tuple(dict.fromkeys(metric for kind in KINDS.values() for metric in kind.metrics(("0", "1"))))


def get_kind(name: str) -> Kind:
    """The kind with this name.

    Raises:
        UserError: there is none.
    """
    if name not in KINDS:
        raise UserError(f"--kind got {name!r}\nexpected one of {', '.join(KINDS)}")
    return KINDS[name]


def kind_of_labels(labels: Labels) -> Kind:
    """The kind of a sequence-level task, given only its labels: classification if they have names, else regression."""
    return DEFAULT if labels else next(kind for kind in KINDS.values() if not kind.names_labels)


def kind_of_config(config: dict) -> Kind | None:
    """The kind in a model's configuration, from `problem_type` or the class of its head; None if it has neither."""
    stated = config.get("problem_type")
    classes = config.get("architectures")
    for head, end in (("token", "ForTokenClassification"), ("span", "ForQuestionAnswering")):
        if isinstance(classes, list) and any(str(name).endswith(end) for name in classes):
            return next(kind for kind in KINDS.values() if kind.head == head)
    return next((kind for kind in KINDS.values() if stated and kind.problem_type == stated), None)


def kind_of_outputs(outputs: int) -> Kind:
    """The kind of a sequence-level head, given only its width."""
    return kind_of_labels(("",) if outputs > 1 else ())

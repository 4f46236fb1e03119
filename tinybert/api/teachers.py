"""The teachers of a distillation: models and soft labels."""

from __future__ import annotations

from dataclasses import dataclass

from tinybert.api.models import Model, load
from tinybert.api.soft_labels import SoftLabels
from tinybert.errors import UserError


@dataclass(frozen=True)
class Teachers:
    """models: in their order. options: the corresponding command-line options. gives_layers: whether layers can be learned."""

    models: tuple[Model, ...]
    options: dict[str, object]
    gives_layers: bool

    @property
    def first(self) -> Model | None:
        """The model whose layers, heads and vocabulary a new student takes."""
        return self.models[0] if self.models else None


def teachers_of(teacher: object) -> Teachers:
    """What an argument `teacher` stands for: anything `tb.load` accepts, soft labels, a list of them, or None.

    Raises:
        UserError: several soft labels, or models after them.
    """
    each = list(teacher) if isinstance(teacher, (list, tuple)) else [] if teacher is None else [teacher]
    soft = [one for one in each if isinstance(one, SoftLabels)]
    if len(soft) > 1 or (soft and soft[0] is not each[-1]):
        raise UserError("teacher got soft labels that are not last, or several of them\ngive the models, then at most one SoftLabels")
    models = tuple(load(one) for one in each if not isinstance(one, SoftLabels))
    options: dict[str, object] = {"teacher_path": [str(model.path) for model in models]} if models else {}
    return Teachers(models, options | (soft[0].options if soft else {}), not soft and len(models) < 2)

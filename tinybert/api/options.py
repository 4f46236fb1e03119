"""Command-line options as objects that are checked on construction."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tinybert.commands.distill import TaskDistillConfig
from tinybert.config.options import Option
from tinybert.errors import UserError

# a minimal configuration that passes its own checks
_ELSEWHERE = {"task_name": "demo", "teacher_path": ".", "student_layers": 1, "output_dir": "."}


class ChosenOptions:
    """Some options of task distillation with their values."""

    def __init__(self, values: Mapping[str, object], belongs: Callable[[Option], bool], instead: str, **fixed: object) -> None:
        fixed = {name: value for name, value in {**_ELSEWHERE, **fixed}.items() if value is not None}
        twice = next((name for name in values if name in fixed), None)
        if twice is not None:
            raise UserError(f"{type(self).__name__} does not take --{twice}\n{instead}")
        checked = TaskDistillConfig(**fixed, **values)
        known = checked.options()
        self.options = {name: getattr(checked, name) for name in known if name in checked.given and name not in fixed}
        foreign = next((name for name in self.options if not belongs(known[name])), None)
        if foreign is not None:
            raise UserError(f"{type(self).__name__} does not take --{foreign}\n{instead}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  its values may be lists

"""Options and presets that belong to one method."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tinybert.config.groups import actions
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.config.arguments import TaskDistillArguments


def refuse_for_others(method: str, names: Iterable[str], arguments: TaskDistillArguments, given: set[str], spelled: dict[str, str]) -> None:
    """Refuse the options `names` and the preset of `method` where another method is asked for.

    Raises:
        UserError: one of them is given.
    """
    if arguments.method == method:
        return
    for name in names:
        if name in given:
            shown = spelled.get(name, name)
            raise UserError(
                f"--{shown} belongs to --method {method}, which is not asked for\nadd --method {method}, or leave --{shown} out"
            )
    if arguments.preset == method and actions(arguments).train:
        raise UserError(f"--preset {method} holds the numbers of --method {method}\nadd --method {method}, or choose another preset")

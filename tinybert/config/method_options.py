"""Options and presets that belong to one method."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tinybert.config.groups import actions
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.commands.distill import TaskDistillConfig


def refuse_for_others(method: str, names: Iterable[str], config: TaskDistillConfig) -> None:
    """Refuse the options `names` and the preset of `method` where another method is asked for.

    Raises:
        UserError: one of them is given.
    """
    if config.method == method:
        return
    for name in names:
        if name in config.given:
            shown = config.spelled[name]
            raise UserError(
                f"--{shown} belongs to --method {method}, which is not asked for\nadd --method {method}, or leave --{shown} out"
            )
    if config.preset == method and actions(config).train:
        raise UserError(f"--preset {method} holds the numbers of --method {method}\nadd --method {method}, or choose another preset")

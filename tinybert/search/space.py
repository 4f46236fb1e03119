"""The search space: a range or a list of values for each option."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinybert.config.options import Config, Option
from tinybert.errors import UserError

if TYPE_CHECKING:
    from optuna import Trial

Value = int | float | str | bool
_FORM = "expected NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=VALUE,VALUE, such as learning_rate=1e-5..1e-3:log"


@dataclass(frozen=True)
class Parameter:
    """An option that is searched: a range with both ends, on a logarithmic scale or not, or choices."""

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()

    @property
    def ends(self) -> tuple[Value, ...]:
        """The choices, or the bounds of the range."""
        return self.choices or (self.low, self.high)

    def suggest(self, trial: Trial) -> Value:
        """The value for a trial."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        suggest = trial.suggest_int if isinstance(self.low, int) else trial.suggest_float
        return suggest(self.name, self.low, self.high, log=self.log)


def read_space(pieces: Sequence[str], command: type[Config]) -> list[Parameter]:
    """The parameters in `--space`. pieces: the arguments split at commas and spaces, so that choices are separate items.

    Raises:
        UserError: malformed, an option that the command does not have, an invalid value, or a duplicate.
    """
    words: list[str] = []
    for piece in pieces:
        if "=" in piece or not words:
            words.append(piece)
        else:
            words[-1] += f",{piece}"
    found = [_read(word, command) for word in words]
    names = [parameter.name for parameter in found]
    if len(set(names)) < len(names):
        raise UserError(f"--space names {next(name for name in names if names.count(name) > 1)} twice\ngive each option once")
    return found


def _read(word: str, command: type[Config]) -> Parameter:
    name, _, text = word.partition("=")
    known = command.options().get(name)
    if known is None or name == "output_dir":
        raise UserError(f"--space got {word!r}\n{_FORM}; {name!r} cannot be searched")
    ends = re.fullmatch(r"([^.,]\S*?)\.\.([^:,]+)(:log)?", text)
    if ends is None:
        values = tuple(_value(known, piece, word) for piece in text.split(","))
        if len(set(values)) < len(values):
            raise UserError(f"--space got {word!r}\nexpected different values")
        return Parameter(name, choices=values)
    if known.kind not in (int, float):
        raise UserError(f"--space got {word!r}\n--{name} is not a number: give its values separated by commas")
    low, high = (_value(known, end, word) for end in ends.groups()[:2])
    if not low < high or (ends[3] and low <= 0):
        raise UserError(f"--space got {word!r}\nexpected a lower and a higher number{', both above 0' if ends[3] else ''}")
    return Parameter(name, low, high, bool(ends[3]))


def _value(known: Option, text: str, word: str) -> Value:
    if not text:
        raise UserError(f"--space got {word!r}\n{_FORM}")
    return known.read(text, f"--space {known.name}")

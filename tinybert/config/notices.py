"""What is said about a command line or a configuration that is nevertheless accepted."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Notice:
    """A line for the user, printed as a warning, with a `code` that stays when its words change."""

    code: str
    text: str

    def __str__(self) -> str:
        return self.text

"""Notices about a command line or configuration that is accepted."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Notice:
    """A line printed as a warning, with a `code` that stays the same when the text changes."""

    code: str
    text: str

    def __str__(self) -> str:
        return self.text

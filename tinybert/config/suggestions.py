"""Which known name did the user probably mean."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, whatever the case and the hyphens, or None where nothing resembles it."""
    import difflib

    plain = {entry.lower().replace("-", "_"): entry for entry in known}
    found = difflib.get_close_matches(name.lower().replace("-", "_"), plain, n=1, cutoff=0.5)
    return plain[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """`; did you mean X?` to append to a message, or nothing."""
    found = nearest(name, known)
    return f"; did you mean {prefix}{found}?" if found else ""

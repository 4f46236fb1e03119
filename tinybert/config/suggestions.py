"""Suggests the known name that the user probably meant: only close misspellings, because a wrong suggestion is misleading."""

from __future__ import annotations

from collections.abc import Iterable

_LONG = 12  # from this length on, two edits still count as a misspelling


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name of which `name` is a misspelling or a prefix, ignoring case and hyphens; None if there is none.

    `num_labels` is no misspelling of `num_layers`: better no suggestion than a wrong one.
    """
    asked = _plain(name)
    plain = {_plain(entry): entry for entry in known}
    if asked in plain:
        return plain[asked]
    close = [
        (slips, entry) for entry in plain if (slips := _edit_distance(asked, entry)) <= (2 if min(len(asked), len(entry)) >= _LONG else 1)
    ]
    if close:
        return plain[min(close)[1]]
    longer = [
        entry for entry in plain if len(asked) >= 4 and entry[:4] == asked[:4] and "_" not in entry + asked or entry == f"{asked}_path"
    ]
    return plain[longer[0]] if len(longer) == 1 else None


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """`; did you mean X?` to append to a message, or nothing."""
    found = nearest(name, known)
    return f"; did you mean {prefix}{found}?" if found else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _edit_distance(first: str, second: str) -> int:
    """The optimal string alignment distance (deletions, insertions, substitutions, transpositions), up to 3."""
    if abs(len(first) - len(second)) > 2:
        return 3
    before, last = [], list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        row = [i]
        for j, other in enumerate(second, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]

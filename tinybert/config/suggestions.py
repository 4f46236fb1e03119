"""Which known name did the user probably mean: only names that are a slip of the keyboard away, for a wrong guess changes the meaning."""

from __future__ import annotations

from collections.abc import Iterable

_LONG = 12  # from this length on, two slips are still one name


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is a misspelling or the beginning of, whatever the case and the hyphens; None where there is none.

    `num_labels` is no misspelling of `num_layers`, nor `class_weights` of `update_weight`: no guess is better than another meaning.
    """
    asked = _plain(name)
    plain = {_plain(entry): entry for entry in known}
    if asked in plain:
        return plain[asked]
    close = [(slips, entry) for entry in plain if (slips := _slips(asked, entry)) <= (2 if min(len(asked), len(entry)) >= _LONG else 1)]
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


def _slips(first: str, second: str) -> int:
    """Letters left out, put in, exchanged or swapped with the next one (optimal string alignment); more than two are not counted."""
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

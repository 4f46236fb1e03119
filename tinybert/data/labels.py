"""Labels as spelled in a file: counts, and spellings that probably mean the same label."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from tinybert.errors import UserError

OPTION = "--allow_suspicious_labels"
MAX_SHOWN = 10  # findings in one error message
SMALL_FILE = 20  # rows: in such a small file it is normal that half of the labels have one row
_JOINED = re.compile(r"(?<=\w)[\s_-]+(?=\w)")


@dataclass
class LabelCount:
    """The number of rows with a label, and the line of the first one."""

    rows: int
    line: int


def count_labels(labels: Iterable[tuple[int, str]]) -> dict[str, LabelCount]:
    """Row count and first line of each label, in order of appearance; `labels` are pairs of line and label."""
    found: dict[str, LabelCount] = {}
    for line, label in labels:
        count = found.get(label)
        if count is None:
            found[label] = LabelCount(1, line)
        else:
            count.rows += 1
    return found


def plain_spelling(label: str) -> str:
    """The label normalised for case, width, composition, invisible characters, quotes, separators and number format.

    Two labels with the same normalised spelling look like the same label: `Yes` and `yes`, `0` and `0.0`, `not_a` and `not-a`.
    """
    text = unicodedata.normalize("NFKC", label).casefold()
    text = unicodedata.normalize("NFKC", "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc")))
    text = _JOINED.sub(" ", text.strip().strip("'\"").strip())
    try:
        number = float(text)
    except ValueError:
        return text
    return repr(number + 0.0) if math.isfinite(number) else text  # + 0.0: minus zero becomes zero


def similar_labels(labels: Iterable[str]) -> list[list[str]]:
    """Groups of at least two labels with the same normalised spelling."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(plain_spelling(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def check_spelling(labels: Iterable[str], where: str) -> None:
    """Reject a list of labels that contains two spellings of one label.

    Raises:
        UserError: names both.
    """
    groups = [", ".join(_shown(group)) for group in similar_labels(labels)]
    if groups:
        raise UserError(
            f"{where}: found labels that differ only in spelling: {'; '.join(groups)}, expected one spelling per class.\n"
            f"Keep one of them, or use {OPTION} to train them as different classes."
        )


def check_labels(counts: dict[str, LabelCount], where: str) -> None:
    """Reject labels of a file that are probably errors: a second spelling, or a label with a single row.

    Raises:
        UserError: names labels, rows and lines.
    """
    findings = []
    known = set()
    for group in similar_labels(counts):
        known.update(group)
        described = [f"{shown} ({_rows(counts[label])})" for label, shown in zip(group, _shown(group), strict=True)]
        findings.append(f"labels that differ only in spelling: {', '.join(described)}")
    single = [label for label, count in counts.items() if count.rows == 1]
    if 2 * len(single) < len(counts) or sum(count.rows for count in counts.values()) >= SMALL_FILE:
        findings += [
            f"a label that occurs in a single row: {label!r} (line {counts[label].line})" for label in single if label not in known
        ]
    if findings:
        more = [f"... and {len(findings) - MAX_SHOWN} more"] if len(findings) > MAX_SHOWN else []
        lines = "\n  ".join([f"{where}: found", *findings[:MAX_SHOWN], *more])
        raise UserError(
            f"{lines}\nexpected one spelling per class, and at least two rows of each.\n"
            f"Correct the rows, or use {OPTION} to train each as a separate class."
        )


def _rows(count: LabelCount) -> str:
    return f"{count.rows:,} row{'s' if count.rows > 1 else ''}, first in line {count.line}"


def _shown(group: list[str]) -> list[str]:
    """The labels of a group as text, with escapes if two of them would look the same."""
    looks = {unicodedata.normalize("NFC", label) for label in group}
    return [repr(label) if len(looks) == len(group) else ascii(label) for label in group]

"""The texts of a row and of its variants: one side varies at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def augmented_rows(texts: tuple[str, ...], vary: Callable[[int, str], list[str]], pairs: str) -> Iterator[tuple[str, ...]]:
    """The row itself and its variants, as the texts that stand in them; `vary(side, text)` gives the variants of one text.

    pairs: `original` gives the row once, then the variants of the first text beside the original second one, then those of the
    second beside the original first one. `published` is what Huawei's and PaddleNLP's scripts write: while the second text varies the
    first stays at its last variant, beside the original second text too.
    """
    yield texts
    standing = texts
    for side, text in enumerate(texts):
        found = vary(side, text)
        if side and pairs == "published":
            yield standing
        for variant in found:
            row = tuple(variant if i == side else other for i, other in enumerate(standing))
            yield row
        if pairs == "published" and found:
            standing = tuple(found[-1] if i == side else other for i, other in enumerate(standing))

"""The texts of a row and of its variants: one side varies at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def augmented_rows(texts: tuple[str, ...], vary: Callable[[int, str], list[str]], pairs: str) -> Iterator[tuple[str, ...]]:
    """The texts of the row itself and of its variants; `vary(side, text)` returns the variants of one text.

    pairs: `original` yields the row once, then the variants of the first text with the original second one, then those of the
    second with the original first one. `published` is the behaviour of Huawei's and PaddleNLP's scripts: while the second text varies
    the first stays at its last variant, also with the original second text.
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

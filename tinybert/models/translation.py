"""A model that is given the ids of another vocabulary with the same word pieces."""

from __future__ import annotations

import json
import re

import numpy as np
import paddle
from paddle import Tensor, nn

from tinybert.data.tokenizer import WordPiece
from tinybert.models.trace import base_of

_MARK = re.compile("<[a-z]+>")  # tokens that no text has


class Translation:
    """A table from ids of one vocabulary to those of another."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = paddle.to_tensor(table)

    def __call__(self, ids: Tensor) -> Tensor:
        """The other ids `[B, T]`."""
        return paddle.gather(self.table, ids.reshape([-1])).reshape(ids.shape)


def table_of(source: WordPiece, target: WordPiece) -> np.ndarray | None:
    """Where each piece of `source` stands in `target`, special tokens by their role.

    None where the pieces are not the same ones, or text is cut otherwise.

    MPNet's vocabulary is BERT's with four tokens before and one behind it. Its unused copies of BERT's special tokens are left alone.
    """
    settings = [
        (each.do_lower_case, each.tokenize_chinese_chars, each.strip_accents, len(each.vocabulary) > 0) for each in (source, target)
    ]
    if settings[0] != settings[1]:
        return None
    more = set(target.vocabulary) - set(source.vocabulary) - set(target.special.values())
    if not all(_MARK.fullmatch(piece) for piece in more):
        return None  # text would be cut into other pieces
    place = {piece: number for number, piece in enumerate(target.vocabulary)}
    of_role = {source.special[role]: target.special[role] for role in source.special if role in target.special}
    found = [place.get(of_role.get(piece, piece)) for piece in source.vocabulary]
    return None if None in found else np.array(found, np.int64)


def read_ids_of(model: nn.Layer, own: WordPiece, given: WordPiece) -> None:
    """From now on `trace` gives the model ids of the vocabulary `given`.

    Raises:
        ValueError: the vocabularies have other pieces.
    """
    if own.fingerprint == given.fingerprint:
        base_of(model).translation = None
        return
    table = table_of(given, own)
    if table is None:
        raise ValueError(json.dumps([own.vocab_size, given.vocab_size]))
    base_of(model).translation = Translation(table)

"""A model that is called with the ids of another vocabulary with the same tokens."""

from __future__ import annotations

import json
import re

import numpy as np
import paddle
from paddle import Tensor, nn

from tinybert.data.tokenizer import WordPiece
from tinybert.models.trace import base_of

_MARK = re.compile("<[a-z]+>")  # tokens that do not occur in texts


class Translation:
    """A table that maps ids of one vocabulary to another."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = paddle.to_tensor(table)

    def __call__(self, ids: Tensor) -> Tensor:
        """The mapped ids `[B, T]`."""
        return paddle.gather(self.table, ids.reshape([-1])).reshape(ids.shape)


def table_of(source: WordPiece, target: WordPiece) -> np.ndarray | None:
    """The index in `target` of each token of `source`, special tokens by their role.

    None if the tokens differ, or text is tokenized differently.

    MPNet's vocabulary is BERT's with four tokens before and one after it. Its unused copies of BERT's special tokens are ignored.
    """
    settings = [
        (each.do_lower_case, each.tokenize_chinese_chars, each.strip_accents, len(each.vocabulary) > 0) for each in (source, target)
    ]
    if settings[0] != settings[1]:
        return None
    more = set(target.vocabulary) - set(source.vocabulary) - set(target.special.values())
    if not all(_MARK.fullmatch(piece) for piece in more):
        return None  # text would be tokenized differently
    place = {piece: number for number, piece in enumerate(target.vocabulary)}
    of_role = {source.special[role]: target.special[role] for role in source.special if role in target.special}
    found = [place.get(of_role.get(piece, piece)) for piece in source.vocabulary]
    return None if None in found else np.array(found, np.int64)


def read_ids_of(model: nn.Layer, own: WordPiece, given: WordPiece) -> None:
    """Make `trace` call the model with ids of the vocabulary `given` from now on.

    Raises:
        ValueError: the vocabularies have different tokens.
    """
    if own.fingerprint == given.fingerprint:
        base_of(model).translation = None
        return
    table = table_of(given, own)
    if table is None:
        raise ValueError(json.dumps([own.vocab_size, given.vocab_size]))
    base_of(model).translation = Translation(table)

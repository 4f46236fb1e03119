"""A model that is called with the ids of another vocabulary with the same tokens."""

from __future__ import annotations

import functools
import re

import numpy as np
import paddle
from paddle import nn

from tinybert.data.fast_tokenizer import FastTokenizer
from tinybert.data.tokenizer import WordPiece
from tinybert.models.trace import base_of, look_up

_MARK = re.compile("<[a-z]+>")  # tokens that do not occur in texts


def have_same_tokens(one: WordPiece | FastTokenizer, other: WordPiece | FastTokenizer) -> bool:
    """Whether rows of `one` can be given to a model of `other`, with ids translated if they differ."""
    return one.fingerprint == other.fingerprint or table_of(one, other) is not None


def table_of(source: WordPiece | FastTokenizer, target: WordPiece | FastTokenizer) -> np.ndarray | None:
    """The index in `target` of each token of `source`, special tokens by their role, int64 `[V]`.

    None if the tokens differ, or text is tokenised differently.

    MPNet's vocabulary is BERT's with four tokens before and one after it. Its unused copies of BERT's special tokens are ignored.
    """
    if not (isinstance(source, WordPiece) and isinstance(target, WordPiece)):
        return None
    rules, others = ((each.do_lower_case, each.tokenize_chinese_chars, each.strip_accents) for each in (source, target))
    more = set(target.vocabulary) - set(source.vocabulary) - set(target.special.values())
    if rules != others or not all(_MARK.fullmatch(piece) for piece in more):
        return None  # text would be tokenised differently
    place = {piece: number for number, piece in enumerate(target.vocabulary)}
    of_role = {source.special[role]: target.special[role] for role in source.special if role in target.special}
    found = [place.get(of_role.get(piece, piece)) for piece in source.vocabulary]
    return None if None in found else np.array(found, np.int64)


def read_ids_of(model: nn.Layer, own: WordPiece, given: WordPiece) -> None:
    """Make `trace` call the model with ids of the vocabulary `given` from now on; `check_fit` has accepted it."""
    same = own.fingerprint == given.fingerprint
    base_of(model).own_ids = None if same else functools.partial(look_up, paddle.to_tensor(table_of(given, own)))

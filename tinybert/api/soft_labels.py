"""Soft labels: the outputs of any model in place of a teacher."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.data.places import cache_home
from tinybert.errors import UserError


class SoftLabels:
    """The logits or probabilities of any model for the training rows, as the teacher of `tb.distill`.

    logits, probabilities: a file, or an array `[N, C]`; one of the two. labels: the label of each column of an array, by default in the
    order of the task. ids: of the rows of an array, found in the `id_column` of the data; without ids the order is that of the training
    rows. Arrays are written to the cache folder (TINYBERT_CACHE) under a content hash.

    Raises:
        UserError: not one of the two, or labels and ids for a file.
    """

    def __init__(
        self,
        logits: object = None,
        probabilities: object = None,
        *,
        labels: Sequence[str] | None = None,
        ids: Sequence[object] | None = None,
    ) -> None:
        given = {name: value for name, value in (("logits", logits), ("probabilities", probabilities)) if value is not None}
        if len(given) != 1:
            raise UserError(f"SoftLabels got {' and '.join(given) or 'nothing'}\nexpected either logits or probabilities")
        ((name, value),) = given.items()
        if not isinstance(value, (str, Path)):
            value = _written(name, value, labels, ids)
        elif labels is not None or ids is not None:
            raise UserError("labels and ids are for arrays\nwrite them into the file: a header, and the column of ids")
        self.options = {f"teacher_{name}": Path(value)}

    def __repr__(self) -> str:
        ((option, path),) = self.options.items()
        return f"SoftLabels({option.removeprefix('teacher_')}={str(path)!r})"


def _written(name: str, values: object, labels: Sequence[str] | None, ids: Sequence[object] | None) -> Path:
    """The cached file of an array."""
    try:
        arrays = {name: np.asarray(values, np.float32)}
    except (TypeError, ValueError) as error:
        raise UserError(f"SoftLabels got {type(values).__name__} as {name} ({error})\nexpected a file or an array of numbers") from None
    arrays |= {key: np.array([str(one) for one in given]) for key, given in (("labels", labels), ("ids", ids)) if given is not None}
    digest = hashlib.sha256(b"".join(array.tobytes() + str((key, array.shape, array.dtype)).encode() for key, array in arrays.items()))
    path = cache_home() / "rows" / f"{name}-{digest.hexdigest()[:16]}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez(content, **arrays)
        storage.write_file(path, content.getvalue())
    return path

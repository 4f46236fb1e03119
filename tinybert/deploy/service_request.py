"""The request format of /predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.deploy.service import ServiceSettings


class PredictRequest(BaseModel):
    """One text, one pair, or many: `{"text": "..."}`, `{"text": "...", "text_pair": "..."}`, `{"texts": ["...", "..."]}`, or
    `{"texts": [["a", "b"], ["c", "d"]]}`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str | None = Field(None, description="one text")
    text_pair: str | None = Field(None, description="the second text of a pair")
    texts: list[str | list[str]] | None = Field(None, description="many texts, or pairs as lists of two")
    top_k: int = Field(1, ge=1, description="number of most probable labels")
    probabilities: bool = Field(False, description="the probability of every label")


def rows_of(request: PredictRequest, settings: ServiceSettings, pair: bool | None) -> list[tuple[str, str | None]]:
    """The rows of a request, within the limits of the service.

    Raises:
        UserError: no rows, too many rows, too long texts, or another kind of rows than the model's.
    """
    if (request.text is None) == (request.texts is None):
        raise UserError("give either text or texts")
    if request.texts is not None:
        if request.text_pair is not None:
            raise UserError("text_pair needs text; in texts, a pair is a list of two")
        rows = [_row(entry) for entry in request.texts]
    else:
        rows = [(request.text, request.text_pair)]
    if not 0 < len(rows) <= settings.max_rows:
        raise UserError(f"got {len(rows)} texts, expected 1 to {settings.max_rows}")
    longest = max(len(text) for row in rows for text in row if text is not None)
    if longest > settings.max_characters:
        raise UserError(f"got a text of {longest} characters, expected at most {settings.max_characters}")
    pairs = [second is not None for _, second in rows]
    if any(pairs) != all(pairs):
        raise UserError("got single texts and pairs together, expected only one of the two")
    if pair is not None and pairs[0] != pair:
        raise UserError(
            f"got {'pairs' if pairs[0] else 'single texts'}, but the model was trained on {'pairs' if pair else 'single texts'}"
        )
    return rows


def _row(entry: str | list[str]) -> tuple[str, str | None]:
    if isinstance(entry, str):
        return entry, None
    if len(entry) != 2:
        raise UserError(f"got a list of {len(entry)} texts, expected a pair")
    return entry[0], entry[1]

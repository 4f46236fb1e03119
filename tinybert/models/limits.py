"""Limits of a model: maximum sequence length. Does not import Paddle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.errors import UserError
from tinybert.models.families import family_of_config

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel
    from tinybert.models.model_info import ModelInfo


def max_positions(loaded: LoadedModel | ModelInfo) -> int:
    """The maximum number of tokens for which a model has position embeddings."""
    return loaded.family.max_positions(int(loaded.config.max_position_embeddings), loaded.config.pad_token_id)


def positions_in(config: dict) -> int | None:
    """The same from a configuration, `read_config`; None if it does not say."""
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int):
        return None
    try:
        family = family_of_config(config, "config.json")
    except UserError:  # the vocabulary of an unsupported model may still be usable
        return positions
    return family.max_positions(positions, config.get("pad_token_id"))


def check_positions(role: str, loaded: LoadedModel | ModelInfo, length: int, option: str = "--max_seq_length") -> None:
    """Reject a sequence length, given by `option`, above the number of position embeddings.

    Raises:
        UserError: too few positions.
    """
    check_length(option, length, max_positions(loaded), f"the {role}")


def check_length(option: str, length: int, positions: int, owner: str) -> None:
    """Reject a sequence length above the number of positions of `owner`.

    Raises:
        UserError: names the option and the limit.
    """
    if length > positions:
        raise UserError(f"{option} {length} exceeds the {positions} positions of {owner}. Use at most that.")

"""How much a model can take: positions of a row, attention heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.errors import UserError
from tinybert.models.families import family_of_config
from tinybert.models.model_info import ModelInfo

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel


def max_positions(loaded: LoadedModel | ModelInfo) -> int:
    """The longest sequence, in word pieces, that a model has position embeddings for."""
    if isinstance(loaded, ModelInfo):
        rows = loaded.config.max_position_embeddings
    else:
        from tinybert.models.trace import base_of  # imports Paddle, which pregeneration does without

        rows = base_of(loaded.model).embeddings.position_embeddings.weight.shape[0]
    return loaded.family.max_positions(int(rows), loaded.config.pad_token_id)


def positions_in(config: dict) -> int | None:
    """The same by what a configuration file says, `read_config`; None where it does not tell. Imports no Paddle."""
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int):
        return None
    try:
        family = family_of_config(config, "config.json")
    except UserError:  # of a model of another kind the vocabulary may still be of use
        return positions
    return family.max_positions(positions, config.get("pad_token_id"))


def check_positions(role: str, loaded: LoadedModel | ModelInfo, length: int, option: str = "--max_seq_length") -> None:
    """Refuse a sequence length, which `option` gives, above what a model has position embeddings for.

    Raises:
        UserError: too few positions.
    """
    check_length(option, length, max_positions(loaded), f"the {role}")


def check_length(option: str, length: int, positions: int, owner: str) -> None:
    """Refuse a sequence length above the positions of its owner.

    Raises:
        UserError: names the option and the positions.
    """
    if length > positions:
        raise UserError(f"{option} {length} exceeds the {positions} positions of {owner}. Use at most that.")


def heads_of(loaded: LoadedModel | ModelInfo) -> int:
    """The attention heads of a model's first layer."""
    if isinstance(loaded, ModelInfo):
        return int(loaded.config.num_attention_heads)
    from tinybert.models.trace import layers_of

    return int(layers_of(loaded.model)[0].self_attn.num_heads)

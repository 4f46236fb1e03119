"""The parts that compare embedding, hidden states and attention scores: which are switched off, and what then has no effect."""

from __future__ import annotations

from collections.abc import Mapping

_SWITCHES = {
    "embedding": ("use_embedding", "embedding_weight"),
    "hidden": ("use_rep", "hidden_weight"),
    "attention": ("use_att", "attention_weight"),
}


def disabled_reason(values: Mapping[str, object], part: str) -> str | None:
    """The reason why `embedding`, `hidden` or `attention` is not learnt, or None where it is."""
    switch, weight = _SWITCHES[part]
    if not values[switch]:
        return f"{switch} is off"
    return f"{weight} is 0" if values[weight] == 0 else None


def part_reasons(values: Mapping[str, object]) -> dict[str, str]:
    """Name and reason of settings of these parts that have no effect beside the others."""
    found = {weight: f"{switch} is off" for switch, weight in _SWITCHES.values() if not values[switch]}
    embedding, hidden, attention = (disabled_reason(values, part) for part in _SWITCHES)
    if embedding and hidden:
        found.update(dict.fromkeys(("hidden_reduction", "projection"), f"{embedding} and {hidden}"))
    if attention:
        found.update(dict.fromkeys(("attention_reduction", "attention_heads"), attention))
    return found

"""The modes from training "as published" to the project's training, feature by feature, and what each sets before Paddle is imported.

Modes: `as published` has no feature; `+ FEATURE` has it and all before it; `all` has every one; `all but FEATURE` shows the effect of one
in combination with the others.

* longest row: a batch is padded to its longest row (PaddleNLP's script), not to the maximum (Huawei's).
* teacher without dropout: the published scripts never call `eval()`.
* only what is needed: only the hidden states and scores that the losses need, while the published scripts keep all of them.
* by length: rows of similar length share a step.
* rows of the texts: `tinybert/models/compact.py`; no effect in `general.py`, because raw text contains nearly all tokens.
* stride flag, allocator, MKL path: see `tinybert/runtime.py`; the last only has an effect on processors that are not Intel's.
* own operations: `tinybert/models/cpu_ops.py`.
* threads: all cores instead of one.
"""

from __future__ import annotations

import os

FEATURES = (
    "longest row",
    "teacher without dropout",
    "only what is needed",
    "by length",
    "rows of the texts",
    "stride flag",
    "allocator",
    "MKL path",
    "own operations",
    "threads",
)
PUBLISHED, BEST = "as published", "all"
LADDER = (PUBLISHED, *(f"+ {feature}" for feature in FEATURES[:-1]), BEST)
WITHOUT = tuple(f"all but {feature}" for feature in FEATURES)
_OF_RUNTIME = {"stride flag", "allocator", "MKL path", "threads"}


def features_of(mode: str) -> frozenset[str]:
    """The features of a mode; raises KeyError for one that does not exist."""
    if mode in LADDER:
        return frozenset(FEATURES[: LADDER.index(mode)])
    if mode in WITHOUT:
        return frozenset(FEATURES) - {FEATURES[WITHOUT.index(mode)]}
    raise KeyError(mode)


def prepare(mode: str) -> frozenset[str]:
    """Set flags, allocator and threads for a mode, and import Paddle; returns the mode's features."""
    from tinybert import runtime

    features = features_of(mode)
    os.environ["TINYBERT_CPU_OPS"] = "1" if "own operations" in features else "0"
    if not features & _OF_RUNTIME:
        runtime.prepare(as_installed=True)
        return features
    chosen = {"FLAGS_use_stride_kernel": "stride flag" not in features, "TINYBERT_KEEP_MEMORY": "allocator" in features}
    os.environ.update({name: str(int(value)) for name, value in chosen.items()})
    if "MKL path" not in features:
        os.environ["MKL_DEBUG_CPU_TYPE"] = "0"
    runtime.prepare(threads=None if "threads" in features else 1)
    return features


def environment() -> dict[str, str]:
    """This environment without variables for threads, allocator or flags, which the modes set."""
    decided = ("OMP_", "MKL_", "KMP_", "FLAGS_", "MALLOC_", "GLIBC_TUNABLES", "TINYBERT_KEEP_MEMORY", "TINYBERT_CPU_OPS")
    return {name: value for name, value in os.environ.items() if not name.startswith(decided)}

"""Folders as Hugging Face writes them, made without the code under test."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

_PARTS = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}
_DISTILBERT = {
    "self_attn.q_proj": "attention.q_lin",
    "self_attn.k_proj": "attention.k_lin",
    "self_attn.v_proj": "attention.v_lin",
    "self_attn.out_proj": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "linear1": "ffn.lin1",
    "linear2": "ffn.lin2",
    "norm2": "output_layer_norm",
}


def hugging_face_arrays(arrays: dict[str, np.ndarray], prefix: str = "bert") -> dict[str, np.ndarray]:
    """The parameters of a PaddleNLP classifier with PyTorch's names and orientation."""
    renamed = {}
    distilled = any("pre_classifier" in name for name in arrays)
    for name, array in arrays.items():
        new = re.sub(r"^(bert|tinybert|ernie|roberta|electra|distilbert)\.", f"{prefix}." if prefix else "", name)
        new = new.replace("embeddings.layer_norm", "embeddings.LayerNorm")
        new = new.replace("encoder.layers.", "transformer.layer." if distilled else "encoder.layer.")
        for ours, theirs in (_DISTILBERT if distilled else _PARTS).items():
            new = re.sub(rf"(\.layer\.\d+\.){re.escape(ours)}\b", rf"\g<1>{theirs}", new)
        is_linear = array.ndim == 2 and "embeddings." not in name
        renamed[new] = np.ascontiguousarray(array.T if is_linear else array)
    return renamed


def bfloat16(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The upper halves of float32 numbers, as uint16, and the corresponding float32 numbers."""
    halves = (np.ascontiguousarray(array).view(np.uint32) >> 16).astype(np.uint16)
    return halves, (halves.astype(np.uint32) << 16).view(np.float32)


def write_bfloat16(path: Path, halves: dict[str, np.ndarray]) -> None:
    """Write a safetensors file whose tensors, given as uint16, are marked as bfloat16."""
    header, buffer = {"__metadata__": {"format": "pt"}}, b""
    for name, array in halves.items():
        data = array.tobytes()
        header[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": [len(buffer), len(buffer) + len(data)]}
        buffer += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + buffer)


def write_folder(
    folder: Path, arrays: dict[str, np.ndarray], config: dict, words: list[str], kind: str = "float32"
) -> dict[str, np.ndarray]:
    """Write config.json, model.safetensors and vocab.txt; returns the arrays as float32 after rounding to `kind`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    if kind == "bfloat16":
        both = {name: bfloat16(array) for name, array in arrays.items()}
        write_bfloat16(folder / "model.safetensors", {name: halves for name, (halves, _) in both.items()})
        return {name: wide for name, (_, wide) in both.items()}
    narrow = {name: np.ascontiguousarray(array.astype(kind)) for name, array in arrays.items()}
    save_file(narrow, folder / "model.safetensors", metadata={"format": "pt"})
    return {name: array.astype("float32") for name, array in narrow.items()}

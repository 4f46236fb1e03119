"""Heat maps of a transport run: which teacher layers each student layer learned from, and layer weights over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinybert.engine.run_folder import RunFolder
from tinybert.report.figure import caption, new_figure, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS = {"attn": "attention scores", "hidn": "hidden states"}


def plot_transport(folder: Path, stage: str) -> list[Path]:
    """Draw `plots/emd_flow.png` and `plots/emd_weights.png` from the `arrays` events of log.jsonl; returns the files drawn."""
    lines = [line for line in RunFolder(folder, stage).log_lines() if line["stage"] == stage and line.get("event") == "arrays"]
    kinds = [kind for kind in _KINDS if lines and f"{kind}_flow" in lines[-1]["arrays"]]
    if not kinds:
        return []
    return [_flows(folder, lines[-1], kinds), _weights(folder, lines, kinds)]


def _flows(folder: Path, line: dict, kinds: list[str]) -> Path:
    figure = new_figure(6.5 * len(kinds), 4)
    axes = figure.subplots(1, len(kinds), squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        flow = np.array(line["arrays"][f"{kind}_flow"])
        _heat(figure, axis, flow, f"flow between {_KINDS[kind]}, step {line['step']}")
        axis.set_xlabel(caption("teacher layer"))
        axis.set_ylabel(caption("student layer"))
        axis.set_xticks(range(flow.shape[1]), range(1, flow.shape[1] + 1))
    return saved(figure, folder / "plots" / "emd_flow.png")


def _weights(folder: Path, lines: list[dict], kinds: list[str]) -> Path:
    figure = new_figure(6.5 * len(kinds), 7)
    axes = figure.subplots(2, len(kinds), squeeze=False)
    for column, kind in enumerate(kinds):
        for axis, side in zip(axes[:, column], ("student", "teacher"), strict=True):
            over_time = np.array([line["arrays"][f"{kind}_{side}"] for line in lines]).T  # [layers, times]
            _heat(figure, axis, over_time, f"{side}'s layer weights, {_KINDS[kind]}")
            axis.set_xlabel(caption("step"))
            axis.set_ylabel(caption(f"{side} layer"))
            shown = np.unique(np.linspace(0, len(lines) - 1, min(len(lines), 8)).astype(int))
            axis.set_xticks(shown, [lines[i]["step"] for i in shown])
    return saved(figure, folder / "plots" / "emd_weights.png")


def _heat(figure: Figure, axis: Axes, values: np.ndarray, title: str) -> None:
    image = axis.imshow(values, aspect="auto", cmap="viridis", vmin=0.0, interpolation="nearest")
    axis.set_yticks(range(len(values)), range(1, len(values) + 1))
    axis.set_title(caption(title))
    figure.colorbar(image, ax=axis)

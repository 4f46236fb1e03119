"""Curves of a run, from its log.jsonl."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tinybert.engine.run_folder import RunFolder
from tinybert.report.figure import caption, new_figure, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOT_CURVES = {"stage", "step", "epoch", "time", "event", "best", "lr", "samples_per_second", "tokens_per_second", "data_wait_share"}


def plot_run(folder: Path) -> list[Path]:
    """Draw `plots/<stage>.png` for every stage in the log: loss terms, learning rate and evaluation scores over steps."""
    stages = dict.fromkeys(line["stage"] for line in RunFolder(folder, "").log_lines())
    return [saved(curves_of(folder, (stage,)), folder / "plots" / f"{stage}.png") for stage in stages]


def curves_of(folder: Path, stages: tuple[str, ...]) -> Figure:
    """Loss terms, evaluation scores and learning rate over steps, one row of panels per stage."""
    lines = RunFolder(folder, "").log_lines()
    figure = new_figure(15, 4 * len(stages))
    for stage, axes in zip(stages, figure.subplots(len(stages), 3, squeeze=False), strict=True):
        own = [line for line in lines if line["stage"] == stage]
        training = [line for line in own if "event" not in line and "lr" in line]
        evaluations = [line for line in own if line.get("event") == "evaluation"]
        _curves(axes[0], training, "training loss and its parts")
        _curves(axes[1], evaluations, "held-out rows")
        axes[2].plot([line["step"] for line in training], [line["lr"] for line in training], color="tab:gray")
        axes[2].set_title(caption("learning rate"))
        axes[2].set_xlabel(caption("step"))
    figure.suptitle(f"{folder.name}: {', '.join(stages)}")
    return figure


def _curves(axes: Axes, lines: list[dict], title: str) -> None:
    names = dict.fromkeys(name for line in lines for name, value in line.items() if name not in _NOT_CURVES and isinstance(value, float))
    for name in names:
        points = [(line["step"], line[name]) for line in lines if name in line]
        axes.plot(*zip(*points, strict=True), label=name, marker="o" if len(points) < 20 else None, markersize=3)
    axes.set_title(caption(title))
    axes.set_xlabel(caption("step"))
    last = [next(line[name] for line in reversed(lines) if name in line) for name in names]
    if last and min(last) > 0 and max(last) > 20 * min(last):  # logarithmic, or the small terms would look like zero
        axes.set_yscale("log")
    if names:
        axes.legend(fontsize=8)

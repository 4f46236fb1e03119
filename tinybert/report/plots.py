"""Curves of a run, from its log.jsonl."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tinybert.engine.run_folder import RunFolder
from tinybert.report.figure import caption, new_figure, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOT_CURVES = {"stage", "step", "epoch", "time", "event", "best", "lr", "samples_per_second", "tokens_per_second", "data_wait_share"}


def plot_stage(folder: Path, stage: str) -> Path:
    """Draw `plots/<stage>.png`: loss terms, learning rate and evaluation scores over steps."""
    return saved(curves_of(folder, (stage,)), folder / "plots" / f"{stage}.png")


def curves_of(folder: Path, stages: tuple[str, ...]) -> Figure:
    """Loss terms, evaluation scores with the teacher's and the best step, and learning rate over steps; one row of panels per stage."""
    run = RunFolder(folder, "")
    lines, record = run.log_lines(), run.record()
    figure = new_figure(15, 4.5 * len(stages))
    for stage, axes in zip(stages, figure.subplots(len(stages), 3, squeeze=False), strict=True):
        own = [line for line in lines if line["stage"] == stage]
        training = [line for line in own if "event" not in line and "lr" in line]
        evaluations = [line for line in own if line.get("event") == "evaluation"]
        _curves(axes[0], training, "training loss and its parts")
        _curves(axes[1], evaluations, "held-out rows", record.get(stage, {}).get("teacher_scores") or {})
        _curves(axes[2], [{"step": line["step"], "learning rate": line["lr"]} for line in training], "learning rate")
        best = next((line["step"] for line in reversed(evaluations) if line.get("best")), None)
        if best is not None:
            axes[1].axvline(best, color="0.6", linestyle=":", zorder=0, label=caption("best"))
        for axis in axes:
            axis.set_xlabel(caption("step"))
            axis.set_xlim(0, 1.03 * max((line["step"] for line in own), default=1))
            if axis.lines and axis is not axes[2]:  # below the panel, where it covers nothing
                axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=4)
    figure.suptitle(f"{folder.name}: {', '.join(stages)}")
    return figure


def _curves(axes: Axes, lines: list[dict], title: str, levels: Mapping[str, float] | None = None) -> None:
    """The values in some lines of the log; levels: the teacher's, by name."""
    names = dict.fromkeys(name for line in lines for name, value in line.items() if name not in _NOT_CURVES and isinstance(value, float))
    if len(names) == 2 and "loss" in names:  # the loss has a single term
        names.pop("loss")
    values = [line[name] for line in lines for name in names if name in line]
    for name in names:
        points = [(line["step"], line[name]) for line in lines if name in line]
        (drawn,) = axes.plot(*zip(*points, strict=True), label=caption(name), marker="o" if len(points) < 20 else None, markersize=3)
        if levels and name in levels:
            label = f"{caption('teacher')}: {caption(name)}"
            axes.axhline(levels[name], color=drawn.get_color(), linestyle="--", linewidth=1, label=label)
    axes.set_title(caption(title))
    if title != "learning rate" and values and min(values) > 0 and max(values) > 20 * min(values):  # or small terms look like 0
        axes.set_yscale("log")

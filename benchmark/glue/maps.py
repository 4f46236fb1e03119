"""Which teacher layers each student layer learns from with BERT-EMD, and whether tasks differ more than seeds.

Uses the lines of plan `emd` in `results.jsonl` of the row "EMD, equal time": the mean flows of each run's last 50 (or fewer) steps.
"From layer": the mean of the teacher's layers, weighted by flow, for each student layer; a uniform map of 3 to 6 layers has
2, 4, 6. "Moved": half the sum of |F - F'|, the part of the flow that differs; between the task's seeds, and between its mean and the
other tasks' means.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np

from tinybert.report.table import markdown_table

ROW = "EMD, equal time"
KINDS = {"attn": "attention scores", "hidn": "hidden states"}
Flows = dict[tuple[str, str], list[np.ndarray]]  # kind and task -> a flow `[S, N]` for each seed


def flows_of(lines: list[dict]) -> Flows:
    """The flows of the runs in this row."""
    found: Flows = {}
    for kind in KINDS:
        for line in lines:
            if (line["plan"], line["row"]) == ("emd", ROW) and f"{kind}_flow" in line.get("transport", {}):
                found.setdefault((kind, line["task"]), []).append(np.array(line["transport"][f"{kind}_flow"]))
    return found


def moved(one: np.ndarray, other: np.ndarray) -> float:
    """The part of a flow that differs from another."""
    return float(np.abs(one - other).sum() / 2)


def table(flows: Flows) -> str:
    """Markdown: one row for each kind and task."""
    rows = []
    for (kind, task), own in flows.items():
        mean = np.mean(own, 0)
        layers = np.arange(1, mean.shape[1] + 1)
        gravity = (mean * layers).sum(1) / np.maximum(mean.sum(1), 1e-12)
        seeds = [moved(a, b) for a, b in combinations(own, 2)]
        tasks = [moved(mean, np.mean(other, 0)) for (its, name), other in flows.items() if its == kind and name != task]
        shares = [", ".join(f"{value:.2f}" for value in values) for values in (gravity, mean.sum(1), mean.sum(0))]
        far = [f"{np.mean(values):.3f}" if values else "" for values in (seeds, tasks)]
        rows.append([f"{KINDS[kind]}, {task}", *shares, *far])
    head = ["", "from layer", "student's weights", "teacher's weights", "moved between seeds", "moved between tasks"]
    return markdown_table(head, rows)


def plot(flows: Flows, path: Path) -> Path:
    """Draw the mean flow of each kind and task."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds, tasks = ([*dict.fromkeys(key[i] for key in flows)] for i in (0, 1))
    size = 3.2 * len(tasks), 2.2 * len(kinds)
    figure, axes = plt.subplots(len(kinds), len(tasks), figsize=size, constrained_layout=True, squeeze=False)
    top = max(np.mean(own, 0).max() for own in flows.values())
    for (kind, task), own in flows.items():
        axis, mean = axes[kinds.index(kind)][tasks.index(task)], np.mean(own, 0)
        image = axis.imshow(mean, vmin=0, vmax=top, cmap="viridis", aspect="auto")
        axis.set_title(f"{task}, {KINDS[kind]}", fontsize=9)
        axis.set_xticks(range(mean.shape[1]), range(1, mean.shape[1] + 1))
        axis.set_yticks(range(mean.shape[0]), range(1, mean.shape[0] + 1))
        axis.set_xlabel("teacher layer")
        axis.set_ylabel("student layer")
    figure.colorbar(image, ax=axes, label="flow")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path

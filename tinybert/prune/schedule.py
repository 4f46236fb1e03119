"""What gradual pruning removes, and after which updates."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tinybert.errors import UserError
from tinybert.prune.reduction import Shape


@dataclass(frozen=True)
class Event:
    """The student's shape after update number `step`, with layers numbered as in the student at that time."""

    step: int
    shape: Shape

    def __str__(self) -> str:
        shape = self.shape
        rank = f", embedding of rank {shape.rank}" if shape.rank else ""
        return f"after update {self.step}: {len(shape.layers)} layers, {shape.heads} heads, {shape.neurons} neurons{rank}"


def planned(kind: str, start: Shape, end: Shape, width: int, total: int, proportion: float) -> tuple[Event, ...]:
    """The events of a schedule, evenly spaced over the first `proportion` of `total` updates.

    `width`: one head per layer is removed at each event, neurons and rank shrink linearly; if all heads are kept there is one event.
    `depth`: the last layer is removed at each event. `both`: first all of depth, then all of width. width: the hidden size, used as the
    rank of a full embedding.

    Raises:
        UserError: nothing to prune, or fewer updates than events.

    Source: ROSITA (Liu et al. 2021); llyx97/Rosita, its training script with iterative pruning.
    """
    depth, wide = len(start.layers) - len(end.layers), (start.heads, start.neurons, start.rank) != (end.heads, end.neurons, end.rank)
    shapes = [replace(start, layers=start.layers[:-k]) for k in range(1, depth + 1)] if kind != "width" else []
    if kind != "depth" and wide:
        before, count = shapes[-1] if shapes else start, max(1, start.heads - end.heads)
        shapes += [_between(before, end, k / count, width) for k in range(1, count + 1)]
    if not shapes:
        raise UserError(f"--prune_schedule {kind} has nothing to prune: the student already has this shape.\nChoose a smaller target.")
    if len(shapes) > proportion * total:
        raise UserError(
            f"--prune_schedule {kind} prunes {len(shapes)} times, but {proportion:g} of {total} updates "
            f"(--prune_period_proportion) are only {int(proportion * total)}.\n"
            "Train longer, raise the proportion, or choose a larger target."
        )
    return tuple(Event(round(k * proportion * total / len(shapes)), shape) for k, shape in enumerate(shapes, 1))


def _between(start: Shape, end: Shape, part: float, width: int) -> Shape:
    """The shape after this fraction of the width pruning; the end shape at 1.0."""

    def on_the_way(a: int, b: int) -> int:
        return round(a + part * (b - a))

    rank = end.rank if end.rank == start.rank else on_the_way(start.rank or width, end.rank)
    return Shape(start.layers, on_the_way(start.heads, end.heads), on_the_way(start.neurons, end.neurons), rank)

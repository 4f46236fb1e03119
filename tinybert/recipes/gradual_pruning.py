"""Prunes a student during distillation: importance from the distillation loss, pruning at scheduled updates, with exact resume."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinybert import runtime
from tinybert.config.resolved import Settings
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.log import logger
from tinybert.mapping import LayerMap
from tinybert.methods.stage_objective import stage_objective
from tinybert.models.loading import LoadedModel
from tinybert.models.trace import layers_of
from tinybert.objectives.trained_layer import Teacher, TrainedLayer
from tinybert.prune.importance import GradientSums
from tinybert.prune.reduction import Kept, Shape, check_shape, choose, pruned
from tinybert.prune.schedule import Event, planned


class GradualPruning:
    """The schedule of one stage, a `Stateful` of the loop.

    Between two events the absolute gradients of whole steps are summed (of the distillation loss, not of the gold labels); at an event,
    heads and neurons are selected by importance, `layer` gets the smaller student, and the sums are reset. The training loop calls
    `changed` after every step, and creates a new optimizer with empty moments if it returns True.
    """

    name = "pruning"

    def __init__(self, student: LoadedModel, events: tuple[Event, ...], put: Callable[[LoadedModel], None]) -> None:
        self.student, self.events, self._put = student, events, put
        self.done = 0
        self.sums = GradientSums(student.model)
        self._changed = False

    def before_update(self) -> None:
        """Add the gradients, which are complete for this step."""
        if self.done < len(self.events):
            self.sums.add()

    def changed(self, step: int) -> bool:
        """Prune if an event follows update number `step`; returns whether the layer's parameters differ from those at the last call."""
        if self.done < len(self.events) and step == self.events[self.done].step:
            event = self.events[self.done]
            self._become(event.shape, choose(self.student, event.shape, self.sums.scores()))
            self.done += 1
            logger.info(f"pruned {event} ({self.student.parameters():,} parameters)")
        changed, self._changed = self._changed, False
        return changed

    def _become(self, shape: Shape, kept: Kept) -> None:
        smaller, _ = pruned(self.student, shape, kept)
        smaller.model.train() if self.student.model.training else smaller.model.eval()
        self.student.model = smaller.model
        self._put(self.student)
        self.sums = GradientSums(self.student.model)
        self._changed = True

    # === Checkpoints ===

    def arrays(self) -> dict[str, np.ndarray]:
        """The number of past events, and the sums since the last one."""
        sums = self.sums.arrays() if self.done < len(self.events) else {}
        return {"events": np.array([self.done]), **sums}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the student's shape; its weights are restored with the rest of the checkpoint."""
        arrays = dict(arrays)
        self.done = int(arrays.pop("events")[0])
        if self.done:
            shape = self.events[self.done - 1].shape
            first = Kept(tuple(np.arange(shape.heads) for _ in shape.layers), tuple(np.arange(shape.neurons) for _ in shape.layers))
            self._become(shape, first)
        if arrays:
            self.sums.load_arrays(arrays)


def check_single_process() -> None:
    """Reject several processes: `paddle.DataParallel` cannot change its parameters.

    Raises:
        UserError: says how to start the run.
    """
    if runtime.world_size() > 1:
        raise UserError("--prune_schedule supports only a single process: start it without paddle.distributed.launch.")


def pruning_of(
    settings: Settings,
    kind: Kind,
    student: LoadedModel,
    teacher: LoadedModel | None,
    layer: TrainedLayer,
    traced: Teacher | None,
    total: int,
) -> GradualPruning:
    """The schedule requested by a stage's settings, checked against student and teacher.

    Raises:
        UserError: sizes to keep exceed the student, the events do not fit into `total` updates, or attention scores or layers could not be
        compared after some event.
    """
    start = Shape.of(student)
    rank = start.rank if settings.emb_hidden_dim in (None, -1) else settings.emb_hidden_dim
    end = Shape(start.layers[: settings.num_layers], settings.keep_heads or start.heads, settings.ffn_hidden_dim or start.neurons, rank)
    asked = Shape(tuple(range(1, (settings.num_layers or len(start.layers)) + 1)), end.heads, end.neurons, end.rank)
    check_shape(student, asked)
    if settings.method_object.compares_scores(settings) and end.heads != start.heads and settings.attention_heads != "average":
        raise UserError(
            f"--prune_schedule {settings.prune_schedule} removes heads, so attention scores cannot be compared head by head.\n"
            "Use --attention_heads average, or disable the attention loss with --use_att False."
        )
    events = planned(settings.prune_schedule, start, end, student.config.hidden_size, total, settings.prune_period_proportion)
    if settings.learns_layers:
        for depth in {len(event.shape.layers) for event in events}:
            LayerMap.create(settings.layer_map, depth, teacher.config.num_hidden_layers)

    def put(smaller: LoadedModel) -> None:
        shallower = len(layers_of(layer.student)) > smaller.config.num_hidden_layers
        layer.student = smaller.model
        if shallower and settings.learns_layers:
            _fit_objective(layer, settings, kind, smaller, teacher)
            traced.needs = layer.objective.needs_teacher
        if settings.pad_embedding == "frozen":
            layer.freeze_padding_row()

    return GradualPruning(student, events, put)


def _fit_objective(layer: TrainedLayer, settings: Settings, kind: Kind, student: LoadedModel, teacher: LoadedModel) -> None:
    """Map the remaining layers; the projection keeps its weights."""
    before = layer.objective.projection
    layer.objective = stage_objective(settings, kind, student, teacher).objective
    layer.objective.projection.load(before.arrays())
    layer.objective.train()

"""The average of several teachers' logits as the source of a stage's teacher traces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle

from tinybert.kinds.kind import Kind
from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.recipes.soft_label_source import SoftLabelTraces
from tinybert.recipes.teacher_source import TeacherTraces


class AveragedTraces:
    """Called with a batch like each of its sources.

    weights: of the sources, in any scale. average: `logits`, or `probabilities` at `temperature`, the one at which they are learned:
    with cross-entropy, the loss is then the weighted mean of the losses of the single teachers.
    """

    model = None

    def __init__(
        self, sources: Sequence[TeacherTraces | SoftLabelTraces], weights: Sequence[float], kind: Kind, average: str, temperature: float
    ) -> None:
        self.sources, self.task_kind, self.average, self.temperature = sources, kind, average, temperature
        self.weights = np.asarray(weights, np.float64) / sum(weights)

    @property
    def kind(self) -> str:
        """Those of the sources."""
        return " + ".join(source.kind for source in self.sources)

    @property
    def needs(self) -> Needs:
        """The content of a trace: logits."""
        return self.sources[0].needs

    @needs.setter
    def needs(self, needs: Needs) -> None:
        for source in self.sources:
            source.needs = needs

    def __call__(self, inputs: Inputs) -> EncoderTrace | None:
        """The averaged logits of a micro-batch; None if the objective does not need them."""
        traces = [source(inputs) for source in self.sources]
        if any(trace is None for trace in traces):
            return None
        return EncoderTrace(logits=paddle.to_tensor(self.of_logits([trace.logits.astype("float32").numpy() for trace in traces])))

    def of_logits(self, each: Sequence[np.ndarray]) -> np.ndarray:
        """The average of several arrays of logits `[B, C]`, float32."""
        values = np.stack([np.asarray(one, np.float64) for one in each])
        if self.average == "logits" or not self.task_kind.softens:
            return np.tensordot(self.weights, values, 1).astype(np.float32)
        shares = np.tensordot(self.weights, np.stack([self.task_kind.probabilities(one / self.temperature) for one in values]), 1)
        return (self.temperature * self.task_kind.logits_of(shares)).astype(np.float32)

    @property
    def of(self) -> str:
        """What is averaged."""
        return self.average if self.task_kind.softens else "scores"

    def describe(self) -> str:
        """The average as text."""
        return f"{self.of} averaged with the weights {', '.join(f'{weight:.3g}' for weight in self.weights)}"

    def facts(self) -> dict:
        """Details for run.json: of every source, in order."""
        averaged = {"of": self.of, "weights": [round(float(weight), 6) for weight in self.weights]}
        return {"averaged": averaged, "teachers": [source.facts() for source in self.sources]}

"""Layer weights of student and teacher for optimal transport, and their update from transport costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinybert.errors import UserError


def transport_flow(cost: np.ndarray, student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """The optimal transport from the student's layer weights `[S]` to the teacher's `[N]`, float64 `[S, N]`; rows sum to `student`.

    cost: `[S, N]`, of any scale. If costs are not finite, the flow is independent of them, so that the loss is not finite either.

    Raises:
        UserError: POT is not installed.

    Source: BERT-EMD (Li et al. 2020), the transport problem between layers; the solver is POT's (Flamary et al. 2021).
    """
    if not np.isfinite(cost).all():
        return np.outer(student, teacher)
    largest = cost.max()
    return solver()(student, teacher, np.ascontiguousarray(cost / largest if largest > 0 else cost, np.float64))


def solver() -> Callable:
    """POT's solver of optimal transport problems.

    Raises:
        UserError: POT is not installed.
    """
    try:
        import ot  # takes half a second, so only imported if needed
    except ImportError:
        raise UserError("--method emd needs the package POT, which is not installed.\npip install POT==0.9.7.post1") from None
    return ot.emd


def updated(weights: np.ndarray, paid: np.ndarray, rule: str = "division", temperature: float = 1.0) -> np.ndarray:
    """New layer weights `[L]` from the cost of each layer, `paid[i] = sum_j flow[i, j] * cost[i, j]`.

    u = paid / weights is the unit cost; v = sum(u) / u; then v / sum(v) (`division`) or softmax(v / temperature). Cheap layers gain
    weight. A layer without flow or cost has no u: it keeps its weight and the others share the rest. (The published code sets it to 0,
    which gives NaN a step later.)

    Source: BERT-EMD (Li et al. 2020); lxk00/BERT-EMD, bert_emd/emd_task_distill.py, both rules: see `LayerWeights`.
    """
    alive = (weights > 0) & (paid > 0) & np.isfinite(paid)
    if not alive.any():
        return weights.copy()
    unit = paid[alive] / weights[alive]
    inverse = unit.sum() / unit
    result = weights.copy()
    share = 1.0 - weights[~alive].sum()
    result[alive] = share * (inverse / inverse.sum() if rule == "division" else softmax(inverse / temperature))
    return result


def softmax(values: np.ndarray) -> np.ndarray:
    """The softmax of a vector."""
    powers = np.exp(values - values.max())
    return powers / powers.sum()


@dataclass
class _Seen:
    """The costs of one kind in the current step: the share-weighted sum over micro-batches, their number, and the last flow."""

    cost: np.ndarray
    flow: np.ndarray
    micro_batches: int


class LayerWeights:
    """Layer weights of student and teacher for each kind of cost (`attn`, `hidn`), saved in checkpoints (a `Stateful`).

    Weights are uniform at the start. `end_step`, called once per optimizer step, updates them from the costs of the whole step: the
    weighted sum over micro-batches and processes. The flows of a step use the weights from before it.

    Args:
        rule: `division` (BERT-EMD since August 2021) or `softmax` (before). With `softmax` and a temperature near 1, one layer gets all the
            weight unless `second_softmax` is on, which keeps all layers within a factor of e.
        merge: attention and hidden states share the mean of their weights.
        every: update every `every` steps, only from the costs of that step.
        over_ranks: sums an array over all processes, so that all have the same weights.

    Source: BERT-EMD (Li et al. 2020); lxk00/BERT-EMD, bert_emd/emd_task_distill.py, commits 82c63ff (division) and 3d6bd37 (softmax).
    """

    name = "layer_weights"

    def __init__(
        self,
        student_layers: int,
        teacher_layers: int,
        *,
        kinds: tuple[str, ...] = ("attn", "hidn"),
        rule: str = "division",
        temperature: float = 1.0,
        merge: bool = True,
        second_softmax: bool = True,
        update: bool = True,
        every: int = 1,
        over_ranks: Callable[[np.ndarray], np.ndarray] = lambda values: values,
    ) -> None:
        self.student = {kind: np.full(student_layers, 1.0 / student_layers) for kind in kinds}
        self.teacher = {kind: np.full(teacher_layers, 1.0 / teacher_layers) for kind in kinds}
        self.rule, self.temperature, self.merge, self.second_softmax = rule, temperature, merge, second_softmax
        self.update, self.every, self.over_ranks = update, every, over_ranks
        self.steps = 0
        self.flows: dict[str, np.ndarray] = {}  # of the last finished step
        self.costs: dict[str, np.ndarray] = {}
        self._seen: dict[str, _Seen] = {}
        self._sums: dict[str, np.ndarray] = {}  # of weights, flows and costs since the last `observe`
        self._summed = 0  # steps

    def flow(self, kind: str, cost: np.ndarray, share: float, keep: bool) -> np.ndarray:
        """The flow of one micro-batch, `[S, N]`, from its mean costs over all processes; `keep` adds them to those of the step.

        cost: this process's `[S, N]`; share: its fraction of the whole step.
        """
        total = self.over_ranks(np.append(cost * share, share))
        pooled, shares = total[:-1].reshape(cost.shape), total[-1]
        # if all shares are 0 (placeholder rows everywhere) the loss is multiplied by 0: any flow will do
        flow = transport_flow(pooled / shares if shares > 0 else cost, self.student[kind], self.teacher[kind])
        if keep:
            seen = self._seen.get(kind)
            before = (seen.cost, seen.micro_batches) if seen else (0.0, 0)
            self._seen[kind] = _Seen(before[0] + pooled, flow, before[1] + 1)
        return flow

    def end_step(self) -> None:
        """Update the weights from the costs of the finished step."""
        self.steps += 1
        seen, self._seen = self._seen, {}
        for kind, entry in seen.items():
            whole = entry.micro_batches == 1
            self.costs[kind] = entry.cost
            self.flows[kind] = entry.flow if whole else transport_flow(entry.cost, self.student[kind], self.teacher[kind])
        self._count()
        if not (seen and self.update and self.steps % self.every == 0):
            return
        for kind in seen:
            paid = self.flows[kind] * self.costs[kind]
            self.student[kind] = updated(self.student[kind], paid.sum(1), self.rule, self.temperature)
            self.teacher[kind] = updated(self.teacher[kind], paid.sum(0), self.rule, self.temperature)
        for side in (self.student, self.teacher):
            if self.merge:
                mean = sum(side[kind] for kind in seen) / len(seen)
                side.update({kind: mean.copy() for kind in seen})
            if self.rule == "softmax" and self.second_softmax:
                side.update({kind: softmax(side[kind]) for kind in seen})

    def by_name(self) -> dict[str, np.ndarray]:
        """The weights under names such as `attn_student`."""
        sides = (("student", self.student), ("teacher", self.teacher))
        return {f"{kind}_{side}": weights for side, held in sides for kind, weights in held.items()}

    def _count(self) -> None:
        """Add the step's weights before the update, its flows and its costs to the sums."""
        found = self.by_name()
        for what, held in (("flow", self.flows), ("cost", self.costs)):
            found |= {f"{kind}_{what}": array for kind, array in held.items()}
        self._sums = {name: self._sums.get(name, 0.0) + array for name, array in found.items()}
        self._summed += 1

    def observe(self) -> dict[str, np.ndarray]:
        """Arrays for the log: weights, flows and costs, averaged over the steps since the last call.

        The update may oscillate between two states, so a single step would be misleading.
        """
        found = {name: total / self._summed for name, total in self._sums.items()} if self._summed else {}
        self._sums, self._summed = {}, 0
        return found

    # === Checkpoints ===

    def arrays(self) -> dict[str, np.ndarray]:
        """The state as arrays by name."""
        sums = {f"sum_{name}": total for name, total in self._sums.items()}
        return {**self.by_name(), **sums, "steps": np.array([self.steps]), "summed": np.array([self._summed])}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the result of `arrays`.

        Raises:
            UserError: they belong to other kinds of costs, or to models with other depths.
        """
        arrays = {name: np.array(array) for name, array in arrays.items()}
        expected = {name: len(array) for name, array in self.by_name().items()}
        found = {name: len(array) for name, array in arrays.items() if name.endswith(("student", "teacher")) and "sum_" not in name}
        if found != expected:
            listed = [", ".join(f"{name} {count}" for name, count in each.items()) or "none" for each in (found, expected)]
            raise UserError(
                f"the checkpoint has layer weights for {listed[0]}; this run needs {listed[1]}: the method, loss parts or models differ.\n"
                "Continue with the original options, or start over."
            )
        self.steps, self._summed = int(arrays["steps"][0]), int(arrays.get("summed", [0])[0])
        for kind in self.student:
            self.student[kind], self.teacher[kind] = arrays[f"{kind}_student"], arrays[f"{kind}_teacher"]
        self._sums = {name.removeprefix("sum_"): array for name, array in arrays.items() if name.startswith("sum_")}

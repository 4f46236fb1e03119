"""Optimizers for the trainable parameters of a layer, with states saved under structural names."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor, nn

from tinybert import devices

NO_DECAY = ("bias", "norm")  # parameters whose structural name contains one of these are not decayed


_MASTER = "master"


class BertAdam(paddle.optimizer.Optimizer):
    """Adam without bias correction, with decoupled weight decay and gradients clipped per tensor.

    update = m / (sqrt(v) + epsilon) + weight_decay * w; w -= lr * update. The gradient is first scaled by min(1, max_norm / (norm +
    1e-6)), tensor by tensor. Parameters without a gradient are unchanged, without weight decay.

    Source: the optimizer of huawei-noah/Pretrained-Language-Model, TinyBERT/transformer/optimization.py.
    """

    _FIRST, _SECOND = "moment1", "moment2"

    def __init__(
        self,
        learning_rate: float,
        parameters: list[Tensor],
        decayed: set[str],
        *,
        weight_decay: float = 0.01,
        epsilon: float = 1e-6,
        max_norm: float = 1.0,
    ) -> None:
        super().__init__(learning_rate=learning_rate, parameters=parameters)
        self.type = "bert_adam"
        self._decayed, self._decay = decayed, weight_decay
        self._epsilon, self._max_norm, self._betas = epsilon, max_norm, (0.9, 0.999)

    def _create_accumulators(self, block, parameters) -> None:
        for parameter in parameters:
            weight = devices.updated_weight(self, parameter)
            if weight.name not in self._accumulators.get(self._FIRST, {}):
                self._add_accumulator(self._FIRST, weight)
                self._add_accumulator(self._SECOND, weight)

    @paddle.no_grad()
    def _append_optimize_op(self, block, param_and_grad) -> None:
        parameter, gradient = param_and_grad
        weight = devices.updated_weight(self, parameter)
        first = self._get_accumulator(self._FIRST, weight)
        second = self._get_accumulator(self._SECOND, weight)
        gradient = gradient.astype(first.dtype)
        if self._max_norm:
            norm = paddle.sqrt((gradient * gradient).sum())
            gradient = gradient * paddle.clip(self._max_norm / (norm + 1e-6), max=1.0)
        beta1, beta2 = self._betas
        paddle.assign(first * beta1 + gradient * (1 - beta1), first)
        paddle.assign(second * beta2 + gradient * gradient * (1 - beta2), second)
        update = first / (paddle.sqrt(second) + self._epsilon)
        if parameter.name in self._decayed:
            update = update + self._decay * weight
        paddle.assign(weight - self.get_lr() * update, weight)
        if weight is not parameter:
            paddle.assign(weight.astype(parameter.dtype), parameter)


def decayed_names(layer: nn.Layer) -> set[str]:
    """Framework names of the parameters with weight decay: all but biases and norms."""
    return {parameter.name for name, parameter in layer.named_parameters() if not any(word in name for word in NO_DECAY)}


def without_gradient(name: str, weight_decay: float, rate: float) -> float:
    """The factor that one update at a learning rate applies to a decayed weight that never had a gradient.

    An optimizer rounds it to float32 in every step; at 3e-5 and a decay of 0.01 the error is up to a fifth of the change.

    Raises:
        ValueError: there is no such factor: the L2 penalty of `adam` acts like a gradient.
    """
    if name == "adam" and weight_decay:
        raise ValueError("the L2 penalty of adam is a gradient")
    return 1.0 - rate * weight_decay


def create_optimizer(
    layer: nn.Layer, name: str, *, weight_decay: float, epsilon: float, max_grad_norm: float, grad_clip: str
) -> paddle.optimizer.Optimizer:
    """An optimizer for the trainable parameters; the learning rate is set before every step.

    name: `adamw` (bias-corrected, decoupled decay), `bertadam`, or `adam` (decay as an L2 penalty on all parameters including biases and
    norms, as in PaddleNLP's general distillation). grad_clip: by `global` norm or per `tensor`; max_grad_norm 0 = off.
    """
    parameters = [parameter for parameter in layer.parameters() if not parameter.stop_gradient]
    decayed = decayed_names(layer)
    if name == "bertadam":
        return BertAdam(0.0, parameters, decayed, weight_decay=weight_decay, epsilon=epsilon, max_norm=max_grad_norm)
    clip = None
    if max_grad_norm:
        # auto_skip_clip: below the limit nothing is multiplied by one
        whole = nn.ClipGradByGlobalNorm(max_grad_norm, auto_skip_clip=True)
        clip = whole if grad_clip == "global" else nn.ClipGradByNorm(max_grad_norm)
    common = {"learning_rate": 0.0, "parameters": parameters, "weight_decay": weight_decay, "epsilon": epsilon, "grad_clip": clip}
    if name == "adam":
        return paddle.optimizer.Adam(**common)
    return paddle.optimizer.AdamW(
        **common,
        apply_decay_param_fun=lambda parameter_name: parameter_name in decayed,
    )


def optimizer_arrays(optimizer: paddle.optimizer.Optimizer, layer: nn.Layer) -> dict[str, np.ndarray]:
    """The optimizer's state as arrays by `<structural parameter name>|<state name>`.

    Paddle's own names (`linear_0.w_0_moment1_0`) depend on how many layers the process has created before.
    """
    whole = optimizer.state_dict()
    state = {key: value for key, value in whole.items() if isinstance(value, Tensor)}
    copies = devices.float32_copies(whole)
    arrays = {}
    for name, parameter in layer.named_parameters():
        if parameter.name in copies:
            arrays[f"{name}|{_MASTER}"] = copies[parameter.name].numpy()
        prefix = copies.get(parameter.name, parameter).name + "_"
        for key, value in state.items():
            if key.startswith(prefix):
                arrays[f"{name}|{key.removeprefix(prefix)}"] = value.numpy()
    return arrays


def load_optimizer_arrays(optimizer: paddle.optimizer.Optimizer, layer: nn.Layer, arrays: dict[str, np.ndarray]) -> None:
    """Restore the result of `optimizer_arrays`, in this or another process."""
    weights, state = dict(layer.named_parameters()), {}
    for key in sorted(arrays, key=lambda key: not key.endswith(f"|{_MASTER}")):
        name, suffix = key.rsplit("|", 1)
        if suffix == _MASTER:
            weights[name] = devices.add_float32_copy(state, weights[name], paddle.to_tensor(arrays[key]))
        else:
            state[f"{weights[name].name}_{suffix}"] = paddle.to_tensor(arrays[key])
    optimizer.set_state_dict(state)

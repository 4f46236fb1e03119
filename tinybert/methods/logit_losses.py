"""Shared options of methods: how the teacher's logits are learned."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tinybert.config.dialects import HUAWEI, MUD
from tinybert.config.groups import in_conventions
from tinybert.config.options import Alias, Options, option
from tinybert.config.resolve import Context
from tinybert.config.resolved import Settings
from tinybert.kinds.kind import LogitOptions


def _unlearnt(context: Context) -> str | None:
    if not context.use_pred:
        return "without use_pred the logits are not learned"
    return "prediction_weight is 0" if context.prediction_weight == 0 else None


def _softened(context: Context) -> str | None:
    return _unlearnt(context) or ("alpha 0 removes the teacher term" if context.alpha == 0 else None)


def _unweighed(context: Context) -> str | None:
    """Why a weight has no effect: without logits only gold labels remain, unless the method also learns layers."""
    return None if context.use_pred or context.method.weighs_gold_labels else "without use_pred the stage learns gold labels"


def _in_prediction(value: float) -> Callable[[Context], float | None]:
    return lambda context: value if context.stage == "prediction" else None


in_losses = partial(option, group="losses", setting=True, learnt="logits", commands=("distill",))
in_logit_conventions = partial(in_conventions, learnt="logits", commands=("distill",))


class LogitLosses(Options):
    """How the teacher's logits and the gold labels are learned."""

    T: float | None = in_losses(
        None,
        help="temperature of the logits",
        alias=(Alias("temperature", f"{HUAWEI}, {MUD}"),),
        at_least=0.001,
        at_most=1e6,
        no_effect=_softened,
    )
    alpha: float | None = in_losses(
        None,
        help="weight of the teacher relative to the gold labels in the prediction stage; 1: teacher only",
        at_least=0,
        at_most=1,
        part="target",
        no_effect=_unlearnt,
        otherwise=_in_prediction(0.0),
    )
    prediction_weight: float = in_losses(
        1.0, help="weight of the prediction loss", at_least=0, no_effect=_unweighed, otherwise=_in_prediction(1.0)
    )
    use_pred: bool = in_losses(True, help="whether to learn the logits; otherwise the prediction stage learns gold labels")
    soft_ce_reduction: str | None = in_logit_conventions(
        None, help="reduction of the soft cross-entropy over the classes", choices=("sum", "mean"), no_effect=_softened
    )
    temperature_square: bool | None = in_logit_conventions(None, help="multiply the soft cross-entropy by T^2", no_effect=_softened)
    regression_target: str | None = in_logit_conventions(
        None,
        help="target of a regression: the teacher's score, the gold score, or the softmax of one class (loss 0)",
        choices=("teacher", "gold", "softmax"),
        part="target",
        no_effect=_unlearnt,
    )


def logit_options(settings: Settings) -> LogitOptions:
    """The logit options; those without effect are None."""
    return LogitOptions(
        settings.T or 1.0, settings.soft_ce_reduction or "sum", bool(settings.temperature_square), settings.regression_target or "teacher"
    )


def teacher_share(settings: Settings) -> float:
    """The weight of the teacher against the gold labels, 0 if its logits are not learned."""
    return (settings.alpha or 0.0) if settings.use_pred else 0.0

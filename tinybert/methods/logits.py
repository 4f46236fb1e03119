"""Distillation of only the logits."""

from __future__ import annotations

from tinybert.methods.logit_losses import LogitLosses
from tinybert.methods.method import DistillationMethod
from tinybert.methods.registry import register


@register
class Logits(DistillationMethod, LogitLosses):
    """The student learns the teacher's logits (Hinton et al. 2015)."""

    name = "logits"
    help = "logits only"
    stages = ("prediction",)
    prunes = True

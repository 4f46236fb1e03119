"""How the weights are updated."""

from __future__ import annotations

from tinybert.config.dialects import HF, THREE
from tinybert.config.groups import in_optimisation
from tinybert.config.notices import Notice
from tinybert.config.options import KEEP, Alias, Config, Derived
from tinybert.config.resolve import Context


def _constant(context: Context) -> str | None:
    return "a constant schedule has no warm-up" if context.lr_schedule == "constant" else None


def _counts_steps(context: Context) -> bool:
    """Steps or proportion, never both: explicit options override the preset, then steps above 0 win; 0 steps alone mean no warm-up."""
    by_share = context.given("warmup_proportion")
    steps = None if by_share and not context.given("warmup_steps") else context.warmup_steps
    return steps is not None and (steps > 0 or not by_share)


def _proportion_wins(context: Context) -> str | None:
    return _constant(context) or (None if _counts_steps(context) else "warmup_proportion takes precedence")


def _steps_win(context: Context) -> str | None:
    return _constant(context) or ("--warmup_steps takes precedence" if _counts_steps(context) else None)


def _bertadam_clips(context: Context) -> Derived | None:
    """BertAdam always clips per tensor, whatever was requested."""
    if context.optimizer != "bertadam" or context.grad_clip == "tensor":
        return None
    return Derived("tensor", "optimizer bertadam", "--optimizer bertadam clips each tensor separately")


class OptimisationOptions(Config):
    """How the weights are updated."""

    batch_size: int | None = in_optimisation(
        None,
        help="rows per device and forward pass; one update sees this times gradient_accumulation_steps",
        alias=(Alias("train_batch_size", THREE), Alias("per_gpu_train_batch_size", HF), Alias("per_device_train_batch_size", HF)),
        at_least=1,
    )
    eval_batch_size: int | None = in_optimisation(
        None,
        help="rows per batch for evaluation",
        alias=(Alias("per_gpu_eval_batch_size", HF), Alias("per_device_eval_batch_size", HF)),
        at_least=1,
        does="scores",
    )
    learning_rate: float | None = in_optimisation(None, help="peak learning rate", above=0, at_most=10, does="updates")
    num_train_epochs: float | None = in_optimisation(
        None,
        help="number of epochs; may be fractional",
        above=0,
        at_most=1e6,
        does="updates",
        otherwise=KEEP,
        no_effect=lambda context: "max_steps takes precedence" if context.max_steps > 0 else None,
    )
    max_steps: int = in_optimisation(
        -1, help="stop after this many updates; if above 0, takes precedence over num_train_epochs", at_least=-1, at_most=1e9
    )
    optimizer: str | None = in_optimisation(
        None,
        help="adamw: with bias correction; bertadam: without, like the published PyTorch scripts; adam: with an L2 penalty "
        "instead of weight decay",
        choices=("adamw", "bertadam", "adam"),
        does="updates",
    )
    weight_decay: float | None = in_optimisation(
        None, help="decoupled weight decay; biases and layer norms are exempt", alias=(Alias("wd", THREE),), at_least=0, does="updates"
    )
    adam_epsilon: float | None = in_optimisation(None, help="epsilon of the optimizer", above=0, at_most=1, does="updates")
    lr_schedule: str | None = in_optimisation(
        None, help="linear: warm-up, then linear decay to 0; constant: without warm-up", choices=("constant", "linear"), does="updates"
    )
    warmup_steps: int | None = in_optimisation(
        None,
        help="number of warm-up updates; if above 0, takes precedence over warmup_proportion; 0 without warmup_proportion: no warm-up",
        unset="from warmup_proportion",
        at_least=0,
        does="updates",
        otherwise=0,
        no_effect=_proportion_wins,
    )
    warmup_proportion: float | None = in_optimisation(
        None,
        help="share of all updates used for warm-up",
        alias=(Alias("warmup_ratio", HF),),
        at_least=0,
        below=1,
        does="updates",
        otherwise=0.0,
        no_effect=_steps_win,
    )
    max_grad_norm: float | None = in_optimisation(
        None, help="maximum gradient norm for clipping; 0: no clipping", at_least=0, does="updates"
    )
    grad_clip: str | None = in_optimisation(
        None,
        help="clip by the norm of all gradients together (global) or of each parameter separately (tensor, as bertadam always does)",
        choices=("global", "tensor"),
        does="updates",
        derived=_bertadam_clips,
        no_effect=lambda context: "max_grad_norm 0 means no clipping" if context.max_grad_norm == 0 else None,
    )
    gradient_accumulation_steps: int = in_optimisation(1, help="forward passes per update", at_least=1, does="updates")
    drop_last: bool | None = in_optimisation(None, help="skip an incomplete last batch, like the published PyTorch scripts")
    seed: int = in_optimisation(42, help="random seed for sampling, dropout and new weights", at_least=0)

    def check(self) -> list[Notice]:
        """Warn about an option that the published scripts count differently."""
        notes = super().check()
        if self.spelled.get("batch_size") == "train_batch_size" and self.gradient_accumulation_steps > 1:
            text = (
                "--train_batch_size counts rows per forward pass here, not per update as in the published scripts: "
                f"one update sees {self.batch_size} x {self.gradient_accumulation_steps} rows"
            )
            notes.append(Notice("rows-per-update", text))
        return notes

"""Fine-tuning, and computing importance scores for pruning."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config import dialects
from tinybert.config.dialects import HF
from tinybert.config.distilling import ORDER
from tinybert.config.groups import in_conventions, in_models, in_run, in_stage, preset_option
from tinybert.config.optimisation import OptimisationOptions
from tinybert.config.options import Alias, Option
from tinybert.config.resolve import Context, resolve_stages
from tinybert.config.resolved import Resolved
from tinybert.config.rows import DataOptions
from tinybert.config.runs import RunOptions
from tinybert.kinds.kind import Kind


@command(
    "finetune", summary="fine-tune a teacher or a baseline (run_glue.py)", recipe="finetune:finetune", script="benchmark/glue/run_glue.py"
)
class FinetuneConfig(RunOptions, OptimisationOptions, DataOptions):
    """Fine-tune a BERT-like encoder on a known task or your own files, as a teacher or as a baseline for students."""

    IGNORED = dialects.IGNORED_FINETUNE
    GROUPS = ORDER
    PRESET_SECTION = "finetune"

    model_name_or_path: str = in_models(help="folder or name of the pre-trained model")
    model_type: str | None = in_models(None, help="model family (bert, ernie, ...)", unset="from its config")
    tokenizer_name_or_path: str | None = in_models(
        None, help="folder or name of the tokenizer", alias=(Alias("tokenizer_name", HF),), unset="the model's own"
    )
    output_dir: Path | None = in_run(
        None, help="output folder", unset="pretrained_models/<TASK>; with compute_taylor, the folder of the model"
    )
    preset: str = preset_option("finetune")
    compute_taylor: bool = in_stage(
        False, help="do not train; compute first-order importance scores of a fine-tuned model's weights, for pruning"
    )
    importance_mode: str | None = in_conventions(
        None,
        help="run compute_taylor without dropout (eval) or with dropout, as published (train)",
        choices=("eval", "train"),
        no_effect=lambda context: None if context.compute_taylor else "only --compute_taylor uses it",
    )
    evaluate_during_training: bool = in_run(
        False, help="evaluate every logging_steps instead of every save_steps, like the Hugging Face scripts", does="scores"
    )

    def resolve(self, task_name: str, kind: Kind | None = None) -> Resolved:
        """The settings for a task of this kind, as `resolved["finetune"]`."""
        return resolve_stages(self, ("finetune",), task_name, kind=kind)

    def option_off(self, context: Context, declared: Option) -> str | None:
        """Computing importance scores neither updates nor evaluates the model."""
        if self.compute_taylor and declared.does == "updates":
            return "--compute_taylor makes one pass without updates"
        if self.compute_taylor and declared.does == "scores":
            return "--compute_taylor does not evaluate"
        return super().option_off(context, declared)

"""From arguments and preset to the settings of each stage: what was given wins, and nothing is ignored silently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tinybert.config.applies import (
    common_reasons,
    distill_reasons,
    importance_reasons,
    schedule_reasons,
    teacher_reasons,
    vocabulary_reasons,
)
from tinybert.config.general import general_reasons
from tinybert.config.mud import CONFIG_3D, read_config_3d
from tinybert.config.notices import Notice
from tinybert.config.picked import ResolvedOptions
from tinybert.config.presets import PRESETS
from tinybert.config.resolved import (
    FinetuneSettings,
    GeneralSettings,
    PretrainSettings,
    Resolved,
    StageSettings,
    TaskSettings,
    TrainingSettings,
    Unused,
)
from tinybert.config.stages import ABLATIONS
from tinybert.config.stored import stored_reasons

if TYPE_CHECKING:
    from tinybert.commands.distill import TaskDistillConfig
    from tinybert.commands.finetune import FinetuneConfig
    from tinybert.commands.general import GeneralDistillConfig
    from tinybert.commands.pretrain import PretrainConfig
    from tinybert.config.groups import TrainingRunOptions
    from tinybert.kinds.kind import Kind

STAGES = ("intermediate", "prediction")
OVERRIDES = {
    "num_train_epochs": "epochs",
    "learning_rate": "learning_rate",
    "max_steps": "max_steps",
    "use_aug": "aug",
}
# options of one stage alone: stage and the setting that each stands for
_OF_STAGE = {f"{stage}_{suffix}": (stage, name) for stage in STAGES for name, suffix in OVERRIDES.items()}
# what a setting becomes where it does not apply but the training still reads it; None for the others
_NEUTRAL = {"warmup_steps": 0, "warmup_proportion": 0.0}
_NEUTRAL_PREDICTION = {**_NEUTRAL, "alpha": 0.0, "prediction_weight": 1.0}  # gold labels alone
_KEPT = ("num_train_epochs",)  # max_steps beats it, yet it stays a number that progress can show


def resolve(
    config: TaskDistillConfig,
    stage: str,
    task_name: str,
    kind: Kind,
    student_depth: int | None = None,
) -> Resolved:
    """The settings of `stage` (`intermediate`, `prediction`, `both` or `joint`) of task distillation for one task.

    student_depth: layers of the student, for presets that have a table for each depth.
    """
    joint = stage == "joint"
    stages = STAGES if stage == "both" else ("prediction",) if joint else (stage,)
    picked = {name: _StageOptions(config, name, task_name, student_depth) for name in stages}
    for name, values in picked.items():
        values.drop(common_reasons(values.values, config))
        values.drop(distill_reasons(values.values, name, config.method, kind, joint))
        values.drop(teacher_reasons(values.values, name, config.method))
        values.drop(schedule_reasons(values.values, name, stages[0]))
        values.drop(vocabulary_reasons(values.values, config))
        values.drop(stored_reasons(config, values.values, name) if not joint else {})
        if config.method == "none" and config.student_model_name_or_path is not None:
            values.drop(dict.fromkeys(("teacher_path", "teacher_model_type"), "--method none learns gold labels only"))
        values.judge_ablation(config.ablation)
    settings = {name: values.settings(StageSettings, method=config.method, joint=joint or None) for name, values in picked.items()}
    unused = _unused(config, picked)
    for other in set(STAGES) - set(stages):
        names = [name for name, (stage_of, _) in _OF_STAGE.items() if stage_of == other and name in config.given]
        unused += [Unused(name, getattr(config, name), f"this run has no {other} stage") for name in names]
    warnings = [entry.notice for entry in unused]
    if len(stages) > 1:  # honoured in one stage only, so it is not among the unused ones
        warnings += [Notice("original-rows", values.original_rows_line()) for values in picked.values() if values.original_rows]
    warnings += [line for values in picked.values() for line in values.depth_lines]
    target = settings["prediction"].regression_target if "prediction" in settings else None
    if target == "softmax":
        text = (
            "regression_target softmax: the softmax of one class is always 1, so the prediction loss is 0 and nothing "
            "is learnt; --regression_target teacher learns from the teacher"
        )
        warnings.append(Notice("zero-loss", text))
    return Resolved(config.preset, settings, tuple(unused), tuple(dict.fromkeys(warnings)))


def resolve_finetune(config: FinetuneConfig, task_name: str) -> Resolved:
    """The settings of fine-tuning for one task, as `resolved["finetune"]`."""
    picked = _StageOptions(config, "finetune", task_name)
    picked.drop(common_reasons(picked.values, config))
    if config.evaluate_during_training:
        if "save_steps" in config.given and config.save_steps > 0:
            picked.reasons["save_steps"] = "--evaluate_during_training evaluates every logging_steps"
        source = f"logging_steps ({picked.sources['logging_steps']}), with evaluate_during_training"
        picked.put("save_steps", config.logging_steps, source)
    picked.drop(importance_reasons(config.compute_taylor))
    picked.drop(vocabulary_reasons(picked.values, config))
    unused = _unused(config, {"finetune": picked})
    warnings = [entry.notice for entry in unused]
    return Resolved(config.preset, {"finetune": picked.settings(FinetuneSettings)}, tuple(unused), tuple(warnings))


def resolve_general(config: GeneralDistillConfig, data_length: int | None) -> Resolved:
    """The settings of general distillation, as `resolved["general"]`.

    data_length: the length of pre-generated sequences, which decides max_seq_length; None for raw text.

    Raises:
        UserError: nothing is left to learn.
    """
    picked = _StageOptions(config, "general")
    if data_length is not None:
        picked.put("max_seq_length", data_length, "pregenerated_data")
    if picked.values["relation_weight"] is None:
        picked.put("relation_weight", 1.0 if config.method == "relation" else 0.0, f"method {config.method}")
    picked.drop(common_reasons(picked.values, config))
    picked.drop(general_reasons(picked.values, config.method, data_length is not None))
    unused = _unused(config, {"general": picked})
    warnings = [entry.notice for entry in unused]
    if config.preset == "paddlenlp" and config.max_steps <= 0:
        text = "PaddleNLP's script stops after its first step unless max_steps is given; here num_train_epochs decides"
        warnings.append(Notice("published-first-step", text))
    settings = picked.settings(GeneralSettings, method=config.method)
    return Resolved(config.preset, {"general": settings}, tuple(unused), tuple(warnings))


def resolve_pretrain(config: PretrainConfig) -> Resolved:
    """The settings of masked-LM training, as `resolved["pretrain"]`."""
    picked = _StageOptions(config, "pretrain")
    picked.drop(common_reasons(picked.values, config))
    unused = _unused(config, {"pretrain": picked})
    settings = picked.settings(PretrainSettings)
    return Resolved(config.preset, {"pretrain": settings}, tuple(unused), tuple(entry.notice for entry in unused))


class _StageOptions(ResolvedOptions):
    """What is picked for one stage of training."""

    def __init__(
        self,
        config: TrainingRunOptions,
        stage: str,
        task_name: str = "",
        depth: int | None = None,
    ) -> None:
        self.stage, self.task_name, self.preset = stage, task_name, config.preset
        self.original_rows: str | None = None
        from_preset = PRESETS[config.preset].values(stage, task_name, depth)
        by_depth = PRESETS[config.preset].depths(stage, depth)
        self.depth_lines = [
            Notice("preset-depth", f"preset {self.preset} has no numbers for a student of {depth} layers: those of {taken} are taken")
            for taken in dict.fromkeys(by_depth.values())
            if depth not in (None, taken)
        ]
        ablation = getattr(config, "ablation", None)
        # two rules of the paper: STS-B, and gold labels instead of logits, take the original rows even with --use_aug
        original_rows = f"preset {self.preset}" if from_preset.pop("use_aug", None) is False else None
        if ablation == "pred" and stage == "prediction":
            original_rows = "ablation pred"
        settings_class = {"finetune": FinetuneSettings, "general": GeneralSettings, "pretrain": PretrainSettings}.get(stage, StageSettings)
        super().__init__(config, settings_class, from_preset)
        for name, layers in by_depth.items():
            if self.sources.get(name, "").startswith("preset"):
                self.sources[name] += f", {task_name} with {layers} layers"
        self._of_this_stage()
        if original_rows and self.sources.get("use_aug") == "given":
            self.original_rows = original_rows
            self.put("use_aug", False, original_rows)
            self.reasons["use_aug"] = self.original_rows_line()
        self._other_spellings()
        if self.values.get("metric") is None:  # the task has its own
            self.sources.pop("metric", None)
        self._warm_up()
        self._clip()
        for name, value in ABLATIONS.get(ablation or "", {}).items():
            self.put(name, value, f"given (ablation {ablation})")

    def _of_this_stage(self) -> None:
        """Options of this stage alone beat those of both."""
        for own, (stage, name) in _OF_STAGE.items():
            if stage == self.stage and getattr(self.config, own) is not None:
                self.put(name, getattr(self.config, own), f"given ({own})")
                if self.is_explicit(name):
                    self.reasons[name] = f"--{own} beats it"

    def _other_spellings(self) -> None:
        """Options that stand for others."""
        shared, config_3d = (getattr(self.config, name, None) for name in ("share_param", "config_3d"))
        if shared is not None:
            self.put("projection", "shared" if shared else "per_layer", "given (share_param)")
        if getattr(self.config, "is_rosita", False):
            self.put("projection", "none", "given (is_rosita)")
        if config_3d is not None:
            for name, value in zip(CONFIG_3D, read_config_3d(config_3d), strict=True):
                self.put(name, value, "given (config_3d)")

    def _warm_up(self) -> None:
        """Steps or proportion, never both: what was given beats the preset, then steps above 0 win; 0 steps given alone: no warm-up."""
        explicit_proportion = "warmup_proportion" in self.given
        steps = None if explicit_proportion and "warmup_steps" not in self.given else self.values["warmup_steps"]
        if steps is not None and (steps > 0 or not explicit_proportion):
            if explicit_proportion:
                self.reasons["warmup_proportion"] = "--warmup_steps beats it"
            self.values["warmup_proportion"] = 0.0
            self.sources.pop("warmup_proportion")
        else:
            self.values["warmup_steps"] = 0
            self.sources.pop("warmup_steps")

    def _clip(self) -> None:
        """BertAdam clips each tensor on its own, whatever else is asked for."""
        if self.values["optimizer"] == "bertadam" and self.values["grad_clip"] != "tensor":
            self.reasons["grad_clip"] = "--optimizer bertadam clips each tensor alone"
            self.put("grad_clip", "tensor", "optimizer bertadam")

    def original_rows_line(self) -> str:
        """Why --use_aug does not reach this stage."""
        return (
            f"{self.original_rows} trains the {self.stage} stage of {self.task_name} on the original rows; "
            f"--{self.stage}_aug asks for the augmented ones"
        )

    def drop(self, reasons: Mapping[str, str]) -> None:
        """Take out what does not apply, each with its reason."""
        super().drop(reasons, _NEUTRAL_PREDICTION if self.stage == "prediction" else _NEUTRAL, _KEPT)
        for own, (stage, name) in _OF_STAGE.items():
            if stage == self.stage and name in reasons:
                self.reasons.setdefault(own, reasons[name])

    def judge_ablation(self, ablation: str | None) -> None:
        """An ablation has no effect where none of the switches that it stands for has one; to be called when all reasons are known."""
        reasons = [self.reasons.get(name) for name in ABLATIONS.get(ablation or "", ())]
        if reasons and all(reasons):
            self.reasons.setdefault("ablation", "; ".join(dict.fromkeys(filter(None, reasons))))

    def settings(self, settings_class: type[TrainingSettings], **more: object) -> TrainingSettings:
        """The finished settings."""
        known = {"stage": self.stage, "preset": self.preset, "sources": self.sources}
        if issubclass(settings_class, TaskSettings):
            known["task_name"] = self.task_name
        return settings_class(**known, **self.values, **more)


def _unused(config: TrainingRunOptions, picked: dict[str, _StageOptions]) -> list[Unused]:
    """Explicit options that no stage of this run honours."""
    found = []
    for name in config.options():
        concerned = [_OF_STAGE[name][0]] if name in _OF_STAGE else picked
        reasons = [picked[stage].reasons.get(name) for stage in concerned if stage in picked]
        if name in config.given and reasons and all(reasons):
            found.append(Unused(name, getattr(config, name), "; ".join(dict.fromkeys(filter(None, reasons)))))
    return found

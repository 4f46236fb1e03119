"""What a stage is trained with once everything is resolved."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tinybert.config.notices import Notice


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Values of one stage; `sources` says where each comes from."""

    stage: str
    preset: str

    sources: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def as_dict(self) -> dict[str, object]:
        """Name and value of everything that applies to this stage, for run.json."""
        names = [entry.name for entry in dataclasses.fields(self) if entry.name != "sources"]
        return {name: getattr(self, name) for name in names}

    def as_table(self) -> list[tuple[str, object, str]]:
        """Rows (name, value, where it comes from), without what does not apply to this stage."""
        return [(name, value, self.sources[name]) for name, value in self.as_dict().items() if name in self.sources]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """Data and optimisation of one stage."""

    max_seq_length: int
    pad_to_max_length: bool
    do_lower_case: bool | None
    drop_last: bool

    batch_size: int
    eval_batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    num_train_epochs: float
    max_steps: int
    optimizer: str
    weight_decay: float
    adam_epsilon: float
    lr_schedule: str
    warmup_steps: int
    warmup_proportion: float
    max_grad_norm: float
    grad_clip: str | None
    seed: int
    logging_steps: int
    save_steps: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSettings(TrainingSettings):
    """Settings of a stage that trains on the rows of a task."""

    task_name: str
    metric: str | None
    use_aug: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings(TaskSettings):
    """Settings of fine-tuning, or of the importance pass (`compute_taylor`), which leaves out what trains."""

    importance_mode: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerSettings(TrainingSettings):
    """What the inside of a student learns from the inside of its teacher; None where something does not apply to the method."""

    method: str
    pad_embedding: str
    teacher_mode: str | None

    layer_map: str | None
    projection: str | None
    use_embedding: bool | None
    use_rep: bool | None
    use_att: bool | None
    embedding_weight: float | None
    hidden_weight: float | None
    attention_weight: float | None
    attention_reduction: str | None
    attention_heads: str | None
    hidden_reduction: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageSettings(LayerSettings, TaskSettings):
    """Settings of one distillation stage; None where something does not apply to the stage or the method."""

    joint: bool | None = None  # True: hidden states and scores are learnt in the prediction stage
    teacher_head: str | None

    use_pred: bool | None
    T: float | None
    alpha: float | None
    prediction_weight: float | None
    soft_ce_reduction: str | None
    temperature_square: bool | None
    regression_target: str | None

    beta: float | None
    theta: float | None
    reduce_T: float | None  # noqa: N815  the published name
    emd_rule: str | None
    T_emd: float | None
    add_softmax: bool | None
    seperate: bool | None
    update_weight: bool | None
    emd_update_steps: int | None
    new_pred_loss: bool | None

    layer_scheme: str | None
    keep_layers: int | None
    s_layer_indices: list[int] | None
    t_layer_indices: list[int] | None
    token_scheme: str | None
    keep_tokens: int | None
    att_ttop12: bool | None
    hidden_scheme: str | None
    keep_hidden: float | None
    mud_mask: str | None
    mask_threshold: str | None
    mask_first_step: bool | None

    prune_schedule: str | None
    keep_heads: int | None
    ffn_hidden_dim: int | None
    num_layers: int | None
    emb_hidden_dim: int | None
    prune_period_proportion: float | None

    @property
    def learns_layers(self) -> bool:
        """Whether layers of the student learn from layers that a layer map gives them."""
        return self.stage == "intermediate" or bool(self.joint)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneralSettings(LayerSettings):
    """Settings of general distillation; None where something does not apply to the method."""

    sequences: str | None
    held_out_sequences: int

    relation_weight: float
    relation_heads: int | None
    relation_layers: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainSettings(TrainingSettings):
    """Settings of masked-LM training on raw text."""

    sequences: str
    held_out_sequences: int
    mlm_probability: float
    whole_word: bool


@dataclasses.dataclass(frozen=True)
class Unused:
    """An option that was given explicitly and that this run cannot honour."""

    name: str
    value: object
    reason: str

    @property
    def notice(self) -> Notice:
        """The same as a warning."""
        return Notice(f"unused:{self.name}", f"--{self.name} {self.value} is not used: {self.reason}")


@dataclasses.dataclass(frozen=True)
class Resolved:
    """The settings of each stage of a run, what could not be honoured, and lines to print."""

    preset: str
    stages: Mapping[str, Settings]
    unused: tuple[Unused, ...]
    warnings: tuple[Notice, ...]

    def __getitem__(self, stage: str) -> Settings:
        """The settings of one stage."""
        return self.stages[stage]

    def as_table(self) -> list[tuple[str, object, str]]:
        """Rows (name, value, where it comes from); `stage.name` where the stages differ, unused options last."""
        tables = {stage: {row[0]: row for row in settings.as_table()} for stage, settings in self.stages.items()}
        rows: list[tuple[str, object, str]] = []
        for name in (entry.name for entry in dataclasses.fields(next(iter(self.stages.values())))):
            found = {stage: table[name] for stage, table in tables.items() if name in table}
            if not found:
                continue
            first = next(iter(found.values()))
            if len(found) == len(tables) and all(row[1:] == first[1:] for row in found.values()):
                rows.append(first)
            else:
                rows += [(f"{stage}.{name}" if len(tables) > 1 else name, *row[1:]) for stage, row in found.items()]
        return rows + [(entry.name, entry.value, f"unused: {entry.reason}") for entry in self.unused]

    def as_text(self) -> str:
        """The table as aligned lines."""
        rows = [(name, "-" if value is None else str(value), source) for name, value, source in self.as_table()]
        width = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
        return "\n".join(f"{name:<{width[0]}}  {value:<{width[1]}}  {source}" for name, value, source in rows)

    def as_dict(self) -> dict[str, object]:
        """Plain values for run.json: per stage the settings and their sources, unused options, warnings."""
        return {
            "preset": self.preset,
            "stages": {stage: {**entry.as_dict(), "sources": dict(entry.sources)} for stage, entry in self.stages.items()},
            "unused": [dataclasses.asdict(entry) for entry in self.unused],
            "warnings": [str(entry) for entry in self.warnings],
            "codes": [entry.code for entry in self.warnings],
        }

"""Prunes a fine-tuned model to a student, which needs no general distillation: ROSITA's one-step pruning.

Supports fewer heads and feed-forward neurons by first-order importance, fewer layers, a factorised word embedding, in any combination
and for any head size; models that were pruned before.
Limits: every layer keeps the same number of heads and neurons; the model's width is unchanged. Distillation recovers
the score.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from tinybert import runtime
from tinybert.commands.prune import LAYER_RULES, PruneConfig, PruneSettings, resolve_prune
from tinybert.engine.run_record import ModelEntry
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.mapping import LayerMap
from tinybert.models.configuration import trained_on
from tinybert.models.hub import resolve
from tinybert.models.loading import LoadedModel, load_pretrained
from tinybert.models.pruned_shapes import describe_architecture
from tinybert.models.saving import save_model
from tinybert.prune.importance import FACTS, FOLDER, read_importance
from tinybert.prune.reduction import Kept, Shape, check_shape, choose, needs_importance, pruned
from tinybert.recipes.convert import check_output
from tinybert.recipes.result import Result
from tinybert.recipes.run_log import describe_model

RECORD = "pruning.json"


@dataclass(frozen=True)
class Plan:
    """A checked pruning: its settings, the model with its configuration file, the shape to prune it to, and the output folder."""

    settings: PruneSettings
    source: Path
    loaded: LoadedModel
    saved: dict
    wanted: Shape
    output: Path


def plan(config: PruneConfig) -> Plan:
    """Check everything but the importance scores; nothing is written.

    Raises:
        UserError: no fine-tuned model, a shape that it cannot take, or an output folder that may not be replaced.
    """
    settings = resolve_prune(config)
    source, output = resolve(config.model_path), Path(config.output_dir)
    if not config.name_by_shape:
        check_output(config, source, output)
    loaded, saved = load_pretrained(str(source))
    _refuse_without_head(loaded)
    wanted = _wanted(settings, loaded)
    if config.name_by_shape:
        output = output / _name(wanted)
        check_output(config, source, output)
    return Plan(settings, source, loaded, saved, wanted, output)


def prune(config: PruneConfig) -> Result:
    """Read `--model_path`, select what to keep, write the student to `--output_dir`."""
    # === Check everything before work starts ===
    planned = plan(config)
    settings, source, loaded, wanted, output = planned.settings, planned.source, planned.loaded, planned.wanted, planned.output
    logger.info(f"pruning {source}\n{settings.as_text()}")
    model = describe_model("model", loaded)
    if loaded.projections:
        logger.info("not copied: the projections, which belong to the width of its own teacher")
    importance, facts = None, {}
    if needs_importance(loaded, wanted):
        folder = _importance_folder(config, source)
        importance, facts = read_importance(folder)
        _check_origin(folder, facts, model, config)
        logger.info(f"importance: {folder}, {facts['task']}, {facts['batches']} batches in {facts['mode']} mode")

    # === Prune ===
    first_layer_heads = settings.standing_counter and wanted.neurons == Shape.of(loaded).neurons
    kept = choose(loaded, wanted, importance, first_layer_heads)
    for line in _choice_lines(wanted, kept, Shape.of(loaded), first_layer_heads):
        logger.info(line)
    student, energy = pruned(loaded, wanted, kept)
    if energy < 1:
        logger.info(f"word embedding: rank {wanted.rank} keeps {energy:.1%} of its squared norm")
    record = {
        "model": asdict(model),
        "shape": {"layers": wanted.layers, "heads": wanted.heads, "neurons": wanted.neurons, "embedding_rank": wanted.rank},
        "preset": config.preset,
        "importance": facts,
        # numbered from 1, like layers, also in the output
        "kept_heads": [(heads + 1).tolist() for heads in kept.heads],
        "kept_neurons": [(neurons + 1).tolist() for neurons in kept.neurons],
        "embedding_squares_kept": energy,
        "parameters": student.parameters(),
        "versions": runtime.versions(),
    }
    if student.parameters() >= loaded.parameters():
        logger.warning(f"the student is not smaller: factors of rank {wanted.rank} are larger than the full embedding")
    rows = trained_on(planned.saved)
    names = loaded.output_names
    save_model(
        output,
        student.model,
        student.family,
        student.tokenizer,
        names,
        record=(RECORD, record),
        trained_on=rows,
        head_config=loaded.head_config(names),
    )
    share = student.parameters() / loaded.parameters()
    logger.info(
        f"student: {student.family.model_type} {describe_architecture(student.config)}, {student.parameters():,} parameters ({share:.1%})"
    )
    logger.info(f"written: {output}")
    return Result(output, best=output, record=record)


def _refuse_without_head(loaded: LoadedModel) -> None:
    if loaded.report.fresh:
        raise UserError(
            f"{loaded.report.source} has no trained classifier: it was pre-trained, not fine-tuned.\n"
            "Prune a fine-tuned model (tinybert finetune): importance depends on the task."
        )


def _wanted(settings: PruneSettings, loaded: LoadedModel) -> Shape:
    """The shape requested by the settings, checked against the model."""
    there = Shape.of(loaded)
    depth = settings.num_layers or len(there.layers)
    if settings.layers not in LAYER_RULES:
        layers = tuple(int(number) for number in settings.layers.split(","))
    elif depth > len(there.layers):
        layers = tuple(range(1, depth + 1))  # rejected below
    else:
        layers = tuple(entry for _, entry in LayerMap.create(settings.layers, depth, len(there.layers)).hidden if entry)
    rank = settings.emb_hidden_dim if settings.emb_hidden_dim is not None else there.rank
    wanted = Shape(layers, settings.keep_heads or there.heads, settings.ffn_hidden_dim or there.neurons, rank)
    check_shape(loaded, wanted)
    if wanted == there:
        raise UserError(
            "nothing would be pruned: the model already has this shape.\nGive --keep_heads, --ffn_hidden_dim, --num_layers or "
            "--emb_hidden_dim, or --preset rosita for the published values."
        )
    return wanted


def _name(shape: Shape) -> str:
    return f"a{shape.heads}_l{len(shape.layers)}_f{shape.neurons}_e{shape.rank or -1}"


def _importance_folder(config: PruneConfig, source: Path) -> Path:
    """The folder of a model's importance scores.

    Raises:
        UserError: there is none; with the command that computes them.
    """
    if config.importance is not None:
        places = [config.importance, config.importance / FOLDER]
    else:
        places = [Path(config.model_path).expanduser() / FOLDER, source / FOLDER, source.parent / FOLDER]
    found = next((place for place in places if (place / FACTS).is_file()), None)
    if found is None:
        task = config.task_name or "<TASK>"
        raise UserError(
            f"there are no importance scores for {config.model_path}: {places[0] / FACTS} is missing.\n"
            "They select heads and neurons. Compute them with:\n"
            f"  tinybert finetune --compute_taylor True --task_name {task} --model_name_or_path {config.model_path}\n"
            "If they were computed with --output_dir, give that folder with --importance."
        )
    return found


def _check_origin(folder: Path, facts: dict, model: ModelEntry, config: PruneConfig) -> None:
    if facts["model"]["sha256"] != model.sha256:
        raise UserError(
            f"{folder} contains the importance scores of another model ({facts['model']['source']}, sha256 "
            f"{str(facts['model']['sha256'])[:12]}); "
            f"{model.source} has sha256 {str(model.sha256)[:12]}.\nCompute them for this model: tinybert finetune --compute_taylor True "
            f"--model_name_or_path {config.model_path}"
        )
    if config.task_name is not None and _plain(config.task_name) != _plain(facts["task"]):
        raise UserError(
            f"{folder} was computed on {facts['task']}, not on {config.task_name}.\nGive the model's task, or leave out --task."
        )


def _plain(task: str) -> str:
    return task.lower().replace("-", "").replace("_", "")


def _choice_lines(wanted: Shape, kept: Kept, there: Shape, first_layer_heads: bool) -> list[str]:
    if wanted.heads == there.heads:
        return [f"number of layers to keep: {', '.join(map(str, wanted.layers))}"]
    lines = ["heads of every layer by the scores of layer 1, as published"] if first_layer_heads else []
    for layer, heads in zip(wanted.layers, kept.heads, strict=True):
        lines.append(f"layer {layer}: heads {', '.join(str(head + 1) for head in heads)}")
    return lines

"""Distils a pre-trained teacher into a general student, on unlabelled text.

Supports embedding, hidden states and attention with any layer map, MiniLMv2's relations, or both; pre-generated data (ours or the
published JSON lines, with different sequences in each epoch) or raw text; students from a shape, another folder's shape or weights, or
layers of the teacher; resuming; several processes.
Limits: teacher and student share a vocabulary; no masked-language-model loss, as published.
"""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.general import GeneralDistillConfig
from tinybert.log import logger
from tinybert.methods.stage_objective import stage_objective
from tinybert.models.loading import load_encoder
from tinybert.models.saving import save_model
from tinybert.models.students import check_fit
from tinybert.models.translation import read_ids_of
from tinybert.objectives.trained_layer import Teacher
from tinybert.recipes.disk_space import check_disk_space
from tinybert.recipes.evaluate import held_out_loss
from tinybert.recipes.fingerprints import describe_student
from tinybert.recipes.general_data import GeneralData
from tinybert.recipes.input_protection import check_inputs_not_overwritten
from tinybert.recipes.preflight import open_run, start_device
from tinybert.recipes.result import Result, result_of
from tinybert.recipes.resume import finished_before
from tinybert.recipes.run_log import check_type, describe_model
from tinybert.recipes.run_student import make_general_student
from tinybert.recipes.settings_log import log_run_settings
from tinybert.recipes.training import Evaluation, Origin, StageData, train_stage, trained_layer

STAGE = "general"
FOLDERS = ("best_general_model", "final_general_model")


def general_distill(config: GeneralDistillConfig) -> Result:
    """Train a general student, according to the options of `tinybert general`."""
    output = Path(config.output_dir)
    run = open_run(config, output, STAGE, FOLDERS)
    check_inputs_not_overwritten(config, [output], ("teacher_path",))  # models in the output folder are students
    start_device(config)

    # === Models and data ===
    teacher = load_encoder(config.teacher_path, do_lower_case=config.do_lower_case, role="teacher")
    student = make_general_student(config, teacher)
    data = GeneralData.open(config, teacher, student)
    resolved = config.resolve(data.length)
    settings = resolved[STAGE]
    log_run_settings(f"general distillation: method {config.method}, {data.source}, output in {output}", resolved)
    check_type("teacher", "teacher_model_type", config, teacher)
    if not config.student_init:
        check_type("student", "model_type", config, student)
    models = {"student": describe_model("student", student), "teacher": describe_model("teacher", teacher)}
    heads, compares_scores = settings.attention_heads or "match", config.method_object.compares_scores(settings)
    check_fit(teacher, student, settings.max_seq_length, compares_tokens=True, compares_scores=compares_scores, heads=heads)
    read_ids_of(teacher.model, teacher.tokenizer, student.tokenizer)
    train, held_out = data.split(settings)
    identity = {
        "data": data.identity,
        "tokenizer": teacher.tokenizer.fingerprint,
        "student": describe_student(student),
        **{f"{role}_weights": str(entry.sha256) for role, entry in models.items()},
    }
    if config.resume == "auto" and finished_before(run, resolved, config.resume_changed, FOLDERS, identity):
        logger.info(f"general distillation is finished: {output / FOLDERS[0]}")
        return result_of(run, *FOLDERS)
    check_disk_space(run, FOLDERS, student.parameters(), config.keep_checkpoints)

    # === Train ===
    chosen = stage_objective(settings, None, student, teacher)
    layer = trained_layer(student, chosen)
    projection = layer.objective.projection
    if not student.family.keeps_projections and projection is not None and projection.mode != "none":
        logger.info(f"note: {student.family.model_type} folders cannot store the projection; later stages start with a new one")
    traced = Teacher(teacher.model, layer.objective.needs_teacher, settings.teacher_mode)

    def save(folder: Path) -> Path:
        kept = projection if student.family.keeps_projections else None
        save_model(folder, student.model, student.family, student.tokenizer, None, kept)
        return folder

    stores = {**{f"epoch {number}": store for number, store in enumerate(train)}, "held_out": held_out}
    return train_stage(
        config,
        settings,
        run,
        layer,
        StageData(train, traced),
        Evaluation(
            lambda step: held_out_loss(layer, traced, held_out, settings.eval_batch_size),
            ("held_out_loss", "min"),
            lambda step: save(output / FOLDERS[0]),
            lambda: save(output / FOLDERS[1]),
            {"data": data.identity},
        ),
        Origin(FOLDERS, models, stores, identity, config.resume, facts=chosen.facts),
    )

"""Distils a fine-tuned teacher into a small student on one task.

Supports TinyBERT's two stages (hidden states and attention scores, then logits), in sequence or in one step, MUD's selected hidden
states, BERT-EMD's single stage (all layers matched by optimal transport), only logits, or no teacher as a baseline; stored teacher
traces, soft labels from a file, or the average of several teachers; students from a checkpoint, from layers of the teacher, or new by
shape, optionally pruned gradually; known tasks and custom files; resuming.
Limits: teacher and student share a vocabulary, except for logits of whole rows; the task kinds in `tinybert.kinds`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinybert import runtime
from tinybert.commands.distill import TaskDistillConfig
from tinybert.config.resolved import Resolved, Settings
from tinybert.config.runs import Actions, actions
from tinybert.config.stages import infer_stage
from tinybert.config.teachers import number_of_teachers
from tinybert.data.metrics import check_outputs
from tinybert.data.report import DataReport
from tinybert.data.soft_labels import SoftLabels
from tinybert.data.store import TokenStore
from tinybert.data.tasks import Task
from tinybert.engine.processes import wait_for_all
from tinybert.engine.run_folder import RunFolder
from tinybert.engine.run_record import ModelEntry
from tinybert.errors import UserError
from tinybert.kinds.kind import TeacherReport
from tinybert.log import detail, logger
from tinybert.methods.stage_objective import stage_objective
from tinybert.models.limits import check_positions
from tinybert.models.loading import LoadedModel, load_classifier
from tinybert.models.pruned_shapes import describe_architecture
from tinybert.models.saving import save_model
from tinybert.models.students import check_fit
from tinybert.models.trace import Needs
from tinybert.objectives.trained_layer import TrainedLayer
from tinybert.recipes.averaged_traces import AveragedTraces
from tinybert.recipes.disk_space import check_disk_space
from tinybert.recipes.evaluate import Decision, held_out_loss, prediction_files, score, score_only, write_predictions
from tinybert.recipes.fingerprints import inputs_of_task, task_identity, teacher_label_order
from tinybert.recipes.gradual_pruning import GradualPruning, check_single_process, pruning_of
from tinybert.recipes.input_protection import OTHERS, check_inputs_not_overwritten
from tinybert.recipes.label_weights import weigh_labels, weights_identity
from tinybert.recipes.preflight import start_device
from tinybert.recipes.result import Result, result_of
from tinybert.recipes.resume import finished_before, resumed_stage
from tinybert.recipes.run_log import check_type, describe_model
from tinybert.recipes.run_student import make_student, named_student, student_depth
from tinybert.recipes.settings_log import log_run_settings
from tinybert.recipes.soft_label_source import SoftLabelTraces, soft_labels_of
from tinybert.recipes.task_data import (
    TaskData,
    check_predictable,
    log_outputs,
    preset_metric,
    scored_rows,
    splits_for,
    task_of,
)
from tinybert.recipes.teacher_check import SOFT_LABELS, TEACHER, described, validate_teacher
from tinybert.recipes.teacher_source import LazyTeacher, TeacherTraces, WantedTraces, choose_source, is_needed, keeps_live, passes_over
from tinybert.recipes.training import Evaluation, Extras, Origin, StageData, train_stage, trained_layer
from tinybert.recipes.training_rows import TrainingRows, training_splits
from tinybert.traces.selection import Selection

# the folders of a stage's best and final model
FOLDERS = {"intermediate": ("best_inter_model", "final_inter_model"), "prediction": ("best_model", "final")}


def task_distill(config: TaskDistillConfig) -> Result:
    """Distil, evaluate and predict, according to the options of `tinybert distill`."""
    do = actions(config)
    if not do.train:
        return _score_only(config, do)
    choice = infer_stage(config)
    output = Path(config.output_dir)
    written = tuple(name for stage in choice.stages for name in FOLDERS[stage])
    config = config.replace(student_model_name_or_path=named_student(config, output, written))
    task = task_of(config)
    if task.kind.head != "sequence":
        config = _with_live_teacher(config, task)
    if task.kind.of_windows and number_of_teachers(config) > 1 and config.teacher_average == "probabilities":
        raise UserError(
            f"--teacher_average probabilities: {task.kind.title} compares the windows of a text by their logits\n"
            "give --teacher_average logits"
        )
    resolved = config.resolve(task.name, task.kind, student_depth(config))
    soft = soft_labels_of(config, task)
    if "prediction" in resolved.stages:
        task = preset_metric(task, resolved["prediction"])
    if do.predict:
        check_predictable(task)
        check_inputs_not_overwritten(config, prediction_files(output, task, config.predict_format), OTHERS)
    for stage in choice.stages:
        weights_identity(resolved[stage], task)  # checks the file
    headline = f"distilling {task.name}: method {config.method}, stage {choice.stage} ({choice.reason}), output in {output}"
    runs = {stage: RunFolder(output, stage) for stage in choice.stages}
    for run in runs.values():
        run.check_existing_results(bool(config.resume), config.overwrite_output_dir, FOLDERS[run.stage])
    named = resumed_stage(config.resume, runs)
    if config.prune_schedule:
        check_single_process()
    config.method_object.check_installation()
    check_inputs_not_overwritten(config, [output], ("teacher_path",))  # models in the output folder are students
    check_inputs_not_overwritten(config, [place for stage, run in runs.items() for place in run.replaced(FOLDERS[stage])])
    log_run_settings(headline, resolved)
    log_outputs(task, config)
    start_device(config)

    teachers = [LazyTeacher(config, task.labels, task.kind, path) for path in config.teacher_path or ()]
    teacher = teachers[0] if teachers else None  # of several, the first one gives a new student its layers and vocabulary
    for each in teachers:
        needed = any(is_needed(config, resolved[stage], each) for stage in choice.stages)
        check_type("teacher", "teacher_model_type", config, each.load() if needed else each.known)
    other = RunFolder(output, "prediction", writes=False)
    if choice.stages == ("intermediate",) and other.done_before():
        logger.warning(f"the prediction stage in {output} was trained from an earlier student; train it again after this stage")
    reports = DataReport()
    for number, stage in enumerate(choice.stages):
        done = (output / FOLDERS[stage][0] / "config.json").is_file()
        passed = named in choice.stages[number + 1 :]  # a later stage is resumed: this one must be finished
        if passed and not (done and runs[stage].record().get(stage, {}).get("finished")):
            raise UserError(
                f"--resume {config.resume} is a checkpoint of the {named} stage, but the {stage} stage in {output} is not finished.\n"
                "Finish it with --resume auto, or train only the later stage with --stage."
            )
        if stage == "prediction" and len(choice.stages) > 1:
            student = load_classifier(
                str(output / FOLDERS["intermediate"][0]), labels=task.labels, needs_head=False, kind=task.kind, role="student"
            )
        else:
            student = make_student(config, teacher, task.labels, task.kind)
        if (passed or config.resume == "auto") and done:
            inputs = inputs_of_task(config, resolved[stage], task, teachers, soft, student)
            if finished_before(runs[stage], resolved, config.resume_changed, FOLDERS[stage], inputs) or passed:
                logger.info(f"the {stage} stage is finished: {output / FOLDERS[stage][0]}")
                continue
        if not config.student_init:
            check_type("student", "model_type", config, student)
        resume = config.resume if named in (None, stage) else None
        later_runs = [runs[later] for later in choice.stages[number + 1 :]]  # they use the student that is trained now
        _Stage(config, resolved, runs[stage], task, teachers, soft, student, resume, reports, later_runs).run()
        wait_for_all()
    if do.predict:
        settings = resolved[choice.stages[-1]]
        best = load_classifier(str(output / FOLDERS["prediction"][0]), labels=task.labels, needs_head=True, kind=task.kind)
        data = TaskData.find(task, config, list(task.test_splits), best.tokenizer, settings.max_seq_length)
        write_predictions(output, best, data, settings.eval_batch_size, config.predict_format)
    last = choice.stages[-1]
    return result_of(runs[last], *FOLDERS[last])


def _with_live_teacher(config: TaskDistillConfig, task: Task) -> TaskDistillConfig:
    """Use the live teacher for token-level outputs, which are not stored; rejected if storing was requested."""
    if config.teacher_traces not in (None, "auto", "live"):
        raise UserError(f"--teacher_traces {config.teacher_traces}: the teacher's outputs for {task.kind.title} cannot be stored\nuse live")
    return config.replace(teacher_traces="live")


@dataclass
class _Stage:
    """One stage of one run: its inputs, and the steps to a saved student."""

    config: TaskDistillConfig
    resolved: Resolved
    run_folder: RunFolder
    task: Task
    teachers: list[LazyTeacher]
    soft: SoftLabels | None
    student: LoadedModel
    resume: str | None
    reports: DataReport  # on the rows, shared by the stages
    later_runs: list[RunFolder]  # later stages, which start over, because their results are from an earlier student

    @property
    def teacher(self) -> LazyTeacher | None:
        """The first teacher."""
        return self.teachers[0] if self.teachers else None

    @property
    def _settings(self) -> Settings:
        return self.resolved[self.run_folder.stage]

    def run(self) -> None:
        """Check compatibility, prepare data, train, save."""
        run, settings, task, student = self.run_folder, self._settings, self.task, self.student
        models = self._check_models(settings)
        chosen = stage_objective(settings, task.kind, student, self.teacher.known if self.teacher else None)
        layer = trained_layer(student, chosen)
        if task.unlabelled_splits and layer.objective.needs_labels:
            raise UserError("--unlabelled_file has no labels, but a loss of this run learns labels\nleave out the file, or the loss")
        data, trained = self._find_data(settings)
        kept = {name: data.store(name) for name in task.eval_splits}
        data.report({**trained.labelled, **kept})
        if line := trained.describe():
            logger.info(line)
        for teacher in self.teachers:
            data.warn_if_used_differently("teacher", teacher.known.trained_on)
        traces, found = self._traces(layer.objective.needs_teacher, chosen.selection or Selection(), data, trained, kept)
        facts = chosen.facts | data.facts() | weigh_labels(layer.objective, settings, task, trained.first) | found
        identity = task_identity(self.config, task, trained.identity(data), student, self.teachers, self.soft)
        identity |= weights_identity(settings, task) | ({"teacher_traces": traces.kind} if traces else {})

        def pruning(total: int) -> GradualPruning:
            planned = pruning_of(settings, task.kind, student, self.teacher.known if self.teacher else None, layer, traces, total)
            facts["pruning"] = [str(event) for event in planned.events]
            logger.info("\n  ".join([f"gradual pruning in {len(planned.events)} steps:", *facts["pruning"]]))
            return planned

        def final_facts() -> dict[str, object]:
            found = traces.facts() if traces else {}
            if settings.prune_schedule:
                found["pruned"] = {"shape": describe_architecture(student.config), "parameters": student.parameters()}
            return found

        stores, assumed = {**trained.stores, **kept}, self._assumed(identity)
        origin = Origin(FOLDERS[run.stage], models, stores, identity, self.resume, assumed, facts, self._clear_later_stages)
        train_stage(
            self.config,
            settings,
            run,
            layer,
            StageData([trained.rows], traces, tuple(stores.values())),
            self._evaluation(layer, traces, data, kept),
            origin,
            Extras(chosen.learned, pruning if settings.prune_schedule else None, final_facts),
        )

    # === Before training ===

    def _check_models(self, settings: Settings) -> dict[str, ModelEntry]:
        """Reject a student that is incompatible with its teacher or the texts; returns the entries of both for run.json."""
        models = {"student": describe_model("student", self.student)}
        if not self.teachers:
            check_positions("student", self.student, settings.max_seq_length)
        for number, teacher in enumerate(self.teachers, 1):
            if keeps_live(self.config, settings):
                teacher.load()
            models["teacher" if number == 1 else f"teacher_{number}"] = describe_model("teacher", teacher.known)
            check_fit(
                teacher.known,
                self.student,
                settings.max_seq_length,
                compares_tokens="layers" in settings.learns or self.task.kind.head != "sequence",
                compares_scores=settings.method_object.compares_scores(settings),
                heads=settings.attention_heads or "match",
            )
            teacher.read_ids_of(self.student.tokenizer)
        return models

    def _find_data(self, settings: Settings) -> tuple[TaskData, TrainingRows]:
        """The data and the training rows; rejected if the disk space is not sufficient for the run."""
        trained = training_splits(self.task, settings.use_aug)
        splits = [*trained, *self.task.eval_splits]
        data = TaskData.find(self.task, self.config, splits, self.student.tokenizer, settings.max_seq_length)
        data.reports = self.reports
        left = len(self.resolved.stages) if self.run_folder.stage == "intermediate" else 1
        folders, keep = FOLDERS[self.run_folder.stage], self.config.keep_checkpoints
        check_disk_space(self.run_folder, folders, self.student.parameters(), keep, data.bytes_to_store(splits), left)
        return data, TrainingRows.of(data, trained)

    def _traces(
        self, needs: Needs, selection: Selection, data: TaskData, trained: TrainingRows, kept: dict[str, TokenStore]
    ) -> tuple[TeacherTraces | SoftLabelTraces | AveragedTraces | None, dict[str, object]]:
        """The source of teacher traces, checked on rows with labels, and its details for run.json; None if the stage uses no teacher."""
        if not needs:
            return None, {}
        sources, scores, dev = [], [], self.task.eval_splits[0]
        for number, teacher in enumerate(self.teachers):
            own = teacher.own_rows(data, (*trained.stores, dev), needs)  # empty for a teacher that reads the student's tokens
            sources.append(self._teacher_traces(number, needs, selection, trained, {**trained.stores, dev: kept[dev], **own}))
            scores.append(self._check_teacher(teacher, sources[-1].logits(own.get(dev, kept[dev])), kept[dev]))
        if self.soft is not None:
            sources.append(SoftLabelTraces(self.soft, needs, data.folder, trained.stores))
            scores.append(self._check_soft_labels(sources[-1], trained))
        if len(sources) < 2:
            return (sources[0], {"teacher_scores": scores[0]} | sources[0].facts()) if sources else (None, {})
        config, settings = self.config, self._settings
        weights = config.teacher_weights or [1.0] * len(sources)
        averaged = AveragedTraces(sources, weights, self.task.kind, config.teacher_average, settings.T or 1.0)
        logger.info(f"{len(sources)} teachers: {averaged.describe()}")
        return averaged, {"scores_of_teachers": scores} | averaged.facts()

    def _teacher_traces(
        self, number: int, needs: Needs, selection: Selection, trained: TrainingRows, read: dict[str, TokenStore]
    ) -> TeacherTraces:
        """The traces of one teacher. read: training and dev rows with the tokens that it reads."""
        wanted = WantedTraces(self.config, self._settings, self.teachers[number], needs, selection, self.task.num_outputs)
        rows = len(trained.rows)
        passes = sum(passes_over(self.resolved[stage], rows, runtime.world_size()) for stage in self.resolved.stages)
        entry = self.run_folder.record().get(self.run_folder.stage) if self.resume else None
        if entry and len(entry.get("teachers", ())) > number:
            entry = entry["teachers"][number]
        began = entry.get("teacher_traces", {}).get("mode", "live") if entry else None  # version 0.1 only had live teachers
        source = choose_source(wanted, list(read.values()), passes, began)
        detail(source.describe(self.config.teacher_traces_dtype))
        own = replace(trained, stores={name: read[name] for name in trained.stores})
        return TeacherTraces(source, wanted, rows, None if own == trained else own.rows)

    def _check_teacher(self, teacher: LazyTeacher, logits: np.ndarray, dev: TokenStore) -> dict[str, float]:
        """Reject a teacher that does not perform the task; returns its scores."""
        task = self.task
        check_outputs(logits, "the teacher", task.eval_splits[0])
        report = task.kind.score_teacher(task, logits, dev.gold)
        named = teacher.known.labels is not None or self.config.teacher_labels is not None
        return self._accept_teacher(report, named, TEACHER if len(self.teachers) == 1 else (f"teacher {teacher.path}", "dev"))

    def _check_soft_labels(self, traces: SoftLabelTraces, trained: TrainingRows) -> dict[str, float] | None:
        """The same for soft labels, on the training rows with labels; None if there are none."""
        named = self.soft.named or self.config.teacher_labels is not None
        found = [self._accept_teacher(traces.report(store.gold), named, SOFT_LABELS) for store in trained.labelled.values()]
        return found[0] if found else None

    def _accept_teacher(self, report: TeacherReport, named: bool, judged: tuple[str, str]) -> dict[str, float]:
        warnings = validate_teacher(self.task, report, self.config.allow_weak_teacher, named, judged)
        logger.info(described(self.task, report, named, judged))
        for warning in warnings:
            logger.warning(warning)
        return report.scores

    def _assumed(self, identity: dict[str, str]) -> dict[str, str]:
        """Values for entries of the identity that a checkpoint of an older version lacks."""
        assumed = {name: identity[name] for name in ("student", "teacher") if name in identity}
        assumed |= {"teacher_traces": "live"} if "teacher_traces" in identity else {}  # a run without a teacher has none
        return assumed | (teacher_label_order(self.teacher.known.labels, self.task) if self.teacher else {})

    def _clear_later_stages(self) -> None:
        for later in self.later_runs:
            if later.done_before():
                logger.info(f"the {later.stage} stage starts over; its earlier results in {later.path} are deleted")
            later.clear(FOLDERS[later.stage])

    # === Scores and models ===

    def _evaluation(self, layer: TrainedLayer, traces: TeacherTraces | None, data: TaskData, kept: dict[str, TokenStore]) -> Evaluation:
        """The loss on held-out rows for layers, the task's metric for predictions."""
        rows = self._settings.eval_batch_size

        def evaluate(step: int) -> dict[str, float]:
            if self.run_folder.stage == "intermediate":
                return held_out_loss(layer, traces, kept[self.task.eval_splits[0]], rows)
            return score(self.student, data, kept, rows, decide=True)

        of_layers = self.run_folder.stage == "intermediate"
        better = ("held_out_loss", "min") if of_layers else (self.task.metric, "max")
        chosen = {} if of_layers else {"decision": Decision(self.student)}
        best, last = lambda step: self._save(0, layer, data), lambda: self._save(1, layer, data)
        return Evaluation(evaluate, better, best, last, scored_rows(kept), chosen)

    def _save(self, which: int, layer: TrainedLayer, data: TaskData) -> Path:
        """Save the best (0) or the final (1) model of the stage."""
        run, student, labels = self.run_folder, self.student, self.task.labels
        folder = run.path / FOLDERS[run.stage][which]
        projection = layer.objective.projection if run.stage == "intermediate" and student.family.keeps_projections else None
        rows, head = data.trained_on, student.head_config(labels)
        save_model(folder, student.model, student.family, student.tokenizer, labels, projection, trained_on=rows, head_config=head)
        return folder


def _score_only(config: TaskDistillConfig, do: Actions) -> Result:
    """`--do_eval` and `--do_predict` without training: the unchanged student."""
    task = task_of(config)
    resolved = config.resolve(task.name, task.kind)
    settings = resolved["prediction"]
    task = preset_metric(task, settings)
    if do.predict:
        check_predictable(task)
        check_inputs_not_overwritten(config, prediction_files(config.output_dir, task, config.predict_format), OTHERS)
    results = RunFolder(config.output_dir, "evaluation")
    results.check_writable()
    if config.student_model_name_or_path is None:
        raise UserError("--do_eval and --do_predict need a trained student: give its folder with --student_model_name_or_path.")
    log_run_settings(f"evaluating {config.student_model_name_or_path} on {task.name}", resolved, trains=False)
    log_outputs(task, config)
    start_device(config)
    student = load_classifier(
        config.student_model_name_or_path,
        labels=task.labels,
        needs_head=True,
        kind=task.kind,
        do_lower_case=config.do_lower_case,
        role="student",
    )
    describe_model("student", student)
    check_positions("student", student, settings.max_seq_length)
    splits = splits_for(task, evaluate=do.evaluate, predict=do.predict)
    data = TaskData.find(task, config, splits, student.tokenizer, settings.max_seq_length)
    return score_only(results, student, data, do, settings.eval_batch_size, config.predict_format)

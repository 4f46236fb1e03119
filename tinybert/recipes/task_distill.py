"""Distils a fine-tuned teacher into a small student on one task.

Supports TinyBERT's two stages (hidden states and attention scores, then logits), in sequence or in one step, MUD's selected hidden
states, BERT-EMD's single stage (all layers matched by optimal transport), only logits, or no teacher as a baseline; stored teacher
traces; students from a checkpoint, from layers of the teacher, or new by shape, optionally pruned gradually; known tasks and custom
files; resuming.
Limits: teacher and student share a vocabulary; the task kinds in `tinybert.kinds`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tinybert import runtime
from tinybert.commands.distill import TaskDistillConfig
from tinybert.config.groups import Actions, actions
from tinybert.config.resolved import Settings
from tinybert.config.stages import infer_stage
from tinybert.data.metrics import check_outputs
from tinybert.data.report import DataReport
from tinybert.data.store import TokenStore
from tinybert.data.tasks import Task
from tinybert.engine.precision import require
from tinybert.engine.processes import wait_for_all
from tinybert.engine.run_folder import RunFolder
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.methods.stage_objective import Learned, stage_objective
from tinybert.models.limits import check_positions
from tinybert.models.loading import LoadedModel, load_classifier
from tinybert.models.pruned_shapes import describe_architecture
from tinybert.models.saving import save_model
from tinybert.models.students import check_fit
from tinybert.models.trace import Needs
from tinybert.objectives.trained_layer import TrainedLayer
from tinybert.recipes.disk_space import check_disk_space
from tinybert.recipes.evaluate import held_out_loss, prediction_files, score, score_alone, write_predictions
from tinybert.recipes.fingerprints import inputs_of_task, models_identity, teacher_label_order
from tinybert.recipes.gradual_pruning import GradualPruning, check_single_process, pruning_of
from tinybert.recipes.input_protection import OTHERS, check_inputs_not_overwritten
from tinybert.recipes.result import Result, result_of
from tinybert.recipes.resume import fingerprint_for_record, finished_before, resumed_stage
from tinybert.recipes.run_log import check_type, describe_model, log_once, log_run_settings, record_start
from tinybert.recipes.run_student import make_student, named_student, student_depth
from tinybert.recipes.task_data import (
    TaskData,
    check_predictable,
    log_outputs,
    preset_metric,
    scored_rows,
    splits_for,
    task_of,
)
from tinybert.recipes.teacher_check import described, validate_teacher
from tinybert.recipes.teacher_source import LazyTeacher, TeacherTraces, choose_source, is_needed, keeps_live, passes_over
from tinybert.recipes.training import Evaluation, Extras, Start, finish_stage, train_stage, trained_layer
from tinybert.report.transport_plots import plot_transport
from tinybert.traces.selection import Selection

# the folders of a stage's best and final model
FOLDERS = {"intermediate": ("best_inter_model", "final_inter_model"), "prediction": ("best_model", "final")}


def task_distill(config: TaskDistillConfig) -> Result:
    """Distil, evaluate and predict, according to the arguments of `task_distill.py`."""
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
    resolved = config.resolve(task.name, task.kind, student_depth(config))
    if "prediction" in resolved.stages:
        task = preset_metric(task, resolved["prediction"])
    if do.predict:
        check_predictable(task)
        check_inputs_not_overwritten(config, prediction_files(output, task, config.predict_format), OTHERS)
    headline = f"distilling {task.name}: method {config.method}, stage {choice.stage} ({choice.reason}), output in {output}"
    runs = {stage: RunFolder(output, stage, writes=runtime.rank() == 0) for stage in choice.stages}
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
    device = runtime.set_device(config.device)
    if config.amp:
        require(config.amp_dtype, device)
    runtime.start_processes()

    teacher = LazyTeacher(config, task.labels, task.kind) if config.teacher_path is not None else None
    if teacher is not None:
        needed = any(is_needed(config, resolved[stage], teacher) for stage in choice.stages)
        check_type("teacher", "teacher_model_type", config, teacher.load() if needed else teacher.known)
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
            inputs = inputs_of_task(config, resolved[stage], task, teacher, student)
            if finished_before(runs[stage], resolved, config.resume_changed, FOLDERS[stage], inputs) or passed:
                log_once(f"the {stage} stage is finished: {output / FOLDERS[stage][0]}")
                continue
        if not config.student_init:
            check_type("student", "model_type", config, student)
        resume = config.resume if named in (None, stage) else None
        later_runs = [runs[later] for later in choice.stages[number + 1 :]]  # they use the student that is trained now
        _Stage(config, resolved, runs[stage], task, teacher, student, device, resume, reports, later_runs).run()
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
    resolved: object
    run_folder: RunFolder
    task: object
    teacher: LazyTeacher | None
    student: LoadedModel
    device: str
    resume: str | None
    reports: DataReport  # on the rows, shared by the stages
    later_runs: list[RunFolder]  # later stages, which start over, because their results are from an earlier student
    facts: dict = field(default_factory=dict)  # details for run.json
    learned: Learned | None = None
    selection: Selection = Selection()

    def run(self) -> None:
        """Check compatibility, prepare data, train, save."""
        stage, settings, task = self.run_folder.stage, self.resolved[self.run_folder.stage], self.task
        models = {"student": describe_model("student", self.student)}
        if self.teacher is not None:
            if keeps_live(self.config, settings):
                self.teacher.load()
            models["teacher"] = self.teacher.describe()
            check_fit(
                self.teacher.known,
                self.student,
                settings.max_seq_length,
                compares_scores=settings.method_object.compares_scores(settings),
                heads=settings.attention_heads or "match",
            )
            self.teacher.read_ids_of(self.student.tokenizer)
        else:
            check_positions("student", self.student, settings.max_seq_length)
        layer = self._trained_layer(settings)
        split = "train_aug" if settings.use_aug else "train"
        splits = splits_for(task, augmented=settings.use_aug, train=True)
        data = TaskData.find(task, self.config, splits, self.student.tokenizer, settings.max_seq_length)
        data.reports = self.reports
        left = len(self.resolved.stages) if stage == "intermediate" else 1
        keep = self.config.keep_checkpoints
        check_disk_space(self.run_folder, FOLDERS[stage], self.student.parameters(), keep, data.bytes_to_store(splits), left)
        train = data.store(split)
        kept = {name: data.store(name) for name in task.eval_splits}
        data.report({split: train, **kept})
        if self.teacher is not None and isinstance(self.teacher.known, LoadedModel):
            data.warn_if_used_differently("teacher", self.teacher.known.trained_on)
        traces = self._teacher_traces(layer.objective.needs_teacher, settings, train, kept[task.eval_splits[0]])
        record: dict = {}
        if traces is not None:
            name = task.eval_splits[0]
            dev = kept[name]
            logits = traces.logits(dev)
            check_outputs(logits, "the teacher", name)
            report = task.kind.score_teacher(task, logits, dev.gold)
            named = self.teacher.known.labels is not None or self.config.teacher_labels is not None
            warnings = validate_teacher(task, report, self.config.allow_weak_teacher, named)
            record["teacher_scores"] = report.scores
            if self.run_folder.writes:
                logger.info(described(task, report, named))
                for warning in warnings:
                    logger.warning(warning)
            record |= traces.facts()

        identity = data.identity(train) | models_identity(self.student, {role: entry["sha256"] for role, entry in models.items()})
        if self.teacher is not None:
            identity |= {"teacher": self.teacher.function, **teacher_label_order(self.teacher.own_labels, task)}

        def start() -> None:
            if self.config.overwrite_output_dir:
                self.run_folder.clear(FOLDERS[stage])
            for later in self.later_runs:
                if later.writes and later.done_before():
                    logger.info(f"the {later.stage} stage starts over; its earlier results in {later.path} are deleted")
                later.clear(FOLDERS[later.stage])
            identified, details = fingerprint_for_record(identity), {**record, **self.facts}
            record_start(self.run_folder, self.resolved, stage, self.device, models, {split: train, **kept}, identified, **details)

        self._train(layer, traces, settings, data, train, kept, identity, start)

    def _trained_layer(self, settings: Settings) -> TrainedLayer:
        known = self.teacher.known if self.teacher is not None else None
        chosen = stage_objective(settings, self.task.kind, self.student, known)
        self.facts, self.learned, self.selection = chosen.facts, chosen.learned, chosen.selection or Selection()
        return trained_layer(self.student, chosen)

    def _teacher_traces(self, needs: Needs, settings: Settings, train: TokenStore, dev: TokenStore) -> TeacherTraces | None:
        """The source of teacher traces for training and dev rows; None if the teacher is not used."""
        if self.teacher is None or not needs:
            return None
        rows, world = len(train), runtime.world_size()
        passes = sum(passes_over(self.resolved[stage], rows, world) for stage in self.resolved.stages)
        entry = self.run_folder.record().get(self.run_folder.stage) if self.resume else None
        began = entry.get("teacher_traces", {}).get("mode", "live") if entry else None  # version 0.1 only had live teachers
        source = choose_source(
            self.config, settings, needs, self.selection, self.teacher, self.task.num_outputs, [train, dev], passes,
            began,
        )  # fmt: skip
        log_once(source.describe(self.config.teacher_traces_dtype))
        return TeacherTraces(source, self.config, self.teacher, settings, needs, self.selection, rows)

    def _pruning(self, layer: TrainedLayer, traced: TeacherTraces | None, settings: Settings, total: int) -> GradualPruning:
        pruning = pruning_of(
            settings,
            self.task.kind,
            self.student,
            self.teacher.known if self.teacher else None,
            layer,
            traced,
            total,
        )
        self.facts["pruning"] = [str(event) for event in pruning.events]
        lines = [f"gradual pruning in {len(pruning.events)} steps:", *self.facts["pruning"]]
        logger.info("\n  ".join(lines))
        return pruning

    def _train(
        self,
        layer: TrainedLayer,
        traced: TeacherTraces | None,
        settings: Settings,
        data: TaskData,
        train: TokenStore,
        kept: dict[str, TokenStore],
        identity: dict,
        start: Callable[[], None],
    ) -> None:
        """`traced`: the source of teacher traces, None if the teacher is not used."""
        run, task, student = self.run_folder, self.task, self.student
        intermediate = run.stage == "intermediate"
        best_folder, final_folder = (run.path / name for name in FOLDERS[run.stage])

        def save(folder: Path) -> Path:
            projection = layer.objective.projection if intermediate and student.family.keeps_projections else None
            rows, head = data.trained_on, student.head_config(task.labels)
            save_model(folder, student.model, student.family, student.tokenizer, task.labels, projection, trained_on=rows, head_config=head)
            return folder

        def evaluate(step: int) -> dict[str, float]:
            if intermediate:
                return held_out_loss(layer, traced, kept[task.eval_splits[0]], settings.eval_batch_size)
            return score(student, data, kept, settings.eval_batch_size, decide=True)

        better = ("held_out_loss", "min") if intermediate else (task.metric, "max")
        assumed = {name: identity[name] for name in ("student", "teacher") if name in identity}
        best = train_stage(
            self.config,
            settings,
            run,
            layer,
            (train, traced),
            Evaluation(evaluate, better, lambda step: save(best_folder), scored_rows(kept)),
            Start(
                start,
                identity | ({"teacher_traces": traced.kind} if traced else {}),
                self.resume,
                {"teacher_traces": "live"} | assumed | (teacher_label_order(self.teacher.known.labels, task) if self.teacher else {}),
            ),
            Extras(
                (train, *kept.values()),
                self.learned,
                (lambda total: self._pruning(layer, traced, settings, total)) if settings.prune_schedule else None,
            ),
        )
        if run.writes:
            save(final_folder)
            if traced:
                run.update_record(**traced.facts())
            if settings.prune_schedule:
                run.update_record(pruned={"shape": describe_architecture(student.config), "parameters": student.parameters()})
            if self.learned is not None:
                plot_transport(run.path, run.stage)
            finish_stage(run, best, better[0], best_folder, f"{run.stage}: best")


def _score_only(config: TaskDistillConfig, do: Actions) -> Result:
    """`--do_eval` and `--do_predict` without training: the unchanged student."""
    task = task_of(config)
    resolved = config.resolve(task.name, task.kind)
    settings = resolved["prediction"]
    task = preset_metric(task, settings)
    if do.predict:
        check_predictable(task)
        check_inputs_not_overwritten(config, prediction_files(config.output_dir, task, config.predict_format), OTHERS)
    results = RunFolder(config.output_dir, "evaluation", writes=runtime.rank() == 0)
    results.check_writable()
    if config.student_model_name_or_path is None:
        raise UserError("--do_eval and --do_predict need a trained student: give its folder with --student_model_name_or_path.")
    log_run_settings(f"evaluating {config.student_model_name_or_path} on {task.name}", resolved)
    log_outputs(task, config)
    runtime.set_device(config.device)
    runtime.start_processes()
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
    scores: dict[str, float] = {}
    if do.evaluate:
        stores = {split: data.store(split) for split in task.eval_splits}
        data.report(stores)
        scores = score_alone(results, student, data, stores, settings.eval_batch_size)
    if do.predict:
        write_predictions(Path(config.output_dir), student, data, settings.eval_batch_size, config.predict_format)
    return Result(Path(config.output_dir), scores)

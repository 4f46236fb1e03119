"""Fine-tunes an encoder on a task, as a teacher or baseline.

Supports known tasks (GLUE, CLUE, ...) and custom files, any BERT-like encoder, resuming, evaluation only, submission files.
Limits: the task kinds in `tinybert.kinds`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import paddle

from tinybert import runtime, storage
from tinybert.commands.finetune import FinetuneConfig
from tinybert.config.resolved import Resolved, Settings
from tinybert.config.runs import actions
from tinybert.data.fast_tokenizer import read_tokenizer
from tinybert.data.store import TokenStore
from tinybert.data.tasks import Task
from tinybert.engine.processes import wait_for_all
from tinybert.engine.run_folder import RunFolder
from tinybert.engine.run_record import ModelEntry
from tinybert.log import logger
from tinybert.models.hub import resolve as resolve_folder
from tinybert.models.limits import check_positions
from tinybert.models.loading import LoadedModel, check_vocabulary, load_classifier
from tinybert.models.saving import save_model
from tinybert.objectives.tinybert import gold_objective
from tinybert.objectives.trained_layer import TrainedLayer
from tinybert.recipes.disk_space import check_disk_space
from tinybert.recipes.evaluate import Decision, prediction_files, score, score_only, write_predictions
from tinybert.recipes.importance import importance
from tinybert.recipes.input_protection import OTHERS, check_inputs_not_overwritten
from tinybert.recipes.label_weights import weigh_labels, weights_identity
from tinybert.recipes.preflight import open_run, start_device
from tinybert.recipes.result import Result, result_of
from tinybert.recipes.resume import finished_before
from tinybert.recipes.run_log import check_type, describe_model
from tinybert.recipes.settings_log import log_run_settings
from tinybert.recipes.task_data import (
    TaskData,
    check_predictable,
    log_outputs,
    preset_metric,
    rows_hash,
    rows_identity,
    scored_rows,
    splits_for,
    task_of,
)
from tinybert.recipes.training import Evaluation, Origin, StageData, train_stage

MODELS = ("best_model_*", "final")  # the folders of a run's best and final model


def finetune(config: FinetuneConfig) -> Result:
    """Fine-tune, evaluate and predict, according to the options of `tinybert finetune`."""
    if config.compute_taylor:
        return importance(config)
    # === Check everything before work starts ===
    task = task_of(config)
    do = actions(config)
    resolved = config.resolve(task.name, task.kind)
    settings = resolved["finetune"]
    task = preset_metric(task, settings)
    output = Path(config.output_dir or Path("pretrained_models") / task.folder)
    if do.predict:
        check_predictable(task)
        check_inputs_not_overwritten(config, prediction_files(output, task, config.predict_format), OTHERS)
    # scores without training are saved if requested, or if there are already results
    keeps = do.train or do.predict or config.output_dir is not None or output.exists()
    run = open_run(config, output, "finetune", MODELS) if do.train else RunFolder(output, "evaluation", writes=keeps)
    if keeps:
        run.check_writable()
    weights_identity(settings, task)  # checks the file
    what = "fine-tuning" if do.train else "scoring"
    log_run_settings(f"{what} {config.model_name_or_path} on {task.name}, output in {output}", resolved, do.train)
    log_outputs(task, config)
    start_device(config)
    loaded = _load(config, settings, task, needs_head=not do.train)
    model = describe_model("model", loaded)
    splits = splits_for(task, augmented=settings.use_aug, train=do.train, evaluate=do.evaluate, predict=do.predict)
    data = TaskData.find(task, config, splits, loaded.tokenizer, settings.max_seq_length)
    if not do.train:
        return score_only(run, loaded, data, do, settings.eval_batch_size, config.predict_format)
    check_disk_space(run, MODELS, loaded.parameters(), config.keep_checkpoints, data.bytes_to_store(splits))

    # === Train, predict ===
    training = _Training(config, resolved, run, loaded, model, data, {split: data.store(split) for split in task.eval_splits})
    if config.resume == "auto" and training.is_finished():
        logger.info(f"fine-tuning is finished: {output}")
    else:
        training.run()
    if do.predict:
        best = load_classifier(str(output), labels=task.labels, needs_head=True, kind=task.kind)
        write_predictions(output, best, data, settings.eval_batch_size, config.predict_format)
    return result_of(run, *MODELS)


def _load(config: FinetuneConfig, settings: Settings, task: Task, needs_head: bool) -> LoadedModel:
    """The model to fine-tune or evaluate, with its own tokenizer or another one."""
    paddle.seed(runtime.derive_seed(settings.seed, "model"))
    loaded = load_classifier(
        config.model_name_or_path, labels=task.labels, needs_head=needs_head, kind=task.kind, do_lower_case=settings.do_lower_case
    )
    if config.tokenizer_name_or_path:
        tokenizer = read_tokenizer(resolve_folder(config.tokenizer_name_or_path, "tokenizer"), settings.do_lower_case)
        loaded = replace(loaded, tokenizer=tokenizer)
        check_vocabulary("model", loaded)
    check_type("model", "model_type", config, loaded)
    check_positions("model", loaded, settings.max_seq_length)
    return loaded


@dataclass
class _Training:
    """One training run: its inputs, and the steps to a saved model."""

    config: FinetuneConfig
    resolved: Resolved
    run_folder: RunFolder
    loaded: LoadedModel
    model: ModelEntry  # its entry of run.json
    data: TaskData
    stores: dict[str, TokenStore]  # the evaluation rows

    @property
    def _rows(self) -> str:
        return "train_aug" if self.resolved["finetune"].use_aug else "train"

    def is_finished(self) -> bool:
        """Whether an earlier run with the same settings is finished."""
        task = self.data.task
        sha256 = rows_hash(task, self.config, self._rows)
        inputs = {"model_weights": str(self.model.sha256), f"{self._rows}_rows": sha256, **scored_rows(self.stores)}
        inputs |= rows_identity(task, sha256, task.split(self._rows).key, self.loaded.tokenizer)
        inputs |= weights_identity(self.resolved["finetune"], task)
        return finished_before(self.run_folder, self.resolved, self.config.resume_changed, MODELS, inputs)

    def run(self) -> None:
        """Train, and save the best and the final model."""
        run, loaded, settings, task = self.run_folder, self.loaded, self.resolved["finetune"], self.data.task
        train = self.data.store(self._rows)
        self.data.report({self._rows: train, **self.stores})
        identity = self.data.identity(train) | {"model": str(self.model.sha256)} | weights_identity(settings, task)
        objective = gold_objective(task.kind)
        facts = self.data.facts() | weigh_labels(objective, settings, task, train)
        train_stage(
            self.config,
            settings,
            run,
            TrainedLayer(loaded.model, objective),
            StageData([train], texts=(train, *self.stores.values())),
            Evaluation(
                lambda step: score(loaded, self.data, self.stores, settings.eval_batch_size, decide=True),
                (task.metric, "max"),
                self._save_best,
                lambda: self._save(run.path / "final"),
                scored_rows(self.stores),
                {"decision": Decision(loaded)},
            ),
            Origin(MODELS, {"model": self.model}, {self._rows: train, **self.stores}, identity, self.config.resume, facts=facts),
        )
        wait_for_all()

    def _save(self, folder: Path) -> None:
        loaded, data = self.loaded, self.data
        labels = data.task.labels
        head = loaded.head_config(labels)
        save_model(folder, loaded.model, loaded.family, loaded.tokenizer, labels, trained_on=data.trained_on, head_config=head)

    def _save_best(self, step: int) -> Path:
        folder = self.run_folder.path / f"best_model_{step}"
        self._save(folder)
        for other in self.run_folder.path.glob("best_model_[0-9]*"):
            if other != folder:
                storage.remove_own(other)
        return folder

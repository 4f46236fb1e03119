"""Fine-tuning an encoder on a task: teachers and plain baselines.

It can: known tasks (GLUE, CLUE, ...) and files of your own, any BERT-like encoder, resume, scores only, submission files.
Its limits: sequence classification and regression; no question answering.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import paddle

from tinybert import runtime, storage
from tinybert.data.tokenizer import WordPiece
from tinybert.engine import checkpoint
from tinybert.engine.precision import require
from tinybert.engine.processes import wait_for_all
from tinybert.engine.run_folder import RunFolder
from tinybert.models.hub import resolve as resolve_folder
from tinybert.models.limits import check_positions
from tinybert.models.loading import check_vocabulary, load_classifier
from tinybert.models.saving import save_model
from tinybert.objectives.tinybert import gold_objective
from tinybert.objectives.trained_layer import TrainedLayer
from tinybert.recipes.announce import announce, check_type, describe_model, record_start, say
from tinybert.recipes.continuing import finished_before, noted
from tinybert.recipes.evaluate import prediction_files, score, tell_scores, write_predictions
from tinybert.recipes.importance import importance
from tinybert.recipes.inputs import OTHERS, refuse_lost_inputs
from tinybert.recipes.space import refuse_full_disk
from tinybert.recipes.task_data import (
    TaskData,
    announce_outputs,
    check_predictable,
    preset_metric,
    rows_hash,
    rows_identity,
    scored_rows,
    splits_for,
    task_of,
)
from tinybert.recipes.training import finish_stage, train_stage
from tinybert.settings.groups import actions
from tinybert.settings.resolve import resolve_finetune

MODELS = ("best_model_*", "final")  # the folders of a run's best and last model


def finetune(arguments, given: set[str], spelled: dict[str, str]) -> None:
    """Fine-tune, evaluate and predict, as the arguments of `benchmark/glue/run_glue.py` say."""
    if arguments.compute_taylor:
        importance(arguments, given)
        return
    # === Check everything before work starts ===
    task = task_of(arguments)
    do = actions(arguments)
    resolved = resolve_finetune(arguments, given, task.name)
    settings = resolved["finetune"]
    task = preset_metric(task, settings)
    output = Path(arguments.output_dir or Path("pretrained_models") / task.folder)
    if do.predict:
        check_predictable(task)
        refuse_lost_inputs(arguments, prediction_files(output, task), OTHERS)
    run = RunFolder(output, "finetune", writes=runtime.rank() == 0)
    # scores of a model alone are kept where somebody asks for it, or where there are results already
    keeps = do.train or do.predict or arguments.output_dir is not None or output.exists()
    if keeps:
        run.refuse_unwritable()
    if do.train:
        run.refuse(bool(arguments.resume), arguments.overwrite_output_dir, MODELS)
        refuse_lost_inputs(arguments, run.replaced(MODELS))
        if arguments.resume:
            checkpoint.find(run.checkpoints, arguments.resume)
    what = "fine-tuning" if do.train else "scoring"
    announce(f"{what} {arguments.model_name_or_path} on {task.name}, results in {output}", resolved)
    announce_outputs(task, arguments)
    device = runtime.set_device(arguments.device)
    if arguments.amp:
        require(arguments.amp_dtype, device)
    runtime.start_processes()
    paddle.seed(runtime.derive_seed(settings.seed, "model"))
    loaded = load_classifier(
        arguments.model_name_or_path, labels=task.labels, needs_head=not do.train, do_lower_case=settings.do_lower_case
    )
    if arguments.tokenizer_name_or_path:
        tokenizer = WordPiece.from_folder(resolve_folder(arguments.tokenizer_name_or_path, "tokenizer"), settings.do_lower_case)
        loaded = replace(loaded, tokenizer=tokenizer)
        check_vocabulary("model", loaded)
    check_type("model", "model_type", arguments, given, loaded)
    check_positions("model", loaded, settings.max_seq_length)
    model = describe_model("model", loaded)
    splits = splits_for(task, augmented=settings.use_aug, train=do.train, evaluate=do.evaluate, predict=do.predict)
    data = TaskData.find(task, arguments, splits, loaded.tokenizer, settings.max_seq_length)
    if do.train:
        refuse_full_disk(run, MODELS, loaded.parameters(), arguments.keep_checkpoints, data.bytes_to_store(splits))
    stores = {split: data.store(split) for split in task.eval_splits if split in splits}

    # === Train ===
    rows = "train_aug" if settings.use_aug else "train"
    inputs: dict[str, str] = {}
    if do.train and arguments.resume == "auto":
        sha256 = rows_hash(task, arguments, rows)
        inputs = {"model_weights": str(model["sha256"]), f"{rows}_rows": sha256}
        inputs |= scored_rows(stores) | rows_identity(task, sha256, task.split(rows).key, loaded.tokenizer)
    if do.train and arguments.resume == "auto" and finished_before(run, resolved, arguments.resume_changed, inputs):
        say(f"fine-tuning is finished: {output}")
    elif do.train:
        train = data.store(rows)
        identity = data.identity(train) | {"model": str(model["sha256"])}

        def start() -> None:
            if arguments.overwrite_output_dir:
                run.clear(MODELS)
            record_start(run, resolved, "finetune", device, {"model": model}, {"train": train, **stores})
            run.update_record(identity=noted(identity))

        layer = TrainedLayer(loaded.model, gold_objective())

        def save_best(step: int) -> Path:
            folder = output / f"best_model_{step}"
            save_model(folder, loaded.model, loaded.family, loaded.tokenizer, task.labels)
            for other in output.glob("best_model_[0-9]*"):
                if other != folder and (other / storage.MANIFEST).is_file():  # ours; a folder that somebody put there stays
                    shutil.rmtree(other, ignore_errors=True)
            return folder

        best = train_stage(
            arguments,
            settings,
            run,
            layer,
            None,
            train,
            evaluate=lambda step: score(loaded.model, data, stores, settings.eval_batch_size),
            better=(task.metric, "max"),
            save_best=save_best,
            start=start,
            resume=arguments.resume,
            identity=identity,
            scored=scored_rows(stores),
        )
        if run.writes:
            save_model(output / "final", loaded.model, loaded.family, loaded.tokenizer, task.labels)
            finish_stage(run, best, task.metric, output / f"best_model_{best.step}", "best")
        wait_for_all()
        if do.predict:
            loaded = load_classifier(str(output), labels=task.labels, needs_head=True)

    # === Score and predict ===
    elif do.evaluate:
        scores = score(loaded.model, data, stores, settings.eval_batch_size)
        tell_scores(task, scores)
        if keeps:
            # what training left under its own name stays
            RunFolder(output, "evaluation", writes=run.writes).write_results({"source": loaded.report.source, "scores": scores})
    if do.predict:
        write_predictions(output, loaded.model, data, settings.eval_batch_size)

"""Procedures: each corresponds to a command and accepts objects instead of paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinybert.api.data import Data
from tinybert.api.methods import Logits, Method, TinyBERT
from tinybert.api.models import Model, load
from tinybert.api.process import in_process, ready, run_command
from tinybert.api.run import Run
from tinybert.api.students import student_options
from tinybert.api.teachers import Teachers, teachers_of
from tinybert.api.training import Training
from tinybert.commands.prune import PruneConfig
from tinybert.config.rows import RowOptions
from tinybert.config.soft_labels import CONTENTS
from tinybert.deploy.predictor import UNKNOWN_LENGTH
from tinybert.errors import UserError
from tinybert.user_objects import Callback, CustomLoss, UserObjects

if TYPE_CHECKING:
    from tinybert.deploy.predictor import Prediction


def distill(
    teacher: object,
    student: object,
    data: Data,
    *,
    output_dir: str | Path,
    method: Method | None = None,
    training: Training | None = None,
    resume: bool | str | Path = False,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
    losses: Sequence[CustomLoss] = (),
    **options: object,
) -> Run:
    """Distil a fine-tuned teacher into a small student on a task. Both arguments stay unchanged; `run.student` is the trained student.

    teacher: anything `tb.load` accepts, or `tb.SoftLabels(...)`, or a list of them, whose logits are averaged (`teacher_weights=[2, 1]`);
    None with `tb.GoldLabels()`. student: what `tb.load` accepts, or `tb.student_from(...)`, `tb.student(...)`. method: None:
    `tb.TinyBERT()`, with soft labels or several teachers `tb.Logits()`. training: None: the preset's values. resume: True resumes from
    the newest checkpoint in `output_dir`, a path from that checkpoint. overwrite: replace existing results. losses: your own terms in
    addition to the method's. options: any other command-line option, such as `preset="paper"`, `stage="prediction"`,
    `teacher_traces="folder"`.

    Raises:
        UserError: an argument that the command line would also reject; nothing has been written.
        NumericalError: a loss or a score is NaN or infinite.
        Interrupted: SIGINT or SIGTERM; a checkpoint has been saved, continue with `resume=True`.
    """
    teachers = teachers_of(teacher)
    objects = _objects(callbacks, losses)
    values = {
        **distill_options(teachers, student, data, method, options),
        **_run_options(training, output_dir, resume, overwrite),
        **options,
    }
    result = run_command("distill", values, objects)
    return Run(result.output, teachers.first, result.best, data)


def distill_options(
    teachers: Teachers, student: object, data: Data, method: Method | None, more: Mapping[str, object]
) -> dict[str, object]:
    """The options of a distillation that its objects stand for; more: those that are given by name."""
    only_logits = not teachers.gives_layers or bool(CONTENTS.keys() & more)
    method = method or (Logits() if only_logits else TinyBERT())
    return {
        **data.options,
        **teachers.options,
        **student_options(student, teachers.first),
        "method": method.name,
        **({} if method.stage is None else {"stage": method.stage}),
        **method.options,
    }


def finetune(
    model: object,
    data: Data,
    *,
    output_dir: str | Path,
    training: Training | None = None,
    resume: bool | str | Path = False,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
    **options: object,
) -> Run:
    """Fine-tune an encoder on a task, as a teacher or a baseline. `run.model` is the best model.

    model: anything `tb.load` accepts. The other arguments are those of `tb.distill`.

    Raises:
        UserError, NumericalError, Interrupted: as `tb.distill`.
    """
    values = {
        **data.options,
        "model_name_or_path": str(load(model).path),
        **_run_options(training, output_dir, resume, overwrite),
        **options,
    }
    result = run_command("finetune", values, _objects(callbacks, ()))
    return Run(result.output, None, result.best, data)


def general_distill(
    teacher: object,
    student: object,
    *,
    output_dir: str | Path,
    text: str | Path | None = None,
    pregenerated: str | Path | None = None,
    training: Training | None = None,
    resume: bool | str | Path = False,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
    losses: Sequence[CustomLoss] = (),
    **options: object,
) -> Run:
    """Distil a pre-trained teacher into a general student on raw text; such a student is the starting point for every task.

    text: a file, a folder or a glob pattern of raw text. pregenerated: the folder returned by `tb.pregenerate`; give one of the two.
    options: any other option of `tinybert general`, such as `method="relation"` or `layer_map`. The other arguments are those of
    `tb.distill`.

    Raises:
        UserError, NumericalError, Interrupted: as `tb.distill`.
    """
    known = load(teacher)
    values = {
        "input_dir": text,
        "pregenerated_data": pregenerated,
        "teacher_path": str(known.path),
        **student_options(student, known),
        **_run_options(training, output_dir, resume, overwrite),
        **options,
    }
    result = run_command("general", values, _objects(callbacks, losses))
    return Run(result.output, known, result.best)


def evaluate(model: object, data: Data, *, batch_size: int = 64, max_seq_length: int | None = None) -> dict[str, float]:
    """The task's metrics of a fine-tuned or distilled model on the dev set, as fractions of 1.

    model: anything `tb.load` accepts; its outputs are reordered to the task's label order. max_seq_length: None: as in training, else
    128.

    Raises:
        UserError: the model belongs to another task, or the data has no dev set.
    """
    known = load(model)
    if not data.task.eval_splits:
        raise UserError(f"{data.task.name} has no dev rows\ngive dev=...")
    with in_process():
        from tinybert.models.configuration import trained_on
        from tinybert.models.limits import check_positions, positions_in
        from tinybert.models.loading import load_classifier
        from tinybert.recipes.evaluate import score
        from tinybert.recipes.task_data import TaskData

        loaded = load_classifier(str(known.path), labels=data.labels, needs_head=True, kind=data.task.kind)
        length = max_seq_length or trained_on(known.config).max_seq_length
        length = length or min(UNKNOWN_LENGTH, positions_in(known.config) or UNKNOWN_LENGTH)
        check_positions("model", loaded, length)
        rows = TaskData(data.task, data.folder, loaded.tokenizer, length)
        return score(loaded, rows, {split: rows.store(split) for split in data.task.eval_splits}, batch_size)


def predict(model: object, rows: Sequence[str | tuple[str, str]], **options: int) -> list[Prediction]:
    """`Model.predict` of anything `tb.load` accepts."""
    return load(model).predict(rows, **options)


def prune(
    model: object,
    *,
    output_dir: str | Path,
    data: Data | None = None,
    training: Training | None = None,
    importance: str | Path | None = None,
    overwrite: bool = False,
    **options: object,
) -> Model:
    """Prune a fine-tuned model into a student with fewer heads, neurons and layers and a factorised embedding.

    data: rows for computing importance scores (with `training`), needed to prune heads or neurons unless an `importance` folder is given;
    scores and model are then written to two subfolders of `output_dir`, and finished scores are reused. overwrite: replace existing
    results. options: those of `tinybert prune`: `keep_heads`, `ffn_hidden_dim`, `num_layers`, `layers`, `emb_hidden_dim`, `preset`.

    Raises:
        UserError: nothing would be pruned, the model cannot take that shape, or importance scores are missing.
    """
    known, output = load(model), Path(output_dir)
    scores = output / "importance" if data is not None and importance is None else None
    output = output / "model" if scores else output
    values = {"model_path": str(known.path), "importance": importance, **_run_options(None, output, False, overwrite), **options}
    if scores:
        config = PruneConfig(**values)
        with in_process(config.threads):
            from tinybert.recipes.prune import plan

            plan(config)  # raises before the scores are computed
        replace = config.overwrite_output_dir
        scored = {**data.options, "model_name_or_path": str(known.path), "compute_taylor": True}
        values["importance"] = run_command("finetune", {**scored, **_run_options(training, scores, not replace, replace)}).output
    return Model(run_command("prune", values).best)


def pregenerate(text: str | Path, model: object, *, output_dir: str | Path, **options: object) -> Path:
    """Turn raw text into the sequences for general distillation; returns their folder.

    text: a file or a folder. model: the model whose vocabulary is used. options: those of `tinybert pregenerate`. Runs in one
    process unless `num_workers` is given, as in `tb.augment`.

    Raises:
        UserError: unreadable text, or the folder contains other files.
    """
    values = {"train_corpus": text, "bert_model": str(load(model).path), "output_dir": output_dir, "num_workers": 1, **options}
    return Path(run_command("pregenerate", values).output)


def augment(data: Data, masked_lm: object, *, output_dir: str | Path, word_vectors: str | Path | None = None, **options: object) -> Data:
    """Write augmented variants of the training rows; returns the data with them for training.

    masked_lm: folder or name of a BERT with its masked-LM head. word_vectors: a file of word vectors such as GloVe. options: those of
    `tinybert augment`, such as `N`, `M`, `p`, `teacher_path`. Runs in one process unless `num_workers` is given, which needs a script
    whose main part is guarded by `if __name__ == "__main__":`.

    Raises:
        UserError: unreadable rows, model or vectors.
    """
    output = Path(output_dir)
    output.mkdir(parents=True, exist_ok=True)
    rows = {name: value for name, value in data.options.items() if name in RowOptions.options()}
    target = output / "train_aug"
    values = {
        **rows,
        "pretrained_bert_model": str(load(masked_lm).path),
        "glove_embs": word_vectors,
        "output_dir": output,
        "output_file": target.with_suffix(Path(data.task.split("train").file).suffix),
        "num_workers": 1,
        **options,
    }
    file = Path(run_command("augment", values).output)
    return Data(**{**data.options, "aug_file": file, "use_aug": True})


def _run_options(training: Training | None, output_dir: str | Path, resume: bool | str | Path, overwrite: bool) -> dict[str, object]:
    options = {} if training is None else dict(training.options)
    if resume:
        options["resume"] = "auto" if resume is True else str(resume)
    if overwrite:
        options["overwrite_output_dir"] = True
    return {**options, "output_dir": Path(output_dir)}


def _objects(callbacks: Sequence[Callback], losses: Sequence[CustomLoss]) -> UserObjects:
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise UserError(f"callbacks got {callback!r}\nexpected objects of a subclass of tb.Callback")
    for loss in losses:
        if not isinstance(loss, CustomLoss):
            raise UserError(f"losses got {loss!r}\nexpected tb.CustomLoss(name, function, ...)")
        ready()
        from tinybert.objectives.custom import check_custom_loss

        check_custom_loss(loss)
    names = [loss.name for loss in losses]
    if len(set(names)) < len(names):
        raise UserError(f"losses got the names {', '.join(names)}\nexpected distinct names")
    return UserObjects(tuple(callbacks), tuple(losses))

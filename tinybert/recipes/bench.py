"""Teachers, students and exports compared: a table, a figure, and the fastest engine on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from tinybert import runtime, storage
from tinybert.commands.bench import BenchConfig
from tinybert.data.places import locate
from tinybert.deploy.bench import Measured, compare, pareto_figure, table, write_pareto
from tinybert.deploy.predictor import Predictor, check_texts
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.recipes.output_folder import check_replaceable
from tinybert.recipes.result import Result
from tinybert.recipes.scored_task import scored_task


def bench(config: BenchConfig) -> Result:
    """Measure `--models` on the dev set of a task and write the comparison to `--output_dir`."""
    output = Path(config.output_dir).expanduser()
    check_replaceable(output, config.overwrite_output_dir, "a comparison", "bench.json")
    names = _names(config.models)
    task = scored_task(config, config.models[0])
    if not task.eval_splits:
        raise UserError(f"{task.name} has no dev rows. Give them with --dev_file.")
    folder = locate(task, config.data_dir, config.glue_dir, [task.eval_splits[0]])
    threads = config.threads or runtime.available_cores()
    models = {name: Predictor.open(path, threads) for name, path in zip(names, config.models, strict=True)}
    for predictor in models.values():
        check_texts(predictor.folder, predictor.kind)
    logger.info(f"comparing {len(models)} models on {task.name}, {threads} threads each")
    found = compare(models, task, folder, config.rows, config.batch_size)
    shown = table(found, task.metric, config.batch_size)
    fastest, most = min(found, key=lambda one: one.milliseconds), max(found, key=lambda one: one.rows_per_second)
    closing = f"fastest for one row: {_titled(fastest)}; most rows per second: {_titled(most)}"
    record = {
        "task": task.name,
        "metric": task.metric,
        "threads": threads,
        "batch_size": config.batch_size,
        "models": [asdict(one) for one in found],
        "versions": runtime.versions(),
    }
    with storage.new_folder(output, replace=True) as temporary:
        storage.write_json(temporary / "bench.json", record)
        storage.write_file(temporary / "bench.md", f"# {task.name}, {threads} threads\n\n{shown}\n\n{closing}\n")
        write_pareto(pareto_figure(found, task.metric, task.name), temporary)
    logger.info(f"{shown}\n{closing}\nwritten: {output}")
    return Result(output, record=record)


def _titled(one: Measured) -> str:
    return f"{one.name} ({one.engine} {one.precision})"


def _names(paths: list[str]) -> list[str]:
    """A short name for each folder: its last component, with the parent if two are equal.

    Raises:
        UserError: a folder is given twice.
    """
    whole = [str(Path(path).expanduser().absolute()) for path in paths]
    twice = next((path for path in whole if whole.count(path) > 1), None)
    if twice is not None:
        raise UserError(f"--models contains {twice} twice. Give every model once.")
    last = [Path(path).name for path in whole]
    return [name if last.count(name) == 1 else "/".join(Path(path).parts[-2:]) for name, path in zip(last, whole, strict=True)]

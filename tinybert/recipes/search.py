"""Searches for the options of a run: an Optuna study whose trials are ordinary runs, one after another.

Supports ranges, also logarithmic, and choices for any option of a training command; a budget in minutes; resuming, including the
interrupted run.
Limits: one run at a time; the best score is optimistic, because it is selected on the dev set.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tinybert import runtime, storage
from tinybert.commands.registry import find_command
from tinybert.commands.search import SearchConfig
from tinybert.compare.runner import LOG, run_alone
from tinybert.config.options import Config
from tinybert.config.options_file import read_options
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.recipes.output_folder import claimed
from tinybert.recipes.result import Result
from tinybert.report.table import markdown_table
from tinybert.search.space import Parameter, Value, read_space
from tinybert.search.study import next_trial, open_study, recover, run_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

JOURNAL, RUNS = "journal.log", "runs"
_WRITTEN = (RUNS, JOURNAL, "search.json", "best.json")
_EXIT_CODE = "exit_code"  # the attribute of a trial whose run has ended without an interruption


def search(config: SearchConfig) -> Result:
    """Run `--command` with the options in `--base` and those of each trial, and write the best options to `--output_dir`."""
    output = Path(config.output_dir).expanduser()
    command = find_command(config.command).config
    space, base = read_space(config.space, command), read_options(config.base, "--base")
    _check(config, command, base, space)
    wanted = {"command": config.command, "base": base, "space": config.space, "seed": config.seed}
    with claimed(config, "a search", wanted, _WRITTEN):
        study = open_study(output / JOURNAL, _direction(config.command, base))
        recover(study)
        started = time.monotonic()
        while len(ended(study)) < config.trials:
            if config.budget_minutes is not None and time.monotonic() - started > 60 * config.budget_minutes:
                logger.info(f"the budget of {config.budget_minutes:g} minutes is used up after {len(ended(study))} runs")
                break
            _try(config, study, space, base, output)
        return _report(config, study, base, output)


def _direction(command: str, base: dict[str, object]) -> str:
    """Task scores are maximised, losses on held-out rows minimised."""
    losses = command in ("general", "pretrain") or base.get("stage") == "intermediate" or bool(base.get("intermediate_distill"))
    return "minimize" if losses else "maximize"


def _check(config: SearchConfig, command: type[Config], base: dict[str, object], space: list[Parameter]) -> None:
    """Reject options that the command would reject, before the first run.

    Raises:
        UserError: an option is both in --base and in --space, or an error of the command.
    """
    twice = sorted({parameter.name for parameter in space} & set(base) | ({"output_dir"} & set(base)))
    if twice:
        raise UserError(f"--base {config.base} contains {twice[0]}, which the search sets\nleave it out there")
    for place in range(max(len(parameter.ends) for parameter in space)):
        tried = {parameter.name: parameter.ends[min(place, len(parameter.ends) - 1)] for parameter in space}
        command(**base, **tried, output_dir=config.output_dir)


def _try(config: SearchConfig, study: Study, space: list[Parameter], base: dict[str, object], output: Path) -> None:
    """Execute one run and report its result to the study.

    Raises:
        Interrupted: a signal was received; the run has saved its state, and the trial is continued when the search is resumed.
    """
    trial, values = next_trial(study, space, config.seed)
    name = run_of(trial)
    folder, options = output / RUNS / name, output / RUNS / f"{name}.json"
    options.parent.mkdir(parents=True, exist_ok=True)
    storage.write_json(options, {**base, **values})
    words = [config.command, "--config", str(options), "--output_dir", str(folder), "--resume", "auto"]
    code = run_alone([words], folder, "the search was interrupted: continue with the same command and --resume")
    trial.set_user_attr(_EXIT_CODE, code)
    score = _score(folder) if code == 0 else None
    study.tell(trial, None if score is None else score[1], state=None if score is not None else _failed())
    shown = ", ".join(f"{option} {_short(value)}" for option, value in values.items())
    said = f"failed with {code}, see {folder / LOG}" if score is None else f"{score[0]} {score[1]:.4f}"
    logger.info(f"run {name}: {shown}: {said}")


def _failed() -> object:
    from optuna.trial import TrialState

    return TrialState.FAIL


def _score(folder: Path) -> tuple[str, float]:
    """The metric that selected the best model in the last stage of a run, and the best value."""
    *_, last = json.loads((folder / "run.json").read_text(encoding="utf-8")).values()
    return next((name, value) for name, value in last["best"].items() if name != "step")


def ended(study: Study) -> list[FrozenTrial]:
    """The trials whose runs have finished, successfully or not."""
    return [trial for trial in study.get_trials(deepcopy=False) if _EXIT_CODE in trial.user_attrs]


def _report(config: SearchConfig, study: Study, base: dict[str, object], output: Path) -> Result:
    """Write and print all trials, best first.

    Raises:
        UserError: no run was successful.
    """
    done = [trial for trial in ended(study) if trial.value is not None]
    if not done:
        raise UserError(f"no run of the search succeeded\nread {output / RUNS}/*/{LOG}")
    done.sort(key=lambda trial: trial.value, reverse=study.direction.name == "MAXIMIZE")
    metric = _score(output / RUNS / run_of(done[0]))[0]
    names = list(done[0].params)
    rows = [[run_of(trial), *(_short(trial.params[name]) for name in names), f"{trial.value:.4f}"] for trial in done]
    shown = markdown_table(["run", *names, metric], rows[:20])
    record = {
        "command": config.command, "metric": metric, "direction": study.direction.name.lower(), "versions": runtime.versions(),
        "runs": [{"run": run_of(trial), "values": trial.params, metric: trial.value} for trial in done],
        "failed": [run_of(trial) for trial in ended(study) if trial.value is None],
    }  # fmt: skip
    storage.write_json(output / "search.json", record)
    storage.write_json(output / "best.json", {**base, **done[0].params})
    logger.info(f"{shown}\n{len(done)} runs; the options of the best one: tinybert {config.command} --config {output / 'best.json'}")
    return Result(output, {metric: done[0].value}, best=output / RUNS / run_of(done[0]), record=record)


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

"""An Optuna study in a journal file, which later calls continue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinybert.errors import UserError
from tinybert.search.space import Parameter, Value

if TYPE_CHECKING:
    from optuna import Study, Trial

_NAME = "search"
_RUN = "run"  # the attribute with the name of a trial's run


def open_study(journal: Path, direction: str) -> Study:
    """The study in a journal file, created if missing. direction: minimize or maximize.

    Raises:
        UserError: Optuna is not installed, or the existing study has the other direction, which Optuna would silently keep.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("search needs Optuna\npip install 'tinybert-paddle[search]'") from None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(storage=storage, study_name=_NAME, direction=direction, load_if_exists=True)
    if study.direction.name.lower() != direction:
        raise UserError(f"the study in {journal} is to {study.direction.name.lower()}, expected {direction}\nchoose another --output_dir")
    return study


def recover(study: Study) -> None:
    """Queue killed trials again, which Optuna leaves in the state RUNNING; their runs are resumed."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={_RUN: run_of(trial)})


def next_trial(study: Study, space: Sequence[Parameter], seed: int) -> tuple[Trial, dict[str, Value]]:
    """A trial and its values.

    A sampler with a fixed seed would repeat the same points in every call, so its seed depends on the number of trials.
    """
    import optuna

    study.sampler = optuna.samplers.TPESampler(seed=seed + 7919 * len(study.get_trials(deepcopy=False)))
    trial = study.ask()
    return trial, {parameter.name: parameter.suggest(trial) for parameter in space}


def run_of(trial: Trial) -> str:
    """The name of a trial's run: its number, or that of the interrupted trial that it continues."""
    return trial.user_attrs.get(_RUN, f"{trial.number:04d}")

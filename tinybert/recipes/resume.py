"""What must match between a run and the run it resumes."""

from __future__ import annotations

from tinybert.config.resolved import Resolved
from tinybert.engine import checkpoint
from tinybert.engine.checkpoint import differences, raise_for_differences
from tinybert.engine.run_folder import RunFolder
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.models.manifest import check_manifest
from tinybert.models.weights import weights_file

# settings that may change when resuming, because they do not affect what is learned
RESUME_IGNORED = ("logging_steps", "save_steps", "eval_batch_size", "preset")


def resumed_stage(resume: str | None, runs: dict[str, RunFolder]) -> str | None:
    """The stage of the checkpoint given by `--resume PATH`; None without a path. Checks that there is something to resume.

    Raises:
        UserError: not a complete checkpoint, or one of a stage that is not among these.
    """
    named = None
    for run in runs.values() if resume else ():
        path = checkpoint.find(run.checkpoints, resume)
        if resume != "auto":
            named = checkpoint.stage_of(path)
    if resume not in (None, "auto") and named not in runs:
        raise UserError(
            f"--resume {resume} is a checkpoint of {f'the {named} stage' if named else 'no stage'}, but this run has "
            f"{' and '.join(runs)}.\n"
            "Give a checkpoint of this run's stage, or set --stage."
        )
    return named


def finished_before(run: RunFolder, resolved: Resolved, allow_changes: bool, models: tuple[str, ...], identity: dict[str, str]) -> bool:
    """Whether this stage was finished with these settings; with `allow_changes`, different settings mean that it is not.

    models: the folders of its best and final model, as patterns; if the best one is missing, or one of them is damaged, the stage counts
    as not finished, with a warning.
    identity: hashes of models and data, named as in `inputs_of`, compared if they are recorded too: records of older versions have
    fewer.

    Raises:
        UserError: it was finished with other settings, data or models, which are listed.
    """
    record = run.record().get(run.stage, {})
    if not record.get("finished"):
        return False
    now = {name: value for name, value, _ in resolved[run.stage].as_table() if name not in RESUME_IGNORED}
    changed = differences(_settings(record), now)
    recorded = inputs_of(record)
    now = {name: value for name, value in identity.items() if name in recorded}
    changed |= differences({name: recorded[name] for name in now}, now)
    if not allow_changes:
        raise_for_differences(
            changed,
            f"the {run.stage} stage in {run.path} is finished, with other settings or inputs:",
            "Replace it with --overwrite_output_dir, or choose another folder."
            if checkpoint.STARTS.intersection(changed)
            else "Continue from its last checkpoint with --resume_changed, replace it with --overwrite_output_dir, or choose "
            "another folder.",
        )
    return not changed and _are_whole(run, models)


def _are_whole(run: RunFolder, models: tuple[str, ...]) -> bool:
    problem = None if any(run.path.glob(models[0])) else f"{run.path / models[0]} is missing"
    for folder in (folder for pattern in models for folder in run.path.glob(pattern)):
        try:
            weights_file(folder)
            check_manifest(folder)
        except UserError as error:
            problem = str(error).partition("\n")[0]
    if problem:
        logger.warning(f"the {run.stage} stage was finished, but its model is incomplete ({problem}): continuing from its last checkpoint")
    return problem is None


def fingerprint_for_record(identity: dict[str, str]) -> dict[str, str]:
    """The part of a run's identity that is recorded for `finished_before`; file hashes are already recorded with models and rows.

    Whether teacher traces were live or stored only affects the last bits, so it is not compared.
    """
    return {name: value for name, value in identity.items() if name not in ("train_data", "teacher_traces")}


def inputs_of(record: dict) -> dict[str, str]:
    """The inputs in a record of run.json: `<role>_weights` and `<split>_rows`, and the fingerprint recorded by the stage."""
    found = {}
    for entries, end in ((record.get("models"), "weights"), (record.get("data"), "rows")):
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if isinstance(entry, dict) and isinstance(entry.get("sha256"), str):
                found[f"{name}_{end}"] = entry["sha256"]
    recorded = record.get("identity")
    return found | (recorded if isinstance(recorded, dict) else {})


def _settings(record: dict) -> dict:
    """The settings in a record of run.json; malformed entries are ignored."""
    entries = record.get("settings")
    if not isinstance(entries, dict):
        return {}
    return {
        name: entry["value"]
        for name, entry in entries.items()
        if name not in RESUME_IGNORED and isinstance(entry, dict) and "value" in entry
    }

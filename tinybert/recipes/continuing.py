"""What a run shares with the one that it goes on from."""

from __future__ import annotations

import json

from tinybert.engine.checkpoint import differences
from tinybert.engine.run_folder import RunFolder
from tinybert.errors import UserError

# settings that may change between a run and its resumption without changing what is learnt
FREE = ("logging_steps", "save_steps", "eval_batch_size", "preset")


def finished_before(run: RunFolder, resolved, allow_changes: bool) -> bool:
    """Whether this stage was finished with these settings; other ones are a reason to go on where `allow_changes` says so.

    Raises:
        UserError: it was finished with other settings, which are listed.
    """
    record = run.record().get(run.stage, {})
    if not record.get("finished"):
        return False
    now = {name: value for name, value, _ in resolved[run.stage].as_table() if name not in FREE}
    changed = differences(_settings(record), json.loads(json.dumps(now)))
    if changed and not allow_changes:
        raise UserError(
            f"the {run.stage} stage in {run.path} is finished, with other settings:\n  "
            + "\n  ".join(changed)
            + "\nGo on from its last checkpoint with --resume_changed, replace it with --overwrite_output_dir, or choose another folder."
        )
    return not changed


def _settings(record: dict) -> dict:
    """The settings in a record of run.json; what stands there in another form is none."""
    entries = record.get("settings")
    if not isinstance(entries, dict):
        return {}
    return {name: entry["value"] for name, entry in entries.items() if name not in FREE and isinstance(entry, dict) and "value" in entry}

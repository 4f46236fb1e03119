"""Command lines resolve to the settings of version 0.1, apart from the corrections listed here."""

from __future__ import annotations

import json

from tests.unit.cli.snapshot import PATH, outcomes

# accepted by 0.1, and only rejected after models and data had been read; now rejected when the configuration is created
REFUSED_EARLIER = {
    "prediction_weight 0": "the prediction stage has nothing to learn; BERT-EMD learns layers beside it, and keeps the weight",
    "hidden_weight 0": "MUD learns hidden states alone in its first stage",
}
# had no effect in 0.1, and are now reported as unused
REPORTED = {"stsb teacher_labels a,b": "unused:teacher_labels"}  # a score has no labels


def _corrected(key: str, now: dict[str, object]) -> bool:
    line = key.rpartition(" | ")[2]
    option = line.removeprefix("stsb ").removeprefix("mrpc ")
    return (option in REFUSED_EARLIER and now == {"refused": True}) or REPORTED.get(line) in now.get("codes", ())


def test_command_lines_resolve_as_in_the_snapshot():
    stored, now = json.loads(PATH.read_text(encoding="utf-8")), outcomes()
    changed = {key: now.get(key, {}) for key in {**stored, **now} if stored.get(key) != now.get(key)}
    shown = {
        key: {name: f"{stored.get(key, {}).get(name)} -> {values.get(name)}" for name in {*stored.get(key, {}), *values}}
        for key, values in changed.items()
        if not _corrected(key, values)
    }
    assert not shown, f"{len(shown)} lines changed:\n{json.dumps(dict(list(shown.items())[:10]), indent=1)}"
    assert len(changed) == 13  # each correction applies to some of the lines

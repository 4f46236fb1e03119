"""Command lines come to the settings that they came to in version 0.1."""

from __future__ import annotations

import json

from tests.unit.cli.snapshot import PATH, outcomes


def test_command_lines_resolve_as_in_the_snapshot():
    stored, now = json.loads(PATH.read_text(encoding="utf-8")), outcomes()
    changed = {
        key: {name: (stored.get(key, {}).get(name), now.get(key, {}).get(name)) for name in {*stored.get(key, {}), *now.get(key, {})}}
        for key in [*stored, *(key for key in now if key not in stored)]
        if stored.get(key) != now.get(key)
    }
    shown = {
        key: {name: f"{was} -> {is_now}" for name, (was, is_now) in values.items() if was != is_now}
        for key, values in list(changed.items())[:20]
    }
    assert not changed, f"{len(changed)} lines changed:\n{json.dumps(shown, indent=1)}"

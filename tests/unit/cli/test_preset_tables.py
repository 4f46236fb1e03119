"""The preset values on docs/methods.md are those of the preset files."""

from __future__ import annotations

import re
import runpy

from tests.pages import ROOT
from tinybert.config.preset import preset_names, read_preset

PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(ROOT / "docs" / "preset_tables.py"))


def test_preset_tables_on_the_page_are_current():
    assert SCRIPT["page"]() == PAGE, "python docs/preset_tables.py"


def test_tables_show_every_option_on_which_presets_disagree():
    left_out = {"original_rows", "eval_batch_size"}  # not an option; no influence on results
    shown = set(re.findall(r"^\| `--(\w+)`", "\n".join(SCRIPT["tables"]().values()), re.MULTILINE))
    for name in ("huawei", "paddlenlp", "emd", "mud", "paper"):
        values, sound = (read_preset(preset).values("distill", "prediction", "MRPC", 4) for preset in (name, "sound"))
        assert {option for option in values if values[option] != sound.get(option, values[option])} - left_out <= shown


def test_presets_on_the_page_exist():
    named = set(re.findall(r"--preset (\w+)", PAGE)) - {"NAME"}
    assert named and named <= {name for section in ("distill", "finetune") for name in preset_names(section)}

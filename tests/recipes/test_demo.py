"""`demo`: the whole job in small."""

from __future__ import annotations

from tests.recipes.conftest import rows_of
from tinybert.commands.demo import DemoConfig
from tinybert.data.places import demo_folder


def test_demo_exports_its_student_and_keeps_one_model_each(encoder, same_process, tmp_path):
    from tinybert.recipes.demo import demo

    out = tmp_path / "out"
    result = demo(DemoConfig(model=str(encoder), output_dir=out, quick=True, device="cpu"))
    plain, taught = result.record["lines"]
    assert (plain["method"], plain["rows"], taught["method"], taught["rows"]) == ("none", 700, "tinybert", 720)
    rows = rows_of(out / "train_aug.tsv")
    assert rows[:701] == rows_of(demo_folder() / "train.tsv") and {label for _, label in rows[701:]} <= {"0", "1"}
    models = {path.parent.relative_to(out).as_posix() for path in out.rglob("model_state.pdparams")}
    assert models == {"teacher/final", "compare/runs/2x192-none-42/final", "compare/runs/2x192-tinybert-42/final"}
    assert (out / "export" / "inference.pdiparams").is_file() and (out / "compare" / "report.html").is_file()

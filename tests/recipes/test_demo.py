"""`demo`: the whole job in small."""

from __future__ import annotations

import pytest

from tests.recipes.conftest import rows_of
from tinybert.commands.demo import DemoConfig
from tinybert.data.places import demo_folder
from tinybert.errors import UserError


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
    assert {path.name for path in out.iterdir()} == {"teacher", "compare", "export", "train_aug.tsv", "plan.json"}
    with pytest.raises(UserError, match="already contains a demo\nreplace it with --overwrite_output_dir"):
        demo(DemoConfig(output_dir=out))


@pytest.mark.parametrize(
    "name", ["teacher/final/config.json", "train_aug.tsv", "cache/notes.txt", "export/notes.txt", "compare/compare.json"]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_demo_refuses_a_folder_of_others_before_its_first_step(tmp_path, name, overwrite):
    from tinybert.recipes.demo import demo

    mine = tmp_path / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(UserError, match="is not empty and does not contain a demo\nchoose another folder"):
        demo(DemoConfig(output_dir=tmp_path, overwrite_output_dir=overwrite))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine] and mine.read_text() == "mine"


def test_demo_replaces_a_demo_and_keeps_a_cache_folder_of_the_user(encoder, monkeypatch, tmp_path):
    from tinybert.recipes import demo as recipe

    def interrupted(config, task, budget, output):
        assert len(list(output.glob(".cache.tmp-*"))) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "_train", interrupted)
    for overwrite in (False, True):
        with pytest.raises(KeyboardInterrupt):
            recipe.demo(DemoConfig(model=str(encoder), output_dir=tmp_path / "out", overwrite_output_dir=overwrite))
        (tmp_path / "out" / "cache").mkdir(exist_ok=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cache", "plan.json"]

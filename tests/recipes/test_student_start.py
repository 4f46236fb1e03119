"""What a student starts from: layers of its teacher, a checkpoint with its projections, or nothing."""

from __future__ import annotations

import numpy as np

from tests.recipes.conftest import DEMO, LABELS, SHORT, distill, record
from tests.tiny import arrays_of
from tinybert.models.loading import load_classifier


def test_student_starts_from_the_named_teacher_layers(teacher, tmp_path):
    distill(
        "--teacher_path", teacher, "--student_init", "teacher:2,4", "--stage", "both", "--output_dir", tmp_path / "out", *DEMO,
        "--max_steps", 1, "--learning_rate", 1e-9,
    )  # fmt: skip
    first = record(tmp_path / "out", "intermediate")
    assert first["projection"]["mode"] == "none"
    assert first["models"]["student"]["fresh"] == [] and first["models"]["student"]["layers"] == 2
    theirs = arrays_of(load_classifier(str(teacher), labels=LABELS, needs_head=True).model)
    ours = arrays_of(load_classifier(str(tmp_path / "out"), labels=LABELS, needs_head=True).model)
    for mine, origin in (("0", "1"), ("1", "3")):
        name = "bert.encoder.layers.{}.linear1.weight"
        np.testing.assert_allclose(ours[name.format(mine)], theirs[name.format(origin)], atol=1e-6)
    np.testing.assert_allclose(ours["classifier.weight"], theirs["classifier.weight"], atol=1e-6)


def test_projections_of_a_tinybert_checkpoint_are_kept(teacher, tinybert_folder, tmp_path):
    out = tmp_path / "out"
    distill(
        "--teacher_path", teacher, "--student_model_name_or_path", tinybert_folder, "--stage", "intermediate", "--output_dir", out,
        *DEMO, *SHORT, "--learning_rate", 1e-9,
    )  # fmt: skip
    assert record(out, "intermediate")["projection"] == {"mode": "per_layer", "origin": "from the student's checkpoint"}
    before, after = (load_classifier(str(folder), labels=LABELS, needs_head=False).projections for folder in (tinybert_folder, out))
    assert set(after) == {f"fit_denses.{i}.{part}" for i in range(3) for part in ("weight", "bias")}
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, atol=1e-6, err_msg=name)


def test_layout_other_than_the_checkpoints_is_reported_as_fresh(teacher, tinybert_folder, tmp_path, capsys):
    distill(
        "--teacher_path", teacher, "--student_model_name_or_path", tinybert_folder, "--stage", "intermediate", "--projection", "shared",
        "--output_dir", tmp_path / "out", *DEMO, "--max_steps", 1,
    )  # fmt: skip
    assert record(tmp_path / "out", "intermediate")["projection"] == {"mode": "shared", "origin": "fresh"}
    assert "projection: shared, fresh" in capsys.readouterr().out

"""Submission files and plots."""

from __future__ import annotations

import numpy as np
import pytest

from tinybert.data.tasks import get_task
from tinybert.engine.run_folder import RunFolder
from tinybert.report.plots import curves_of, plot_stage
from tinybert.report.submission import write_submission


@pytest.mark.parametrize(
    ("task", "split", "file"),
    [("SST-2", "test", "SST-2.tsv"), ("MNLI", "test_matched", "MNLI-m.tsv"), ("MNLI", "test_mismatched", "MNLI-mm.tsv")],
)
def test_submission_has_the_file_name_and_rows_of_the_glue_server(tmp_path, task, split, file):
    task = get_task(task)
    path = write_submission(tmp_path / "new", task, split, ["7", "3"], np.eye(max(2, task.num_outputs))[[1, 0]])
    assert path == tmp_path / "new" / file
    assert path.read_text() == f"index\tprediction\n7\t{task.labels[1]}\n3\t{task.labels[0]}\n"


def test_regression_scores_are_clipped_and_rounded_to_three_decimals(tmp_path):
    path = write_submission(tmp_path, get_task("STS-B"), "test", None, np.array([[-0.3], [2.34567], [5.2]]))
    assert path.read_text() == "index\tprediction\n0\t0.000\n1\t2.346\n2\t5.000\n"


def test_predictions_without_matching_ids_are_refused(tmp_path):
    with pytest.raises(ValueError):
        write_submission(tmp_path, get_task("SST-2"), "test", ["1"], np.eye(2))


def test_stage_without_evaluation_is_plotted(tmp_path):
    run = RunFolder(tmp_path, "prediction")
    run.open_logs()
    run.log({"step": 1, "loss": 0.5, "lr": 1e-3})
    run.close_logs()
    path = plot_stage(tmp_path, "prediction")
    assert path == tmp_path / "plots/prediction.png" and path.read_bytes().startswith(b"\x89PNG")


def test_curves_show_the_teacher_the_best_step_and_single_points(tmp_path):
    run = RunFolder(tmp_path, "prediction")
    run.open_logs()
    run.log({"step": 9, "loss": 0.5, "logits": 0.5, "lr": 1e-3})
    for step, accuracy, best in ((3, 0.6, True), (6, 0.7, True), (9, 0.65, False)):
        run.log({"event": "evaluation", "step": step, "accuracy": accuracy, "best": best})
    run.close_logs()
    (tmp_path / "run.json").write_text('{"prediction": {"teacher_scores": {"accuracy": 0.9}}}')
    losses, scores, rate = curves_of(tmp_path, ("prediction",)).axes
    assert [line.get_label() for line in losses.lines] == ["logits"]
    assert {line.get_label(): list(line.get_ydata()) for line in scores.lines} == {
        "accuracy": [0.6, 0.7, 0.65], "teacher: accuracy": [0.9, 0.9], "best": [0, 1],
    }  # fmt: skip
    assert list(scores.lines[-1].get_xdata()) == [6, 6]
    assert [(*line.get_xdata(), *line.get_ydata(), line.get_marker()) for line in rate.lines] == [(9, 1e-3, "o")]


def test_figure_displays_in_a_notebook_without_pyplot():
    import sys

    from tinybert.report.figure import new_figure

    there = "matplotlib.pyplot" in sys.modules
    figure = new_figure(2, 1)
    figure.subplots().plot([1, 2])
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert there or "matplotlib.pyplot" not in sys.modules

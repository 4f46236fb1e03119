"""What VisualDL shows of a run: it reads one record per folder."""

from __future__ import annotations

import numpy as np
from visualdl import LogReader

from tinybert.engine.run_folder import RunFolder


def shown(run: RunFolder) -> LogReader:
    (file,) = (run.path / "vdl" / run.stage).iterdir()
    return LogReader(file_path=str(file))


def points(reader: LogReader, tag: str) -> list[tuple[int, float]]:
    return [(point.id, round(point.value, 4)) for point in reader.get_data("scalar", tag)]


def test_resumed_curves_continue_without_repeated_steps(tmp_path):
    for stage in ("intermediate", "prediction"):
        run = RunFolder(tmp_path, stage)
        run.open_logs()
        run.log({"step": 10, "loss": 0.5, "time": 1.0})
        run.log({"event": "evaluation", "step": 10, "accuracy": 0.75, "best": True})
        at = run.log_position()
        run.log({"step": 20, "loss": 0.4})  # the run is killed; its last checkpoint is older than this line
        run.close_logs()
        run.open_logs(at)
        run.log({"step": 20, "loss": 0.3})
        run.close_logs()
        reader = shown(run)
        assert points(reader, "train/loss") == [(10, 0.5), (20, 0.3)]
        assert points(reader, "dev/accuracy") == [(10, 0.75)]
        assert set(reader.get_tags()["scalar"]) == {"train/loss", "dev/accuracy", "dev/best"}


def test_new_run_starts_its_curves_anew(tmp_path):
    run = RunFolder(tmp_path, "prediction")
    for loss in (0.5, 0.25):
        run.open_logs()
        run.log({"step": 1, "loss": loss})
        run.close_logs()
    assert points(shown(run), "train/loss") == [(1, 0.25)]


def test_heat_map_cells_show_the_logged_arrays(tmp_path):
    import io

    from PIL import Image

    def cells(tag: str, at: int) -> np.ndarray:
        entry = reader.get_data("image", tag)[at]
        picture = np.asarray(Image.open(io.BytesIO(entry.image.encoded_image_string)).convert("RGB"))
        assert picture.shape[0] % 12 == picture.shape[1] % 12 == 0
        return picture[6::12, 6::12].astype(int).sum(axis=-1)  # viridis: larger values are brighter

    run = RunFolder(tmp_path, "prediction")
    run.open_logs()
    for step in range(1, 301):
        run.log_arrays(step, {"flow": np.array([[0.0, 0.1, 0.2], [0.4, 0.3, 0.0]]), "weights": np.array([step / 300, 1 - step / 300])})
    run.close_logs()
    reader = shown(run)
    flow = cells("flow", -1)
    assert flow.shape == (2, 3) and (np.argsort(flow.ravel(), kind="stable") == [0, 5, 1, 2, 4, 3]).all()
    assert cells("weights", 0).shape == (2, 1)
    weights = cells("weights", -1)
    assert weights.shape == (2, 128)  # of 300 steps
    assert weights[0, 0] < weights[1, 0] and weights[0, -1] > weights[1, -1]
    assert len(reader.get_data("scalar", "weights/1")) == 300

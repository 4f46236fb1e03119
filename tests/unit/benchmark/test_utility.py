"""The marginal-utility curve is drawn from result lines, averaged over seeds."""

from __future__ import annotations

from benchmark.glue.utility import plot_utility, points_of, table


def _line(task: str, row: str, size: float, score: float, plan: str = "mud") -> dict:
    names = {"MRPC": "accuracy_and_f1", "STS-B": "pearson_and_spearman"}
    stored = {"bytes_per_row": size, "of_full": size / 1000, "seconds": 1.0}
    return {
        "plan": plan,
        "task": task,
        "row": row,
        "scores": dict.fromkeys((names[task], "accuracy", "f1"), score),
        "knowledge": stored,
    }


def test_utility_points_average_seeds_and_leave_out_other_plans(tmp_path):
    lines = [
        _line("MRPC", "little", 10, 0.80),
        _line("MRPC", "all", 570, 0.85),
        _line("MRPC", "all", 570, 0.87),
        _line("MRPC", "little", 10, 0.82),
        _line("MRPC", "two stages", 999, 0.9, plan="table"),
        _line("MRPC", "logits only", 999, 0.79, plan="table"),
        _line("STS-B", "logits only", 999, 0.7, plan="table"),
    ]
    points = points_of(lines)
    shown = table(points).splitlines()
    assert len(shown) == 5 and "MRPC, all" in shown[2] and "MRPC, little" in shown[3] and "MRPC, logits only" in shown[4]
    assert "57.00%" in shown[2] and "+0.0" in shown[2] and "-5.0" in shown[3] and "1.00%" in shown[3]
    assert plot_utility(points, tmp_path / "plots" / "utility.png").stat().st_size > 1000

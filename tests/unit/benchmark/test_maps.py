"""Which layers BERT-EMD's students learned from: averaged over seeds, per task."""

from __future__ import annotations

import pytest

from benchmark.glue.maps import ROW, flows_of, plot, table


def _line(task: str, flow: list[list[float]], plan: str = "emd", row: str = ROW) -> dict:
    return {"plan": plan, "row": row, "task": task, "transport": {"hidn_flow": flow}}


def test_seeds_are_averaged_per_task_and_other_rows_ignored(tmp_path):
    first, last = [[0.5, 0.0, 0.0], [0.0, 0.0, 0.5]], [[0.0, 0.5, 0.0], [0.0, 0.0, 0.5]]
    lines = [_line("RTE", first), _line("RTE", last), _line("CoLA", first), _line("CoLA", first, "table")]
    lines += [_line("CoLA", last, row="EMD, beta 1"), {"plan": "emd", "row": ROW, "task": "RTE"}]
    flows = flows_of(lines)
    assert {key: len(own) for key, own in flows.items()} == {("hidn", "RTE"): 2, ("hidn", "CoLA"): 1}
    rte, cola = (line.split("|") for line in table(flows).splitlines()[2:])
    assert rte[2].strip() == "1.50, 3.00" and cola[2].strip() == "1.00, 3.00"
    assert rte[3].strip() == "0.50, 0.50" and rte[4].strip() == "0.25, 0.25, 0.50"
    assert [float(rte[5]), float(rte[6])] == pytest.approx([0.5, 0.25]) and not cola[5].strip()
    assert plot(flows, tmp_path / "flows.png").stat().st_size > 1000

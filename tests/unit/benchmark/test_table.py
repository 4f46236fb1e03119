"""The tables of results."""

from __future__ import annotations

from benchmark.glue.table import retention, rewrite, table


def line(plan: str, row: str, task: str, seed: int, score: float) -> dict:
    metric = "mcc" if task == "CoLA" else "accuracy"
    return {"plan": plan, "row": row, "task": task, "seed": seed, "scores": {metric: score}}


LINES = [
    line("teachers", "teacher", "CoLA", 42, 0.40),
    line("teachers", "teacher", "CoLA", 1, 0.90),  # has no student
    line("teachers", "teacher", "MRPC", 42, 0.80),
    *(line("table", "two stages", "CoLA", seed, score) for seed, score in ((42, 0.18), (1, 0.20), (2, 0.22))),
    line("table", "two stages", "MRPC", 42, 0.60),
    line("table", "no teacher", "CoLA", 42, 0.10),
    line("ablations", "no Embd", "CoLA", 42, 0.30),
]


def cells(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if not row.startswith("|--")]
    return {row[0]: row[1:] for row in rows}


def test_seeds_are_averaged_and_shares_refer_to_the_seed_42_teacher():
    found = cells(table("main", LINES))
    assert found["two stages"] == ["20.0 ± 2.0", "60.0", "62.5%"]  # (20 / 40 + 60 / 80) / 2
    assert found["no teacher"] == ["10.0", "", ""]  # a mean over other tasks than the rows above it would be misleading
    assert found["teacher"][-1] == ""


def test_table_shows_only_the_tasks_of_its_plan():
    found = cells(table("ablations", LINES))
    assert found[""] == ["CoLA (mcc)", "of the teacher"]
    assert found == {"": found[""], "two stages": ["20.0 ± 2.0", "50.0%"], "no Embd": ["30.0", "75.0%"]}
    assert set(cells(table("emd", LINES))) == {"", "two stages"}  # nothing has been run yet


def test_retention_averages_shares_over_tasks_that_every_row_has():
    found = cells(retention(LINES))
    assert found["percent of the teacher"] == ["CoLA", "MRPC", "mean", "of the mean score"]
    assert found["two stages"] == ["50", "75", "62.5", "66.7"]  # (20 + 60) / (40 + 80)
    assert found["TinyBERT4 in the paper"] == ["84", "99", "91.1", "93.0"]  # 44.1 / 52.8 and 86.4 / 87.5
    assert set(found) == {"percent of the teacher", "two stages", "TinyBERT4 in the paper"}


def test_rewriting_tables_keeps_the_prose():
    page = "before\n<!-- table: a -->\nold\n<!-- end -->\nbetween\n<!-- table: b -->\n<!-- end -->\nafter\n"
    expected = "before\n<!-- table: a -->\nA\n<!-- end -->\nbetween\n<!-- table: b -->\nB\n<!-- end -->\nafter\n"
    assert rewrite(page, {"a": "A", "b": "B"}) == expected

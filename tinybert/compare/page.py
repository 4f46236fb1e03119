"""The comparison as one offline HTML file: table, figure, curves, and suggested next steps."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinybert.compare.plan import Row
from tinybert.engine.run_folder import RunFolder
from tinybert.report.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .35rem .8rem; border-bottom: 1px solid #ddd; text-align: right }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left } th { border-bottom: 2px solid #888 } tr:hover td { background: #f6f6f6 }
svg { max-width: 100%; height: auto } code { background: #f2f2f2; padding: .1rem .3rem } .note { color: #555 }
"""


def page(title: str, table: str, notes: Sequence[str], figures: Sequence[Figure]) -> str:
    """The whole page. table: Markdown."""
    pictures = "\n".join(f"<figure>{_svg(figure)}</figure>" for figure in figures)
    items = "\n".join(f"<li>{html.escape(note)}</li>" for note in notes)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    body = f"<h1>{html.escape(title)}</h1>\n{_html_table(table)}\n<h2>What to do next</h2>\n<ul>\n{items}\n</ul>\n{pictures}"
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _html_table(markdown: str) -> str:
    header, _, *rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in markdown.strip().splitlines()]
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "\n".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return re.sub(r"^.*?(?=<svg)", "", text.getvalue(), flags=re.S)


def loss_curves(rows: Sequence[Row]) -> Figure:
    """The training loss of every run over its updates, one panel per method, because losses of different methods are not comparable."""
    methods = list(dict.fromkeys(row.method for row in rows))
    figure = new_figure(5 * min(3, len(methods)), 3.2 * -(-len(methods) // 3))
    panels = figure.subplots(-(-len(methods) // 3), min(3, len(methods)), squeeze=False).ravel()
    for axis, method in zip(panels, methods, strict=False):
        for row in (row for row in rows if row.method == method):
            lines = [line for line in RunFolder(row.folder, "").log_lines() if "event" not in line and "loss" in line]
            begin = max((line["step"] for line in lines if line["stage"] == "intermediate"), default=0)
            steps = [line["step"] + (begin if line["stage"] == "prediction" else 0) for line in lines]
            values = [line["loss"] for line in lines]
            axis.plot(steps, values, label=f"{row.student}, {row.seed}", marker="o" if len(steps) < 12 else None, markersize=3)
        if any(line.get_ydata().min() > 0 for line in axis.lines if len(line.get_ydata())):
            axis.set_yscale("log")
        axis.set_title(f"{method}: training loss")
        axis.set_xlabel("update")
        axis.legend(fontsize=7)
    for axis in panels[len(methods) :]:
        axis.remove()
    return figure
